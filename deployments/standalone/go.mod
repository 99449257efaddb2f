module github.com/imagebatch/imagebatch/deployments/standalone

go 1.26.0
