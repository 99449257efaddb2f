package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrFull says that as many images are open as may be. Try again later.
var ErrFull = errors.New("too many open images")

// countFor is how long a count of the open images is good.
const countFor = time.Second

// admission remembers how many images are open.
type admission struct {
	mu    sync.Mutex // guards what follows; held during the count, so that one is enough for all who ask
	open  int
	until time.Time // count again after it

	sinceMu sync.Mutex // guards since
	since   int        // images committed here after the count
}

func (a *admission) add(n int) {
	a.sinceMu.Lock()
	defer a.sinceMu.Unlock()
	a.since += n
}

// Full returns ErrFull when MaxOpenImages are open, an error that wraps
// [job.ErrUnavailable] when that cannot be told, else nil. It is asked before a
// request is read; the requests that are being read at that moment still get in.
func (in *Intake) Full(ctx context.Context) error {
	a := &in.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); now.After(a.until) {
		a.sinceMu.Lock()
		before := a.since
		a.sinceMu.Unlock()
		counts, err := in.deps.Jobs.Count(ctx)
		if err != nil {
			return fmt.Errorf("count open images: %w", err)
		}
		a.open, a.until = counts.OpenImages, now.Add(countFor)
		a.add(-before)
	}
	a.sinceMu.Lock()
	defer a.sinceMu.Unlock()
	if a.open+a.since >= in.config.MaxOpenImages {
		return ErrFull
	}
	return nil
}
