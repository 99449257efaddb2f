module github.com/imagebatch/imagebatch/analyzer

go 1.26.0

replace github.com/imagebatch/imagebatch/shared => ../shared

require github.com/imagebatch/imagebatch/shared v0.0.0

require (
	github.com/bep/imagemeta v1.0.1 // indirect
	github.com/disintegration/imaging v1.6.2 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/image v0.47.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)
