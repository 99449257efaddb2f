module github.com/imagebatch/imagebatch/processor

go 1.26.0

require github.com/imagebatch/imagebatch/shared v0.0.0

require (
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)

replace github.com/imagebatch/imagebatch/shared => ../shared
