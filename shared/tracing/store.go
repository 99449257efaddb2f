package tracing

import (
	"context"

	"github.com/imagebatch/imagebatch/shared/meter"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Store is s with a span for each object that is put, opened, looked at or deleted
// in the middle of something that is recorded. The name tells it from the process's
// others. With a Tracer that is switched off it is s itself.
func Store(s objectstore.Store, name string, t *Tracer) objectstore.Store {
	if t == nil {
		return s
	}
	return &tracedStore{s, name, t}
}

type tracedStore struct {
	objectstore.Store
	name   string
	tracer *Tracer
}

// part begins the span of one operation.
func (s *tracedStore) part(ctx context.Context, operation string) (context.Context, *Span) {
	ctx, span := s.tracer.Part(ctx, operation+" "+s.name)
	span.SetString("store", s.name)
	return ctx, span
}

// end ends the span of an operation and passes its error on.
func end(span *Span, err error) error {
	if err != nil {
		span.Fail(meter.Outcome(err), "")
	}
	span.End()
	return err
}

// Put implements objectstore.Store.
func (s *tracedStore) Put(ctx context.Context, key string, data []byte, contentType string) error {
	ctx, span := s.part(ctx, "PUT")
	span.SetInt("bytes", int64(len(data)))
	return end(span, s.Store.Put(ctx, key, data, contentType))
}

// Get implements objectstore.Store. Its span ends when the object is open.
func (s *tracedStore) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	ctx, span := s.part(ctx, "GET")
	o, err := s.Store.Get(ctx, key)
	if err == nil {
		span.SetInt("bytes", o.Size)
	}
	return o, end(span, err)
}

// Stat implements objectstore.Store.
func (s *tracedStore) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	ctx, span := s.part(ctx, "HEAD")
	info, err := s.Store.Stat(ctx, key)
	return info, end(span, err)
}

// Delete implements objectstore.Store.
func (s *tracedStore) Delete(ctx context.Context, key string) error {
	ctx, span := s.part(ctx, "DELETE")
	return end(span, s.Store.Delete(ctx, key))
}
