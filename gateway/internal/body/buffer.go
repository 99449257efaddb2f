package body

import (
	"fmt"

	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// buffer holds the bytes of one image. It is reused for the next.
type buffer struct {
	limits Limits
	data   []byte
}

func (b *buffer) reset() { b.data = b.data[:0] }

// write appends a piece. It returns the failure of an image that is larger than the limit, and
// the errors of Limits.Grow.
func (b *buffer) write(p []byte) (*pipeline.Failure, error) {
	if int64(len(b.data)+len(p)) > b.limits.ImageBytes {
		return intake.TooLarge(b.limits.ImageBytes), nil
	}
	for cap(b.data)-len(b.data) < len(p) {
		if err := b.grow(); err != nil {
			return nil, err
		}
	}
	b.data = append(b.data, p...)
	return nil, nil
}

// grow enlarges the buffer, up to the limit of one image. It takes large steps, so that little
// garbage is left.
func (b *buffer) grow() error {
	size := min(max(4*int64(cap(b.data)), windowBytes), b.limits.ImageBytes)
	if b.limits.Grow != nil {
		if err := b.limits.Grow(size - int64(cap(b.data))); err != nil {
			return fmt.Errorf("grow buffer: %w", err)
		}
	}
	b.data = append(make([]byte, 0, size), b.data...)
	return nil
}
