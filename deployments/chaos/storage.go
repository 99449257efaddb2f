package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// storage stands between the services and the S3 server. It can answer as a
// server in trouble does, and remembers the ETag of everything that was stored.
type storage struct {
	server  *http.Server
	address string
	served  chan error

	mu     sync.Mutex // guards what follows
	rate   float64    // of requests that go wrong, from 0 to 1
	modes  []string   // how they go wrong
	random *rand.Rand
	etags  map[string]string // by path
	twice  []string          // paths that were stored with other bytes than before
	broken int               // requests that went wrong
}

// storageModes are the ways in which a request goes wrong.
var storageModes = []string{"500", "503", "slow", "reset", "reset after", "truncated", "short"}

func newStorage(target *url.URL, random *rand.Rand) (*storage, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // close ends it.
	if err != nil {
		return nil, fmt.Errorf("listen for the storage: %w", err)
	}
	s := &storage{address: l.Addr().String(), served: make(chan error, 1), random: random, etags: map[string]string{}}
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // the proxy tells of every connection that we break
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: s.spoil,
		ErrorLog:       quiet,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // cut off, as a server that dies does
		Transport:      &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second},
	}
	s.server = &http.Server{
		ErrorLog: quiet, ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, proxy) }),
	}
	go func() { s.served <- s.server.Serve(l) }()
	return s, nil
}

// close ends it and waits for its end.
func (s *storage) close() error {
	err := s.server.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// trouble makes requests go wrong at the rate.
func (s *storage) trouble(rate float64, modes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate, s.modes = rate, modes
}

func (s *storage) heal() { s.trouble(0) }

// fate draws how a request goes, "" for well.
func (s *storage) fate() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.modes) == 0 || s.random.Float64() >= s.rate {
		return ""
	}
	s.broken++
	return s.modes[s.random.IntN(len(s.modes))]
}

// fateKey carries a request's fate to its answer.
type fateKey struct{}

func (s *storage) serve(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	fate := s.fate()
	switch fate {
	case "500", "503":
		code, _ := strconv.Atoi(fate)
		// Part of the body is left unread, as by a server that answers early.
		http.Error(w, `<Error><Code>InternalError</Code><Message>trouble</Message></Error>`, code)
		return
	case "reset":
		panic(http.ErrAbortHandler)
	case "slow":
		wait := time.NewTimer(time.Second)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return
		}
	}
	proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), fateKey{}, fate)))
}

// errSpoilt ends an answer that is not to arrive.
var errSpoilt = errors.New("answer lost")

// spoil changes the server's answer on its way back.
func (s *storage) spoil(resp *http.Response) error {
	s.note(resp)
	fate, _ := resp.Request.Context().Value(fateKey{}).(string)
	whole := resp.ContentLength
	switch {
	case fate == "reset after":
		return errSpoilt
	case whole < 2 || resp.Request.Method != http.MethodGet:
	case fate == "truncated": // fewer bytes than were promised
		resp.Body = half{io.LimitReader(resp.Body, whole/2), resp.Body}
	case fate == "short": // a whole answer of fewer bytes than the object has
		resp.Body = half{io.LimitReader(resp.Body, whole/2), resp.Body}
		resp.ContentLength = whole / 2
		resp.Header.Set("Content-Length", strconv.FormatInt(whole/2, 10))
	}
	return nil
}

type half struct {
	io.Reader
	io.Closer
}

// note remembers what was stored: no key may ever get other bytes.
func (s *storage) note(resp *http.Response) {
	tag := resp.Header.Get("Etag")
	if resp.Request.Method != http.MethodPut || resp.StatusCode != http.StatusOK || tag == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := resp.Request.URL.Path
	if before, ok := s.etags[path]; ok && before != tag {
		s.twice = append(s.twice, path)
	}
	s.etags[path] = tag
}

// figures tells how many requests went wrong and which keys got other bytes.
func (s *storage) figures() (broken int, twice []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken, s.twice
}
