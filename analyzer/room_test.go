package analyzer_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/analyzer/internal/describe"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage/stagetest"
)

func TestConcurrencyFollowsProcessorsAndMemory(t *testing.T) {
	for _, c := range []struct {
		processors int
		pixelBytes int64
		want       int
	}{
		{1, 512 << 20, 1},
		{2, 512 << 20, 2},
		{16, 512 << 20, 16},
		{64, 512 << 20, 16},
		{64, 2 << 30, 64},
		{8, 100 << 20, 3},
		{8, 1 << 20, 1},
		{8, 0, 1},
	} {
		if got := analyzer.Concurrency(c.processors, c.pixelBytes); got != c.want {
			t.Errorf("%d processors and %d MiB: concurrency %d, want %d", c.processors, c.pixelBytes>>20, got, c.want)
		}
	}
	if c, err := (analyzer.Config{Concurrency: 7, MaxPixelBytes: 1 << 20}).Complete(); err != nil || c.Concurrency != 7 {
		t.Errorf("CONCURRENCY=7 gives %d, %v", c.Concurrency, err)
	}
}

// TestWaitingForMemoryIsNotCounted verifies that an image never fails because other images use the memory,
// however often it is retried.
func TestWaitingForMemoryIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startWith(t, func(*analyzer.Config, *analyzer.Deps) {}, func(s *analyzer.Service) {
			analyzer.OutOfMemory(s, 3*pipeline.MaxAttempts, fmt.Errorf("wait: %w", describe.ErrNoRoom))
		})
		r.publish(t, r.upload(t, "v1", photo(t)))
		select {
		case a := <-r.analyses:
			if a.Metadata.Width != 1024 {
				t.Errorf("metadata %+v", a.Metadata)
			}
		case got := <-r.results:
			t.Errorf("image failed: %+v", got)
		}
	})
}

// heldStore blocks reads until open is closed.
type heldStore struct {
	objectstore.Store
	keys chan string
	open chan struct{}
}

func (s *heldStore) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	s.keys <- key
	<-s.open
	return s.Store.Get(ctx, key)
}

// TestPrefetchMatchesConcurrency verifies that an analyzer fetches no more messages than it works on, so that
// another one gets the rest.
func TestPrefetchMatchesConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const images, concurrency = 10, 3
		held := &heldStore{keys: make(chan string, images), open: make(chan struct{})}
		r := startWith(t, func(c *analyzer.Config, d *analyzer.Deps) {
			c.Concurrency = concurrency
			held.Store, d.Originals = d.Originals, held
		}, func(*analyzer.Service) {})
		m := r.upload(t, "v1", photo(t))
		for range images {
			r.publish(t, m)
		}
		synctest.Wait()
		if n := len(held.keys); n != concurrency {
			t.Fatalf("analyzer with concurrency %d works on %d images", concurrency, n)
		}
		ctx, stop := context.WithCancel(t.Context())
		others, ended := make(chan pipeline.Upload, images), make(chan error, 1)
		go func() { ended <- stagetest.Collect(ctx, r.broker, pipeline.ImageUpload, others) }()
		time.Sleep(time.Second)
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := len(others); n != images-concurrency {
			t.Errorf("another consumer gets %d images, want %d", n, images-concurrency)
		}
		close(held.open)
		for range concurrency {
			<-r.analyses
		}
	})
}
