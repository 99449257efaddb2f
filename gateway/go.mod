module github.com/imagebatch/imagebatch/gateway

go 1.26.0
