package client

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
)

// Image is one image of a batch: either a file that is sent, or the URL of an image that
// the gateway downloads.
type Image struct {
	// Name is the file name of the image. The gateway names an image without one after its URL
	// or its position.
	Name string
	// CustomID is an identifier of the caller, such as a relative path, of at most 255 bytes.
	// The gateway repeats it with each result.
	CustomID string

	// Open opens the image for reading. It is called again for each attempt to send the
	// batch, and must return the same bytes each time.
	Open func() (io.ReadCloser, error)
	// Size is the number of bytes that Open returns, or 0 if it is unknown. If the sizes of all
	// images are known, the request has a Content-Length.
	Size int64

	// URL is the address of an image that the gateway downloads. An image has either Open or URL.
	URL string
	// Headers are sent with the request for URL, if the gateway allows it: Authorization, Referer
	// and User-Agent.
	Headers map[string]string
}

// File returns a file as an image. It is opened when it is sent. Its name is the last
// element of the path.
func File(path string) Image {
	img := Image{Name: filepath.Base(path), Open: func() (io.ReadCloser, error) { return os.Open(path) }}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		img.Size = info.Size() // Open returns any error
	}
	return img
}

// Bytes returns data in memory as an image.
func Bytes(name string, data []byte) Image {
	return Image{Name: name, Size: int64(len(data)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

// URL returns an image that the gateway downloads.
func URL(address string) Image { return Image{URL: address} }
