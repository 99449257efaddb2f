module github.com/imagebatch/imagebatch/deployments/bench

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/disintegration/imaging v1.6.2
	github.com/prometheus/procfs v0.22.0
	golang.org/x/sync v0.24.0
)

require (
	github.com/imagebatch/imagebatch/deployments/network v0.0.0
	golang.org/x/image v0.47.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/imagebatch/imagebatch/deployments/network => ../network
