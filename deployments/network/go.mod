module github.com/imagebatch/imagebatch/deployments/network

go 1.26.0

require golang.org/x/sys v0.49.0
