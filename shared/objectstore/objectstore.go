// Package objectstore keeps the images: originals, processed files, records and
// thumbnails, each under a key. A Store is one bucket under one prefix, so that
// its user knows neither.
//
// An object is whole or absent, never half: Put replaces it at once, and a Get
// that began before a Put reads the old bytes. Putting equal bytes under a key
// again changes nothing that a reader could see. The ETag is never trusted; who
// needs integrity compares SHA-256.
//
// Keys are slash-separated, valid UTF-8 without control characters, at most 512
// bytes, and have no empty, "." or ".." element and none over 255 bytes; others
// are refused by every method with an error. No key may be a folder of another
// one ("a" and "a/b"): a store may refuse the second, as a fault of the
// arguments.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// ErrNotExist says that there is no object under the key.
var ErrNotExist = errors.New("object does not exist")

// ErrUnavailable says that the store cannot be reached or could not do it now;
// the same call may succeed later.
var ErrUnavailable = errors.New("object store unavailable")

// Info describes an object.
type Info struct {
	Key         string
	Size        int64 // bytes
	ContentType string
	Modified    time.Time
}

// Object is an open object. The caller closes Body. A Body that ends before
// Size bytes fails with ErrUnavailable instead of io.EOF.
type Object struct {
	Info
	Body io.ReadCloser
}

// Store is one bucket under one prefix. All methods may be called from many
// goroutines; errors are ErrNotExist, ErrUnavailable, ctx's, or faults of the
// arguments.
type Store interface {
	// Put stores data under key, replacing what was there. The object is durable
	// when Put returns nil.
	Put(ctx context.Context, key string, data []byte, contentType string) error
	// Get opens the object.
	Get(ctx context.Context, key string) (*Object, error)
	// Stat describes the object without opening it.
	Stat(ctx context.Context, key string) (Info, error)
	// Delete removes the object; an absent one is no error.
	Delete(ctx context.Context, key string) error
	// List yields the objects whose keys begin with prefix, in order of the bytes
	// of the key, without their ContentType. It ends after the first error. An
	// object that is put or deleted meanwhile may be seen or not.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Ready is nil when the store answers, else it says what is missing, for an
	// operator.
	Ready(ctx context.Context) error
}

// ReadAll reads a whole object of at most limit bytes.
func ReadAll(ctx context.Context, s Store, key string, limit int64) ([]byte, error) {
	o, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer o.Body.Close()
	if o.Size > limit {
		return nil, fmt.Errorf("object %q has %d bytes, over the limit of %d", key, o.Size, limit)
	}
	data := make([]byte, o.Size)
	if _, err := io.ReadFull(o.Body, data); err != nil {
		return nil, fmt.Errorf("read %q: %w: %w", key, ErrUnavailable, err)
	}
	return data, nil
}
