module github.com/imagebatch/imagebatch/deployments/attack

go 1.26.0
