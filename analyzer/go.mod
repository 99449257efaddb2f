module github.com/imagebatch/imagebatch/analyzer

go 1.26.0
