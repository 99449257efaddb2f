package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrFull is returned when the limit of open images is reached. The client may try again later.
var ErrFull = errors.New("too many open images")

// countFor is how long a count of the open images stays valid.
const countFor = time.Second

// admission caches the number of open images.
type admission struct {
	mu    sync.Mutex // guards open and until; held during the count, so that concurrent callers share one count
	open  int
	until time.Time // when the count expires

	sinceMu sync.Mutex // guards since
	since   int        // images committed by this gateway since the count
}

func (a *admission) add(n int) {
	a.sinceMu.Lock()
	defer a.sinceMu.Unlock()
	a.since += n
}

// Full returns ErrFull when MaxOpenImages images are open, and an error that wraps
// [job.ErrUnavailable] when they cannot be counted. It is called before a request is read;
// requests that are being read at that moment are still accepted.
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
