package client

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"sync"
)

// form is a batch as multipart/form-data. It can be read any number of times.
type form struct {
	boundary string
	images   []Image
	options  []byte // JSON; nil: none
	size     int64  // of the body; -1 if the size of an image is unknown
}

// formOptions is the first part of a form.
type formOptions struct {
	CustomIDs []string            `json:"custom_ids,omitempty"`
	Metadata  map[string]string   `json:"metadata,omitempty"`
	Headers   []map[string]string `json:"headers,omitempty"`
	Captions  *bool               `json:"captions,omitempty"`
}

func newForm(images []Image, o jobOptions) (*form, error) {
	f := &form{boundary: rand.Text(), images: images}
	options := formOptions{Metadata: o.metadata, Captions: o.captions}
	for i, img := range images {
		switch {
		case (img.Open == nil) == (img.URL == ""):
			return nil, &ImageError{i, img.Name, errors.New("want either Open or URL")}
		case img.Open == nil && strings.TrimSpace(img.URL) == "":
			return nil, &ImageError{i, img.Name, errors.New("URL is empty")}
		}
		if img.CustomID != "" && options.CustomIDs == nil {
			options.CustomIDs = make([]string, len(images))
		}
		if img.CustomID != "" {
			options.CustomIDs[i] = img.CustomID
		}
		if len(img.Headers) > 0 && options.Headers == nil {
			options.Headers = make([]map[string]string, len(images))
		}
		if len(img.Headers) > 0 {
			options.Headers[i] = img.Headers
		}
	}
	if options.CustomIDs != nil || options.Headers != nil || options.Captions != nil || len(o.metadata) > 0 {
		data, err := json.Marshal(options)
		if err != nil {
			return nil, fmt.Errorf("options of the batch: %w", err)
		}
		f.options = data
	}
	f.size = int64(len(f.end()))
	for i := range len(images) + 1 {
		head := int64(len(f.head(i - 1)))
		if i == 0 || images[i-1].Open == nil {
			f.size += head
			continue
		}
		if images[i-1].Size <= 0 {
			f.size = -1
			return f, nil
		}
		f.size += head + images[i-1].Size
	}
	return f, nil
}

func (f *form) contentType() string { return "multipart/form-data; boundary=" + f.boundary }

// head returns what precedes the content of an image: its boundary and header, and for an
// image with a URL the URL. For -1 it returns the options.
func (f *form) head(i int) []byte {
	var b bytes.Buffer
	part := func(disposition string) {
		fmt.Fprintf(&b, "\r\n--%s\r\nContent-Disposition: %s\r\n", f.boundary, disposition)
	}
	switch {
	case i < 0 && f.options == nil:
	case i < 0:
		part(`form-data; name="options"`)
		fmt.Fprintf(&b, "Content-Type: application/json\r\n\r\n%s", f.options)
	case f.images[i].Open != nil:
		name := f.images[i].Name
		if name == "" { // without a file name, an empty file would be no image
			name = fmt.Sprintf("image-%d", i+1)
		}
		part(multipart.FileContentDisposition("image", name))
		b.WriteString("Content-Type: application/octet-stream\r\n\r\n")
	case f.images[i].Name != "":
		part(multipart.FileContentDisposition("url", f.images[i].Name))
		fmt.Fprintf(&b, "\r\n%s", f.images[i].URL)
	default:
		part(`form-data; name="url"`)
		fmt.Fprintf(&b, "\r\n%s", f.images[i].URL)
	}
	return b.Bytes()
}

func (f *form) end() string { return "\r\n--" + f.boundary + "--\r\n" }

// open returns a reader of the body. One image is open at a time.
func (f *form) open() *formReader { return &formReader{form: f, next: -1} }

// formReader reads a form. The transport may close it while it is being read, and may do so
// after it has returned the response.
type formReader struct {
	form *form

	mu     sync.Mutex // guards the fields below
	text   []byte     // what is read before the image
	image  io.ReadCloser
	left   int64 // of the image, if its size is known
	next   int   // image after text; -1: the options
	closed bool
	err    error // of an image
}

// failure returns the error of an image that could not be read.
func (r *formReader) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *formReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.err != nil:
			return 0, r.err
		case r.closed:
			return 0, errors.New("body is closed")
		case len(r.text) > 0:
			n := copy(p, r.text)
			r.text = r.text[n:]
			return n, nil
		case r.image != nil:
			n, err := r.readImage(p)
			if n > 0 || err != nil {
				return n, err
			}
		case r.next > len(r.form.images):
			return 0, io.EOF
		default:
			r.advance()
		}
	}
}

// advance continues with the next part, or with the end.
func (r *formReader) advance() {
	i := r.next
	r.next++
	if i == len(r.form.images) {
		r.text = []byte(r.form.end())
		return
	}
	r.text = r.form.head(i)
	if i < 0 || r.form.images[i].Open == nil {
		return
	}
	image, err := r.form.images[i].Open()
	if err != nil {
		r.err = &ImageError{i, r.form.images[i].Name, err}
		return
	}
	r.image, r.left = image, r.form.images[i].Size
}

// readImage reads the open image. Without bytes and without an error, it has ended.
func (r *formReader) readImage(p []byte) (int, error) {
	i := r.next - 1
	known := r.form.images[i].Size > 0
	n, err := r.image.Read(p)
	r.left -= int64(n)
	switch {
	case known && r.left < 0:
		err = errors.New("file grew while it was sent")
	case errors.Is(err, io.EOF) && known && r.left > 0:
		err = errors.New("file shrank while it was sent")
	case errors.Is(err, io.EOF):
		err = r.image.Close()
		r.image = nil
	}
	if err != nil {
		r.err = &ImageError{i, r.form.images[i].Name, err}
		return 0, r.err
	}
	return n, nil
}

func (r *formReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.image != nil {
		defer func() { r.image = nil }()
		return r.image.Close()
	}
	return nil
}
