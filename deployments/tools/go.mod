module github.com/imagebatch/imagebatch/deployments/tools

go 1.26.0
