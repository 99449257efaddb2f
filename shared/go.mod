module github.com/imagebatch/imagebatch/shared

go 1.26.0
