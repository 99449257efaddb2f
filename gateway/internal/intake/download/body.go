package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// firstRead is the initial buffer size of a body, before any data has arrived.
const firstRead = 64 << 10

// maxMemoryWait is how long a body waits for memory.
const maxMemoryWait = 2 * time.Second

// Image is a downloaded image.
type Image struct {
	Data []byte

	memory *memory
	job    string
	held   int64
}

// Release releases the memory. Data must not be used afterwards.
func (i *Image) Release() {
	i.memory.give(i.job, i.held)
	i.Data, i.held = nil, 0
}

// read reads a body of at most c.MaxBytes, decoded. Its buffer grows with the data that arrives, so
// neither a wrong Content-Length nor a body that never arrives holds memory. The memory of
// all downloads limits the growth.
func (c *Client) read(ctx context.Context, job string, resp *http.Response) (*Image, error) {
	body, length, end, err := c.decoded(ctx, job, resp)
	if err != nil {
		return nil, err
	}
	defer end()
	if length > c.config.MaxBytes {
		return nil, TooLarge(c.config.MaxBytes)
	}
	most := c.config.MaxBytes + 1 // one extra byte distinguishes too large from exactly at the limit
	if length >= 0 {
		most = length + 1
	}
	img := &Image{memory: c.memory, job: job}
	n := 0
	for {
		if n == cap(img.Data) {
			if err := c.grow(ctx, img, min(most, max(firstRead, 4*int64(n)))); err != nil {
				img.Release()
				return nil, err
			}
		}
		got, err := body.Read(img.Data[n:cap(img.Data)])
		n += got
		switch {
		case int64(n) > c.config.MaxBytes:
			img.Release()
			return nil, TooLarge(c.config.MaxBytes)
		case int64(n) >= most:
			img.Release()
			return nil, errors.New("read body: longer than its Content-Length")
		case errors.Is(err, io.EOF):
			img.Data = img.Data[:n]
			return img, nil
		case err != nil:
			img.Release()
			return nil, fmt.Errorf("read body: %w", err)
		}
	}
}

// grow gives the image a larger buffer. While it copies, it holds both buffers.
func (c *Client) grow(ctx context.Context, img *Image, size int64) error {
	if !c.memory.take(ctx, img.job, size, c.config.memoryWait) {
		return ErrBusy
	}
	larger := make([]byte, size)
	copy(larger, img.Data)
	c.memory.give(img.job, img.held)
	img.Data, img.held = larger, size
	return nil
}
