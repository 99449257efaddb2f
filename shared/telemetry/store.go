package telemetry

import (
	"context"
	"iter"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Store returns s with metrics and spans under a name that distinguishes it from the
// process's other stores: originals or processed. It returns what s returns, errors
// included, and calls s exactly as often as it is called. Put, PutNew, Get, GetPart, Stat and
// Delete have a span when the context is in a recorded trace. The Tracer may be nil.
func Store(s objectstore.Store, name string, m *Registry, t *Tracer) objectstore.Store {
	return &observedStore{
		store: s, name: name, tracer: t,
		operations: m.Counter("objectstore_operations_total", "Operations of the object stores, by store, operation and outcome.", "store", "operation", "outcome"),
		duration:   m.Histogram("objectstore_operation_duration_seconds", "Duration of an operation of the object stores; a get ends when the object is open.", networkBuckets, "store", "operation"),
		bytes:      m.Counter("objectstore_bytes_total", "Bytes of objects stored by a put or opened by a get.", "store", "operation"),
	}
}

type observedStore struct {
	store      objectstore.Store
	name       string
	tracer     *Tracer
	operations *Counter
	duration   *Histogram
	bytes      *Counter
}

// record counts and times one operation.
func (s *observedStore) record(operation string, started time.Time, outcome string) {
	s.operations.Inc(s.name, operation, outcome)
	s.duration.Observe(time.Since(started).Seconds(), s.name, operation)
}

// noBytes is the size of an operation that transfers no object.
const noBytes = -1

// start starts an operation. The returned function ends it and returns its error;
// the bytes count only without an error.
func (s *observedStore) start(ctx context.Context, operation, verb string) (context.Context, func(bytes int64, err error) error) {
	started := time.Now()
	ctx, span := s.tracer.part(ctx, verb+" "+s.name, trace.SpanKindClient, started, attribute.String("store", s.name))
	return ctx, func(bytes int64, err error) error {
		if err == nil && bytes != noBytes {
			s.bytes.Add(float64(bytes), s.name, operation)
			span.SetInt("bytes", bytes)
		}
		s.record(operation, started, outcome(err))
		return span.finish(err)
	}
}

// Put implements objectstore.Store.
func (s *observedStore) Put(ctx context.Context, key string, c objectstore.Content) error {
	ctx, end := s.start(ctx, "put", "PUT")
	return end(int64(len(c.Data)), s.store.Put(ctx, key, c))
}

// PutNew implements objectstore.Store. It is a put like any other.
func (s *observedStore) PutNew(ctx context.Context, key string, c objectstore.Content) error {
	ctx, end := s.start(ctx, "put", "PUT")
	return end(int64(len(c.Data)), s.store.PutNew(ctx, key, c))
}

// Get implements objectstore.Store. The operation ends when the object is open.
func (s *observedStore) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	ctx, end := s.start(ctx, "get", "GET")
	o, err := s.store.Get(ctx, key)
	if err != nil {
		return o, end(noBytes, err)
	}
	return o, end(o.Size, nil)
}

// GetPart implements objectstore.Store. It is a get like any other.
func (s *observedStore) GetPart(ctx context.Context, key, etag string, offset, length int64) (*objectstore.Object, error) {
	ctx, end := s.start(ctx, "get", "GET")
	o, err := s.store.GetPart(ctx, key, etag, offset, length)
	if err != nil {
		return o, end(noBytes, err)
	}
	return o, end(o.Size, nil)
}

// Stat implements objectstore.Store.
func (s *observedStore) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	ctx, end := s.start(ctx, "stat", "HEAD")
	info, err := s.store.Stat(ctx, key)
	return info, end(noBytes, err)
}

// Delete implements objectstore.Store.
func (s *observedStore) Delete(ctx context.Context, key string) error {
	ctx, end := s.start(ctx, "delete", "DELETE")
	return end(noBytes, s.store.Delete(ctx, key))
}

// List implements objectstore.Store. It is one operation, however long the list is
// and whether or not the caller reads all of it.
func (s *observedStore) List(ctx context.Context, prefix string) iter.Seq2[objectstore.Info, error] {
	return func(yield func(objectstore.Info, error) bool) {
		started := time.Now()
		var failed error
		defer func() { s.record("list", started, outcome(failed)) }()
		for info, err := range s.store.List(ctx, prefix) {
			failed = err
			if !yield(info, err) {
				return
			}
		}
	}
}

// Ready implements objectstore.Store.
func (s *observedStore) Ready(ctx context.Context) error {
	started := time.Now()
	err := s.store.Ready(ctx)
	word := outcome(err)
	if word == "error" || word == "given_up" && ctx.Err() != context.Canceled { //nolint:errorlint // A context returns the sentinel itself.
		word = "unavailable" // any error means that the store is not ready
	}
	s.record("ready", started, word)
	return err
}
