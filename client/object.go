package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// Kind is one of the objects of an image.
type Kind string

// The kinds.
const (
	ProcessedFile Kind = "file"      // the image with metadata
	Thumbnail     Kind = "thumbnail" // a JPEG of at most 320 pixels a side
	Record        Kind = "metadata"  // the JSON record
	Sidecar       Kind = "xmp"       // the XMP sidecar, if there is one
	Original      Kind = "original"  // the image as it was sent, until its retention ends
)

// Object is an object that is being downloaded. Read continues after a broken connection
// where it stopped, and returns io.EOF only after the last byte. The API sends no checksum, so
// the size is what is checked. The caller closes the object.
type Object struct {
	Name        string // file name, without a path
	ContentType string
	Size        int64 // -1 if the gateway did not announce it
	ETag        string

	c       *Client
	ctx     context.Context //nolint:containedctx // an io.Reader has none
	request request
	body    io.ReadCloser
	offset  int64
	failed  int // attempts since the last byte
}

// Object opens an object of an image.
func (c *Client) Object(ctx context.Context, id string, index int, kind Kind) (*Object, error) {
	r := request{
		method: http.MethodGet, path: []string{"batch", id, "images", strconv.Itoa(index), string(kind)},
		header: http.Header{"Accept-Encoding": {"identity"}}, // positions in a compressed body are others
	}
	resp, _, err := c.do(ctx, r) //nolint:bodyclose // Close closes it
	if err != nil {
		return nil, err
	}
	o := &Object{
		ContentType: resp.Header.Get("Content-Type"), Size: resp.ContentLength, ETag: resp.Header.Get("ETag"),
		c: c, ctx: ctx, request: r, body: resp.Body,
	}
	if _, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition")); err == nil {
		if name := path.Base(strings.ReplaceAll(params["filename"], `\`, "/")); name != "." && name != ".." && name != "/" {
			o.Name = name
		}
	}
	return o, nil
}

// Download writes an object of an image to w and returns its size.
func (c *Client) Download(ctx context.Context, id string, index int, kind Kind, w io.Writer) (int64, error) {
	o, err := c.Object(ctx, id, index, kind)
	if err != nil {
		return 0, err
	}
	defer o.Close()
	return io.Copy(w, o)
}

func (o *Object) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := o.body.Read(p)
		o.offset += int64(n)
		if n > 0 {
			o.failed = 0
			return n, nil // a later call returns the error again
		}
		if errors.Is(err, io.EOF) && (o.Size < 0 || o.offset == o.Size) {
			return 0, io.EOF
		}
		if err == nil {
			continue
		}
		if err := o.resume(fmt.Errorf("download: %w", err)); err != nil {
			return 0, err
		}
	}
}

// resume requests the rest after an error.
func (o *Object) resume(err error) error {
	o.failed++
	o.body.Close()
	o.body = http.NoBody
	if o.ETag == "" || strings.HasPrefix(o.ETag, "W/") {
		return err // the rest might be that of another object
	}
	if err := o.c.pause(o.ctx, err, o.failed); err != nil {
		return err
	}
	r := o.request
	r.header = o.request.header.Clone()
	r.header.Set("Range", fmt.Sprintf("bytes=%d-", o.offset))
	r.header.Set("If-Range", o.ETag)
	resp, _, err := o.c.do(o.ctx, r)
	if err != nil {
		return err
	}
	rest := fmt.Sprintf("bytes %d-", o.offset)
	if !strings.HasPrefix(resp.Header.Get("Content-Range"), rest) || resp.Header.Get("ETag") != o.ETag {
		resp.Body.Close()
		return ErrChanged
	}
	o.body = resp.Body
	return nil
}

// Close ends the download.
func (o *Object) Close() error { return o.body.Close() }
