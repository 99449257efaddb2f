module github.com/imagebatch/imagebatch/deployments/tools/crds

go 1.26.0

// Only files are read: the definitions of the resources that the chart creates.
require (
	github.com/kedacore/keda/v2 v2.21.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
