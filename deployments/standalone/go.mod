module github.com/imagebatch/imagebatch/deployments/standalone

go 1.26.0

require (
	github.com/imagebatch/imagebatch/analyzer v0.0.0
	github.com/imagebatch/imagebatch/gateway v0.0.0
	github.com/imagebatch/imagebatch/processor v0.0.0
	github.com/imagebatch/imagebatch/shared v0.0.0
)

require (
	github.com/coder/websocket v1.8.15 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace github.com/imagebatch/imagebatch/shared => ../../shared

replace github.com/imagebatch/imagebatch/gateway => ../../gateway

replace github.com/imagebatch/imagebatch/analyzer => ../../analyzer

replace github.com/imagebatch/imagebatch/processor => ../../processor
