// Package objectstore stores the images: originals, processed files, records and
// thumbnails, each under a key. A Store is one bucket under one prefix; its user needs
// to know neither.
//
// Objects are atomic: Put replaces an object as a whole, and a Get that started before
// a Put reads the old bytes. Putting the same bytes under the same key again has no
// visible effect, except on Modified and, in some stores, on the ETag. An ETag is only a
// validator: a caller that needs integrity compares SHA-256 sums.
//
// Keys are slash-separated, valid UTF-8 without control characters, at most 512 bytes
// long. They have no empty, "." or ".." element and no element over 255 bytes. Every
// method returns an error for other keys. No key may be a folder of another key ("a"
// and "a/b"): a store may reject the second one with an argument error.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// ErrNotExist means that there is no object under the key.
var ErrNotExist = errors.New("object does not exist")

// ErrUnavailable means that the store cannot be reached or cannot perform the operation
// now. The same call may succeed later.
var ErrUnavailable = errors.New("object store unavailable")

// ErrChanged means that the object no longer has the ETag that the caller named.
var ErrChanged = errors.New("object has changed")

// ErrExists means that there is already an object under the key.
var ErrExists = errors.New("object exists")

// ErrRefused means that the store responds, but refuses the operation, and will do so until
// an operator changes the store, the permissions or the configuration. It is also an
// [ErrUnavailable], because the same call may succeed after that.
var ErrRefused error = refusedError{}

type refusedError struct{}

func (refusedError) Error() string { return "object store refuses the operation" }

func (refusedError) Is(target error) bool { return target == ErrUnavailable }

// Info describes an object.
type Info struct {
	Key         string
	Size        int64 // bytes
	ContentType string
	Modified    time.Time

	// ETag changes whenever the bytes change, and says nothing else. It has only the
	// characters that are allowed between the quotes of an entity tag (RFC 9110, section
	// 8.8.3). It is empty if the store has no ETags.
	ETag string
}

// Object is an open object. The caller must close Body. A Body that ends before Size
// bytes returns ErrUnavailable instead of io.EOF.
type Object struct {
	Info
	Body io.ReadCloser
}

// Content is the content of an object that is stored.
type Content struct {
	Data []byte
	Type string // MIME type; may be empty

	// SHA256 is the sum of Data in lowercase hex, or empty. A store that needs the sum does not compute one that it is given,
	// and refuses Data with another one.
	SHA256 string
}

// Store is one bucket under one prefix. All methods are safe for concurrent use. Errors
// are ErrNotExist, ErrExists, ErrChanged, ErrUnavailable or ErrRefused, the error of ctx, or argument errors.
type Store interface {
	// Put stores the content under key and replaces an existing object. The object is durable
	// when Put returns nil.
	Put(ctx context.Context, key string, c Content) error
	// PutNew stores the content under key, or returns ErrExists and leaves the object that is there. Of
	// several concurrent calls, one stores its data. An S3 server that does not know conditional
	// requests may store those of several, one after the other. A call whose response was lost may
	// return ErrExists because of its own data. After another error, the object may exist.
	PutNew(ctx context.Context, key string, c Content) error
	// Get opens the object.
	Get(ctx context.Context, key string) (*Object, error)
	// GetPart opens length bytes of the object, from offset. Their number is the Size of
	// the result. It returns ErrChanged if the object has another ETag than etag, and an
	// argument error if etag is empty, length is not positive, or a byte is outside the
	// object.
	GetPart(ctx context.Context, key, etag string, offset, length int64) (*Object, error)
	// Stat describes the object without opening it.
	Stat(ctx context.Context, key string) (Info, error)
	// Delete removes the object. A missing object is no error.
	Delete(ctx context.Context, key string) error
	// List yields the objects whose keys start with prefix, in byte order of the keys,
	// without their ContentType and ETag. It ends after the first error. It may or may not yield
	// objects that are put or deleted in the meantime.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Ready returns nil if the store responds. Otherwise its error describes the
	// problem for an operator.
	Ready(ctx context.Context) error
}

// Getter is the part of a Store that opens objects.
type Getter interface {
	Get(ctx context.Context, key string) (*Object, error)
}

// ReadAll reads a whole object of at most limit bytes.
func ReadAll(ctx context.Context, s Getter, key string, limit int64) ([]byte, error) {
	o, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer o.Body.Close()
	if o.Size > limit {
		return nil, fmt.Errorf("object %q has %d bytes, more than the limit of %d", key, o.Size, limit)
	}
	data := make([]byte, o.Size)
	if _, err := io.ReadFull(o.Body, data); err != nil {
		return nil, fmt.Errorf("read %q: %w: %w", key, ErrUnavailable, err)
	}
	return data, nil
}
