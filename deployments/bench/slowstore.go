package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// slowStore stands before an S3 server and makes whoever gets an object wait, as a
// store far away would. It is how an image is given a wait from outside of the
// analyzer, which stays the binary that is shipped.
type slowStore struct {
	url    string
	server *http.Server
	ended  chan error
}

// startSlowStore starts one in front of the S3 server at the endpoint.
func startSlowStore(ctx context.Context, endpoint string, wait time.Duration) (*slowStore, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("read S3 endpoint: %w", err)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	s := &slowStore{url: "http://" + l.Addr().String(), ended: make(chan error, 1)}
	s.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGet(r) {
			until := time.NewTimer(wait)
			defer until.Stop()
			select {
			case <-until.C:
			case <-r.Context().Done():
				return
			}
		}
		pass.ServeHTTP(w, r)
	})}
	go func() { s.ended <- s.server.Serve(l) }()
	return s, nil
}

// isGet tells the request for an object from others: behind the bucket there is a key.
func isGet(r *http.Request) bool {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return r.Method == http.MethodGet && key != ""
}

// stop ends it, whoever is waiting.
func (s *slowStore) stop() error {
	err := s.server.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
