// Package helm holds the chart in imagebatch to the services that it installs: its
// tests render it as Helm does, for the values in imagebatch/ci and many others, and
// look at what Kubernetes would be given.
//
// The module is apart from the workspace, as each tool in deployments/tools is, so that what Helm
// and Kubernetes ask for decides no version of a service. Helm's own library is used
// and not its program, for it comes as a Go module: version 4, which is the one that
// is developed; it reads charts of Helm 3 and this is one. Manifests are decoded
// strictly into the types of k8s.io/api and of the Prometheus operator. KEDA has its
// types in the module of its whole program, so the few fields that we use are told
// here.
package helm
