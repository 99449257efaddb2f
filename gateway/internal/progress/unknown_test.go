package progress_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// unknown is a store without jobs, which returns once it receives a value.
type unknown chan struct{}

func (u unknown) Changes(context.Context, string, int64) (*job.Job, error) {
	<-u
	return nil, job.ErrNotFound
}

// TestUnknownJobCannotBeWatched verifies that Subscribe returns ErrNotFound for an unknown
// job, also to a client that subscribes during the read.
func TestUnknownJobCannotBeWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := make(unknown)
		hub := progress.New(progress.Config{}, store, slog.New(slog.DiscardHandler), telemetry.NewRegistry())
		ctx, stop := context.WithCancel(t.Context())
		var running, asking sync.WaitGroup
		running.Go(func() { hub.Run(ctx) })
		for range 2 {
			asking.Go(func() {
				if _, err := hub.Subscribe(t.Context(), "a"); !errors.Is(err, job.ErrNotFound) {
					t.Errorf("Subscribe = %v, want %v", err, job.ErrNotFound)
				}
			})
			synctest.Wait() // the read for the first is running when the second subscribes
		}
		close(store)
		asking.Wait()
		stop()
		running.Wait()
	})
}
