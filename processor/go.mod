module github.com/imagebatch/imagebatch/processor

go 1.26.0
