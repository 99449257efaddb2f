// Package helm tests the chart in imagebatch. Its tests render the chart as Helm does,
// for the values in imagebatch/ci and many others, and check the resulting manifests
// against the services.
//
// The module is outside the workspace, like each tool in deployments/tools, so that the
// dependencies of Helm and Kubernetes do not affect the services. The tests use Helm's
// library instead of its program, because it comes as a Go module: version 4, the one in
// development, which also reads charts of Helm 3 such as this one. Manifests are decoded
// strictly into the types of k8s.io/api and of the Prometheus operator. KEDA's types are
// in the module of its whole program, so the few fields that we use are declared here.
//
// TestCluster installs the chart in a real Kubernetes API server. It needs etcd and
// kube-apiserver, which take minutes to build, so it has the build tag cluster:
// `make kube-test`.
package helm
