package api

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/buildinfo"
)

// Limits of what a page about the system costs.
const (
	systemAge  = 2 * time.Second // age at which the state of the system is read again
	systemTime = 2 * time.Second // time for all servers to respond; without a response, a part is unknown
)

// Links are the URLs of other pages for operators; empty for unknown ones.
type Links struct {
	Grafana  string `json:"grafana,omitempty"`
	RabbitMQ string `json:"rabbitmq,omitempty"`
}

// systemJSON is the state of the system. What is unknown is left out.
type systemJSON struct {
	Version      string           `json:"version"`
	Go           string           `json:"go"`
	StartedAt    time.Time        `json:"started_at"`
	Dependencies []dependencyJSON `json:"dependencies"`
	Queues       []queueJSON      `json:"queues"`
	Work         *workJSON        `json:"work,omitempty"`
	Links        Links            `json:"links"`
}

type dependencyJSON struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// queueJSON is a work queue and the queues that belong to it.
type queueJSON struct {
	Name       string `json:"name"`
	Messages   *int   `json:"messages,omitempty"`
	Consumers  *int   `json:"consumers,omitempty"`
	Retry      *int   `json:"retry,omitempty"` // on all retry queues
	Quarantine *int   `json:"quarantine,omitempty"`
	Dead       *int   `json:"dead,omitempty"`
}

// workJSON is the open work of all gateways.
type workJSON struct {
	Jobs       int       `json:"jobs"` // ended ones too
	OpenImages int       `json:"open_images"`
	OldestOpen time.Time `json:"oldest_open,omitzero"`
	Unsent     int       `json:"unsent"`
}

// showSystem responds with the state of the system, which is read every two seconds at most,
// however many pages show it.
func (s *Server) showSystem(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 2*systemTime)
	defer cancel()
	shape, err := s.system.get(ctx, &s.running, s.readSystem)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, shape)
}

// readSystem reads the state of the system within systemTime.
func (s *Server) readSystem(ctx context.Context) systemJSON {
	ctx, cancel := context.WithTimeout(ctx, systemTime)
	defer cancel()
	shape := systemJSON{Version: buildinfo.Version, Go: runtime.Version(), StartedAt: second(s.started), Dependencies: []dependencyJSON{}, Links: s.config.Links}
	var reading sync.WaitGroup
	reading.Go(func() {
		for _, d := range s.deps.Dependencies(ctx) {
			found := dependencyJSON{Name: d.Name, Ready: d.Err == nil}
			if d.Err != nil {
				found.Reason = d.Err.Error()
			}
			shape.Dependencies = append(shape.Dependencies, found)
		}
	})
	reading.Go(func() { shape.Queues = s.readQueues(ctx) })
	reading.Go(func() {
		if n, err := s.deps.Jobs.Count(ctx); err == nil { // otherwise the job store is among the dependencies that are not ready
			shape.Work = &workJSON{Jobs: n.Jobs, OpenImages: n.OpenImages, OldestOpen: second(n.OldestOpen), Unsent: n.Unsent}
		}
	})
	reading.Wait()
	return shape
}

// readQueues returns the work queues in the order of the pipeline.
func (s *Server) readQueues(ctx context.Context) []queueJSON {
	var names []string
	for _, spec := range broker.Topology(deadletter.Queues...) {
		if slices.Contains(deadletter.Queues, spec.Work) {
			names = append(names, spec.Name)
		}
	}
	states, err := s.deps.Browser.Inspect(ctx, names...)
	if err != nil { // the broker is among the dependencies that are not ready
		states = nil
	}
	waiting := func(name string) *int {
		if state, known := states[name]; known {
			return &state.Waiting
		}
		return nil
	}
	var list []queueJSON
	for _, name := range deadletter.Queues {
		q := queueJSON{Name: name, Messages: waiting(name), Quarantine: waiting(broker.QuarantineQueue(name)), Dead: waiting(broker.DeadQueue(name))}
		if state, known := states[name]; known {
			q.Consumers = &state.Consumers
		}
		retry, known := 0, true
		for _, delay := range broker.RetryDelays {
			n := waiting(broker.RetryQueue(name, delay))
			if known = known && n != nil; known {
				retry += *n
			}
		}
		if known {
			q.Retry = &retry
		}
		list = append(list, q)
	}
	return list
}

// recent is a value that is read again when a request needs it and it is too old. Concurrent
// requests share one read, so that a slow server gets no more requests than a fast one.
type recent[T any] struct {
	age time.Duration // maximum age

	// mu guards the fields below.
	mu      sync.Mutex
	value   T
	until   time.Time     // end of the value's age
	reading chan struct{} // closed at the end of the read in progress; nil without one
}

// get returns the value, or the error of ctx. A read runs in the group, and continues if the
// request that started it ends, because others may wait for it.
func (r *recent[T]) get(ctx context.Context, group *sync.WaitGroup, read func(context.Context) T) (T, error) {
	r.mu.Lock()
	if time.Now().Before(r.until) {
		defer r.mu.Unlock()
		return r.value, nil
	}
	done := r.reading
	if done == nil {
		done = make(chan struct{})
		r.reading = done
		group.Go(func() {
			value := read(context.WithoutCancel(ctx))
			r.mu.Lock()
			defer r.mu.Unlock()
			r.value, r.until, r.reading = value, time.Now().Add(r.age), nil
			close(done)
		})
	}
	r.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.value, nil
}
