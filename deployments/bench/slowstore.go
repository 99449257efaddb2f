package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// startSlowStore starts a proxy in front of the S3 server at the endpoint that delays
// every object, as a store far away would: the analyzer stays the binary that is shipped.
func startSlowStore(endpoint string, wait time.Duration) (*httptest.Server, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("read S3 endpoint: %w", err)
	}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGet(r) {
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
				return
			}
		}
		pass.ServeHTTP(w, r)
	})), nil
}

// isGet reports whether a request is for an object: its path has a key after the bucket.
func isGet(r *http.Request) bool {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return r.Method == http.MethodGet && key != ""
}
