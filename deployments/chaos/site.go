package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// site is where the URLs of a seed lead: some place on the internet that is not
// always well. What it serves is /{kind}/{file}.
type site struct {
	server *http.Server
	addr   string
	served chan error
	files  map[string][]byte

	mu    sync.Mutex // guards asked
	asked map[string]int
}

func newSite(files map[string][]byte) (*site, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // close ends it.
	if err != nil {
		return nil, fmt.Errorf("listen for a site: %w", err)
	}
	s := &site{addr: l.Addr().String(), served: make(chan error, 1), files: files, asked: map[string]int{}}
	s.server = &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
	go func() { s.served <- s.server.Serve(l) }()
	return s, nil
}

func (s *site) close() error {
	err := s.server.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// url is the address of a file. key makes it one that nobody else asks for.
func (s *site) url(kind, file, key string) string {
	return "http://" + s.addr + "/" + kind + "/" + file + "?" + key
}

// ServeHTTP serves a file as its kind says: plain; slow; or moody, which fails at
// the first time of asking.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	data, ok := s.files[file]
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	s.asked[r.URL.String()]++
	first := s.asked[r.URL.String()] == 1
	s.mu.Unlock()
	switch {
	case kind == "moody" && first:
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	case kind == "slow":
		wait := time.NewTimer(700 * time.Millisecond)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return
		}
	}
	_, _ = w.Write(data) // the client may be gone
}
