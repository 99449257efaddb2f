package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// slowStore is a proxy for an S3 server. It delays every object, like a distant store, so the analyzer can be the
// released binary.
type slowStore struct {
	*httptest.Server
	wait atomic.Int64 // nanoseconds
}

// delay sets the delay of the next objects.
func (s *slowStore) delay(d time.Duration) { s.wait.Store(int64(d)) }

// startSlowStore starts a proxy for the S3 server at the endpoint.
func startSlowStore(endpoint string, wait time.Duration) (*slowStore, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("read S3 endpoint: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the signature includes it
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	s := &slowStore{}
	s.delay(wait)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGet(r) {
			select {
			case <-time.After(time.Duration(s.wait.Load())):
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	return s, nil
}

// isGet reports whether a request reads an object: its path has a key after the bucket.
func isGet(r *http.Request) bool {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return r.Method == http.MethodGet && key != ""
}
