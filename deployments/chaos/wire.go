package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// wire is the connection between one service and one server. It fails like a network. It
// uses toxiproxy, which is widely known and maintained (MIT; its last release is
// v2.12.0 of March 2025), inside the harness and without its HTTP server.
//
// When a toxic that drops data (timeout, reset_peer) is removed, its connections
// end. reset_peer resets only connections that started after it; an older one ends
// with a FIN, without the rest of its data.
type wire struct {
	addr, target string
	proxy        *toxiproxy.Proxy
}

// errStuck means that toxiproxy waits forever to change a connection, because its
// receiver stopped or died at that moment. New connections work, but the service must be
// killed to end its old ones.
var errStuck = errors.New("a connection hangs in toxiproxy")

// stuckTime limits a change of a wire.
const stuckTime = 5 * time.Second

// newWire returns a wire on an address of its own.
func newWire(target string) (*wire, error) {
	addr, err := freeAddr()
	zerolog.SetGlobalLevel(zerolog.Disabled) // Some toxics write to the library's global logger.
	w := &wire{addr: addr, target: target}
	return w, errors.Join(err, w.create())
}

// create starts a new proxy on the address, which the previous one may still use.
func (w *wire) create() error {
	w.proxy = toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), w.addr, w.addr, w.target)
	for started := time.Now(); ; <-time.After(20 * time.Millisecond) {
		if err := w.proxy.Start(); err == nil || time.Since(started) > stuckTime {
			return err
		}
	}
}

// change changes the proxy. If that hangs, it creates another one.
func (w *wire) change(do func(*toxiproxy.Proxy) error) error {
	done := make(chan error, 1)
	go func(p *toxiproxy.Proxy) { done <- do(p) }(w.proxy)
	select {
	case err := <-done:
		return err
	case <-time.After(stuckTime):
	}
	go w.proxy.Stop() // It stops listening before it hangs as well.
	return errors.Join(errStuck, w.create())
}

// toxic adds a toxic in both directions.
func (w *wire) toxic(kind string, attributes map[string]int) error {
	return w.change(func(p *toxiproxy.Proxy) error {
		for _, stream := range []string{"upstream", "downstream"} {
			text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": attributes})
			if err == nil {
				_, err = p.Toxics.AddToxicJson(bytes.NewReader(text))
			}
			if err != nil {
				return fmt.Errorf("add toxic %s: %w", kind, err)
			}
		}
		return nil
	})
}

// disconnect ends all connections and accepts no new ones.
func (w *wire) disconnect() error {
	return w.change(func(p *toxiproxy.Proxy) error {
		p.Stop()
		return nil
	})
}

// cut ends all connections and accepts new ones.
func (w *wire) cut() error { return errors.Join(w.disconnect(), w.heal()) }

// redirect ends all connections and connects new ones to another server.
func (w *wire) redirect(target string) error {
	err := w.disconnect()
	w.target = target
	return errors.Join(err, w.create())
}

// heal removes all faults.
func (w *wire) heal() error {
	return w.change(func(p *toxiproxy.Proxy) error {
		p.Toxics.ResetToxics(context.Background())
		if err := p.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
			return fmt.Errorf("listen for a wire again: %w", err)
		}
		return nil
	})
}

// storage is a proxy between the services and the S3 server. It can make requests fail,
// and it checks that no key ever gets different bytes.
type storage struct {
	*httptest.Server

	mu     sync.Mutex // guards the fields below
	rate   float64    // share of requests that fail
	modes  []string   // ways in which they fail
	random *rand.Rand
	etags  map[string]string // ETags by path
	twice  []string          // paths that were stored with different bytes
	broken int               // number of requests that failed
}

// quiet drops the messages about connections that the harness breaks.
var quiet = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)

// newStorage starts the proxy, with TLS if there is a certificate.
func newStorage(target *url.URL, certificate *tls.Certificate, random *rand.Rand) *storage {
	s := &storage{random: random, etags: map[string]string{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // The signature covers it.
		},
		ModifyResponse: s.spoil,
		ErrorLog:       quiet,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // Close the connection, like a server that dies.
		Transport:      &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second},
	}
	s.Server = serve(func(w http.ResponseWriter, r *http.Request) { s.handle(w, r, proxy) }, certificate)
	return s
}

// serve starts an HTTP server on loopback, with TLS if there is a certificate.
func serve(handler http.HandlerFunc, certificate *tls.Certificate) *httptest.Server {
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = quiet
	if certificate == nil {
		s.Start()
		return s
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}} //nolint:gosec // Go's default versions.
	s.StartTLS()
	return s
}

// trouble makes requests fail at the rate, from 0 to 1.
func (s *storage) trouble(rate float64, modes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate, s.modes = rate, modes
}

// fate draws how a request fails; "" means that it does not fail.
func (s *storage) fate() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.modes) == 0 || s.random.Float64() >= s.rate {
		return ""
	}
	s.broken++
	return s.modes[s.random.IntN(len(s.modes))]
}

// fateKey is the context key of a request's fate.
type fateKey struct{}

func (s *storage) handle(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	fate := s.fate()
	switch fate {
	case "500", "503":
		code, _ := strconv.Atoi(fate)
		// Part of the body stays unread, as with a server that responds early.
		http.Error(w, `<Error><Code>InternalError</Code><Message>trouble</Message></Error>`, code)
		return
	case "reset":
		panic(http.ErrAbortHandler)
	case "slow":
		pause(r.Context(), time.Second)
	}
	proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), fateKey{}, fate)))
}

// spoil changes the server's response on its way back.
func (s *storage) spoil(resp *http.Response) error {
	s.check(resp)
	fate, _ := resp.Request.Context().Value(fateKey{}).(string)
	half := resp.ContentLength / 2
	switch {
	case fate == "reset after":
		return errors.New("response lost")
	case half < 1 || resp.Request.Method != http.MethodGet:
	case fate == "short": // a complete response with fewer bytes than the object
		resp.ContentLength = half
		resp.Header.Set("Content-Length", strconv.FormatInt(half, 10))
		fallthrough
	case fate == "truncated": // fewer bytes than Content-Length
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, half), resp.Body}
	}
	return nil
}

// forgive forgets that objects whose paths start so were stored with different bytes.
func (s *storage) forgive(prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.twice = slices.DeleteFunc(s.twice, func(path string) bool { return strings.HasPrefix(path, prefix) })
}

// check compares the ETag of a stored object with that of its previous PUT.
func (s *storage) check(resp *http.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tag, path := resp.Header.Get("Etag"), resp.Request.URL.Path
	if resp.Request.Method == http.MethodPut && resp.StatusCode == http.StatusOK && tag != "" {
		if before, ok := s.etags[path]; ok && before != tag {
			s.twice = append(s.twice, path)
		}
		s.etags[path] = tag
	}
}
