package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// conditions are what a scenario sets between the browser and the gateways. The zero value passes every request on to the
// first gateway.
type conditions struct {
	Gateway      int   `json:"gateway"`       // index of the gateway that receives the requests
	Offline      bool  `json:"offline"`       // each connection is closed without a response
	BadGateway   bool  `json:"bad_gateway"`   // each request gets the 502 of a proxy that does not reach its gateway
	NoWebSockets bool  `json:"no_websockets"` // each upgrade gets a 403
	NoEvents     bool  `json:"no_events"`     // each event stream gets a 403
	MaxBody      int64 `json:"max_body"`      // larger requests get the 413 of a proxy; 0: any size is passed on
	HoldBatches  bool  `json:"hold_batches"`  // the responses to new batches wait until the conditions change
	LoseBatches  bool  `json:"lose_batches"`  // the connections of new batches end without the response
}

// front is a reverse proxy between a browser and the gateways, like nginx with its default texts. A request whose gateway
// does not answer ends without a response, as if there were no proxy.
type front struct {
	server   *httptest.Server
	gateways []*process
	proxy    httputil.ReverseProxy

	mu      sync.Mutex
	now     conditions            // guarded by mu
	changed chan struct{}         // guarded by mu; closed by the next change of the conditions
	conns   map[net.Conn]struct{} // guarded by mu; the open connections of clients, those of WebSockets too
}

func newFront(t *testing.T, gateways ...*process) *front {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true} // The browser's own Accept-Encoding counts.
	f := &front{gateways: gateways, changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	quiet := log.New(io.Discard, "", 0)
	f.proxy = httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  quiet,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: f.gateways[f.conditions().Gateway].addr})
			r.Out.Host = r.In.Host // The gateway recognizes its own page by its host.
		},
		ModifyResponse: f.respond,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	f.server = &httptest.Server{Listener: &frontListener{l, f}, Config: &http.Server{Handler: f, ErrorLog: quiet, ReadHeaderTimeout: time.Minute}}
	f.server.Start()
	t.Cleanup(func() {
		f.set(conditions{Offline: true}) // The server waits for its requests, also for those that watch a job.
		f.server.Close()
		transport.CloseIdleConnections()
	})
	return f
}

func (f *front) conditions() conditions {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// set changes the conditions. Going offline also ends the connections that are open.
func (f *front) set(c conditions) {
	f.mu.Lock()
	f.now = c
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	if c.Offline {
		f.cut()
	}
}

// respond makes the response to a new batch wait, or lost, as the conditions require.
func (f *front) respond(r *http.Response) error {
	if r.Request.Method != http.MethodPost || !strings.HasSuffix(r.Request.URL.Path, "/batch") {
		return nil
	}
	f.mu.Lock()
	now, changed := f.now, f.changed
	f.mu.Unlock()
	if now.HoldBatches {
		select {
		case <-changed:
			now = f.conditions()
		case <-r.Request.Context().Done():
			return r.Request.Context().Err()
		}
	}
	if now.LoseBatches || now.Offline {
		return http.ErrAbortHandler
	}
	return nil
}

// cut closes the connections of all clients.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.(*frontConn).Conn.Close() // It may be closed already; its owner removes it from the map.
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := f.conditions()
	switch {
	case c.Offline:
		panic(http.ErrAbortHandler)
	case c.BadGateway:
		proxyError(w, r, http.StatusBadGateway)
	case c.NoWebSockets && r.Header.Get("Upgrade") != "", c.NoEvents && strings.HasSuffix(r.URL.Path, "/events"):
		proxyError(w, r, http.StatusForbidden)
	case c.MaxBody > 0 && r.ContentLength > c.MaxBody:
		proxyError(w, r, http.StatusRequestEntityTooLarge)
	default:
		f.proxy.ServeHTTP(w, r)
	}
}

// proxyError responds as nginx does. It reads the request first: otherwise, the connection would be reset and the browser would
// not see the response.
func proxyError(w http.ResponseWriter, r *http.Request, status int) {
	_, _ = io.Copy(io.Discard, r.Body) // The client may be gone.
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	text := http.StatusText(status)
	_, _ = io.WriteString(w, "<html>\r\n<head><title>"+text+"</title></head>\r\n<body>\r\n<center><h1>"+text+"</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n")
}

// frontListener keeps the connections of the clients in the front's map while they are open.
type frontListener struct {
	net.Listener
	f *front
}

func (l *frontListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := &frontConn{c, l.f}
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.f.conns[conn] = struct{}{}
	return conn, nil
}

type frontConn struct {
	net.Conn
	f *front
}

// Close removes the connection from the front's map.
func (c *frontConn) Close() error {
	c.f.mu.Lock()
	delete(c.f.conns, c)
	c.f.mu.Unlock()
	return c.Conn.Close()
}
