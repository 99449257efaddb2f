package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// firstRead is what a body gets before it has shown that it sends anything.
const firstRead = 64 << 10

// memoryPatience is how long a body waits for memory.
const memoryPatience = 2 * time.Second

// Image is what was downloaded.
type Image struct {
	Data []byte

	memory *memory
	job    string
	held   int64
}

// Release gives the memory back. Data is not to be used after it.
func (i *Image) Release() {
	i.memory.give(i.job, i.held)
	i.Data, i.held = nil, 0
}

// read reads a body of at most c.MaxBytes. Its buffer grows with what arrives,
// so neither a header that lies about the length nor a body that never comes
// holds memory; growing is bounded by the memory of all downloads.
func (c *Client) read(ctx context.Context, job string, body io.Reader, length int64) (*Image, error) {
	if length > c.config.MaxBytes {
		return nil, TooLarge(c.config.MaxBytes)
	}
	most := c.config.MaxBytes + 1 // one more byte tells too large from just large enough
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
			return nil, errors.New("read body: it is longer than its header said")
		case errors.Is(err, io.EOF):
			img.Data = img.Data[:n]
			return img, nil
		case err != nil:
			img.Release()
			return nil, fmt.Errorf("read body: %w", err)
		}
	}
}

// grow gives the image a larger buffer. While it copies it holds both.
func (c *Client) grow(ctx context.Context, img *Image, size int64) error {
	if !c.memory.take(ctx, img.job, size, c.config.patience) {
		return ErrBusy
	}
	larger := make([]byte, size)
	copy(larger, img.Data)
	c.memory.give(img.job, img.held)
	img.Data, img.held = larger, size
	return nil
}
