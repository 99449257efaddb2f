package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Check is a dependency of a service. Ready returns nil when the dependency is
// available, otherwise an error that states for an operator what is missing.
type Check struct {
	Name  string
	Ready func(context.Context) error
}

// Server serves the operations endpoints. /healthz reports that the process is alive
// and depends on nothing, /readyz reports whether the service can work and which
// dependencies are missing, and /metrics serves Prometheus. A service that drains is
// alive but not ready.
type Server struct {
	handler  http.Handler
	checks   []Check
	stopping atomic.Bool
	faults   func() []string // nil: none
	listener net.Listener    // nil: the server has no address of its own
	server   *http.Server
	busy     busy
}

// Listen opens addr. Without an address, the server is reachable only through its
// Handler, as in a gateway, or not at all, as in a standalone process.
func Listen(ctx context.Context, addr string, metrics http.Handler, checks ...Check) (*Server, error) {
	s := &Server{checks: checks}
	mux := http.NewServeMux()
	mux.Handle("/healthz", get(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
	}))
	mux.Handle("/readyz", get(func(w http.ResponseWriter, r *http.Request) {
		if s.stopping.Load() {
			writeError(w, http.StatusServiceUnavailable, "Not ready: stopping")
			return
		}
		s.ready(w, r)
	}))
	mux.Handle("/metrics", get(metrics.ServeHTTP))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "Not found")
	})
	s.handler = mux
	if addr == "" {
		return s, nil
	}
	l, err := ListenTCP(ctx, "HTTP_ADDR or METRICS_ADDR", addr)
	if err != nil {
		return nil, err
	}
	s.listenOn(l)
	return s, nil
}

// ReportFaults lets /readyz report faults that do not keep the service from its work, with the
// status 200. Call it before Run.
func (s *Server) ReportFaults(faults func() []string) { s.faults = faults }

func (s *Server) listenOn(l net.Listener) {
	s.listener = l
	s.server = &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         s.busy.note,
	}
}

// Handler serves the same endpoints on another server's address.
func (s *Server) Handler() http.Handler { return s.handler }

// Addr returns the address on which the server listens, or nil.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// run serves until ctx is done, then waits for running requests.
func (s *Server) run(ctx context.Context) error {
	if s.listener == nil {
		<-ctx.Done()
		return nil
	}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	closed := s.listener.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) { // No more connections are accepted.
		closed = errors.Join(closed, fmt.Errorf("serve %s: %w", s.Addr(), err))
	}
	s.server.SetKeepAlivesEnabled(false)
	s.busy.wait(arrivalTime)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(closed, s.server.Shutdown(drain))
}

// readyTime limits the time for all checks of one /readyz request.
const readyTime = 3 * time.Second

// Dependency is the result of one Check.
type Dependency struct {
	Name string
	Err  error // nil: the dependency is available
}

// Dependencies runs all checks, for at most 3 seconds, and returns their results in order.
func (s *Server) Dependencies(ctx context.Context) []Dependency {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	found := make([]Dependency, len(s.checks))
	var running sync.WaitGroup
	for i, c := range s.checks {
		running.Go(func() { found[i] = Dependency{c.Name, c.Ready(ctx)} })
	}
	running.Wait()
	return found
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	var list []string
	for _, d := range s.Dependencies(r.Context()) {
		if d.Err != nil {
			list = append(list, d.Name+": "+d.Err.Error())
		}
	}
	if len(list) > 0 {
		writeError(w, http.StatusServiceUnavailable, "Not ready: "+strings.Join(list, "; "))
		return
	}
	body := map[string]any{"status": "ready"}
	if s.faults != nil {
		if list := s.faults(); len(list) > 0 {
			body["faults"] = list
		}
	}
	writeJSON(w, http.StatusOK, body)
}

// get accepts only GET and HEAD requests.
func get(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeError(w, http.StatusMethodNotAllowed, "Method not allowed")
			return
		}
		h(w, r)
	})
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, struct {
		Error  string `json:"error"`
		Status int    `json:"status"`
	}{text, status})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have disconnected
}
