package meter

import (
	"context"
	"iter"
	"time"

	"github.com/imagebatch/imagebatch/shared/metrics"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Store is s, counted and timed under a name that tells it from the process's
// others: originals or processed.
func Store(s objectstore.Store, name string, m *metrics.Registry) objectstore.Store {
	return &meteredStore{
		store: s, name: name,
		operations: m.Counter("objectstore_operations_total", "Operations of the object stores, by store, operation and outcome.", "store", "operation", "outcome"),
		duration:   m.Histogram("objectstore_operation_duration_seconds", "Time of an operation of the object stores; of a get, until the object is open.", seconds, "store", "operation"),
		bytes:      m.Counter("objectstore_bytes_total", "Bytes of the objects that were put, or opened by a get.", "store", "operation"),
	}
}

type meteredStore struct {
	store      objectstore.Store
	name       string
	operations *metrics.Counter
	duration   *metrics.Histogram
	bytes      *metrics.Counter
}

// done notes an operation and passes its error on.
func (s *meteredStore) done(operation string, began time.Time, err error) error {
	s.operations.Inc(s.name, operation, Outcome(err))
	s.duration.Observe(time.Since(began).Seconds(), s.name, operation)
	return err
}

// Put implements objectstore.Store.
func (s *meteredStore) Put(ctx context.Context, key string, data []byte, contentType string) error {
	began := time.Now()
	err := s.store.Put(ctx, key, data, contentType)
	if err == nil {
		s.bytes.Add(float64(len(data)), s.name, "put")
	}
	return s.done("put", began, err)
}

// Get implements objectstore.Store.
func (s *meteredStore) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	began := time.Now()
	o, err := s.store.Get(ctx, key)
	if err == nil {
		s.bytes.Add(float64(o.Size), s.name, "get")
	}
	return o, s.done("get", began, err)
}

// Stat implements objectstore.Store.
func (s *meteredStore) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	began := time.Now()
	info, err := s.store.Stat(ctx, key)
	return info, s.done("stat", began, err)
}

// Delete implements objectstore.Store.
func (s *meteredStore) Delete(ctx context.Context, key string) error {
	began := time.Now()
	return s.done("delete", began, s.store.Delete(ctx, key))
}

// List implements objectstore.Store. It is one operation, however long the list
// is and whether or not its reader wants all of it.
func (s *meteredStore) List(ctx context.Context, prefix string) iter.Seq2[objectstore.Info, error] {
	return func(yield func(objectstore.Info, error) bool) {
		began := time.Now()
		var failed error
		defer func() { _ = s.done("list", began, failed) }()
		for info, err := range s.store.List(ctx, prefix) {
			failed = err
			if !yield(info, err) {
				return
			}
		}
	}
}

// Ready implements objectstore.Store.
func (s *meteredStore) Ready(ctx context.Context) error {
	began := time.Now()
	err := s.store.Ready(ctx)
	word := Outcome(err)
	if word == "error" || word == "given_up" && ctx.Err() != context.Canceled { //nolint:errorlint // A context ends with the thing itself.
		word = "unavailable" // what is not ready is away, however it says so
	}
	s.operations.Inc(s.name, "ready", word)
	s.duration.Observe(time.Since(began).Seconds(), s.name, "ready")
	return err
}
