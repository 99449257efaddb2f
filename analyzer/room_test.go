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
			t.Errorf("%d processors and %d MiB: %d at once, want %d", c.processors, c.pixelBytes>>20, got, c.want)
		}
	}
	if c, err := (analyzer.Config{Concurrency: 7, MaxPixelBytes: 1 << 20}).Complete(); err != nil || c.Concurrency != 7 {
		t.Errorf("who asks for 7 gets %d, %v", c.Concurrency, err)
	}
}

// TestWaitingForMemoryIsNotCounted holds that no image fails because others had the
// memory, however often.
func TestWaitingForMemoryIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startWith(t, func(*analyzer.Config, *analyzer.Deps) {}, func(s *analyzer.Service) {
			analyzer.Short(s, 3*pipeline.MaxAttempts, fmt.Errorf("wait: %w", describe.ErrNoRoom))
		})
		r.publish(t, r.upload(t, "v1", photo(t)))
		select {
		case a := <-r.analyses:
			if a.Metadata.Width != 1024 {
				t.Errorf("metadata %+v", a.Metadata)
			}
		case got := <-r.results:
			t.Errorf("the image failed: %+v", got)
		}
	})
}

// heldStore lets nothing be read until it is opened.
type heldStore struct {
	objectstore.Store
	asked chan string
	open  chan struct{}
}

func (s *heldStore) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	s.asked <- key
	<-s.open
	return s.Store.Get(ctx, key)
}

// TestTakesNoMoreThanItWorksOn holds that the messages which an analyzer has no hand
// for are another one's.
func TestTakesNoMoreThanItWorksOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const images, hands = 10, 3
		held := &heldStore{asked: make(chan string, images), open: make(chan struct{})}
		r := startWith(t, func(c *analyzer.Config, d *analyzer.Deps) {
			c.Concurrency = hands
			held.Store, d.Originals = d.Originals, held
		}, func(*analyzer.Service) {})
		m := r.upload(t, "v1", photo(t))
		for range images {
			r.publish(t, m)
		}
		synctest.Wait()
		if n := len(held.asked); n != hands {
			t.Fatalf("an analyzer of %d hands works on %d images", hands, n)
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
		if n := len(others); n != images-hands {
			t.Errorf("another one gets %d images of %d", n, images-hands)
		}
		close(held.open)
		for range hands {
			<-r.analyses
		}
	})
}
