module github.com/imagebatch/imagebatch/client/cmd/imagebatch

go 1.26.0

require github.com/gofrs/flock v0.13.2

require (
	github.com/fsnotify/fsnotify v1.10.1 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
