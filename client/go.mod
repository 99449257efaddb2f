module github.com/imagebatch/imagebatch/client

go 1.26.0
