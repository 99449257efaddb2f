package s3store

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// body reads an object and verifies the length that the server announced.
type body struct {
	ended  func() error // Err of the caller's context, to distinguish its end from the server's
	rc     io.ReadCloser
	key    string
	size   int64
	left   int64
	stall  time.Duration
	timer  *time.Timer // cancels a read that receives no data; stopped between reads
	cancel context.CancelFunc
}

func newBody(ctx context.Context, rc io.ReadCloser, info objectstore.Info, stall time.Duration, cancel context.CancelFunc) *body {
	b := &body{ended: ctx.Err, rc: rc, key: info.Key, size: info.Size, left: info.Size, stall: stall, cancel: cancel}
	b.timer = time.AfterFunc(stall, cancel)
	b.timer.Stop()
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ended(); err != nil { // what has already arrived could still be read
		return 0, fmt.Errorf("read object %q: %w", b.key, err)
	}
	b.timer.Reset(b.stall)
	n, err := b.rc.Read(p)
	b.timer.Stop()
	b.left -= int64(n)
	switch {
	case err == nil, err == io.EOF && b.left == 0: //nolint:errorlint // io.Reader promises EOF itself
		return n, err
	case b.ended() != nil:
		return n, fmt.Errorf("read object %q: %w", b.key, b.ended())
	default:
		text := fmt.Sprintf("read object %q: %d of %d bytes received: %v", b.key, b.size-b.left, b.size, err)
		return n, &callError{objectstore.ErrUnavailable, text}
	}
}

// Close returns the connection to the pool if the body was read to its end, and
// otherwise closes it.
func (b *body) Close() error {
	err := b.rc.Close()
	b.cancel()
	return err
}
