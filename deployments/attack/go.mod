module github.com/imagebatch/imagebatch/deployments/attack

go 1.26.0

require github.com/imagebatch/imagebatch/shared v0.0.0

replace github.com/imagebatch/imagebatch/shared => ../../shared
