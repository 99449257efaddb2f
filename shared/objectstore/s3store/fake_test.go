package s3store

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// quick has the proportions of standard but much shorter limits, for faults that must
// surface.
var quick = limits{
	dial: 300 * time.Millisecond, header: 400 * time.Millisecond, stall: 400 * time.Millisecond,
	call: 600 * time.Millisecond, whole: 3 * time.Second,
	tries: 3, window: time.Second, pause: 10 * time.Millisecond,
}

// relaxed is for calls that must succeed even on a busy machine.
var relaxed = limits{
	dial: time.Minute, header: time.Minute, stall: time.Minute, call: time.Minute, whole: time.Minute,
	tries: 3, window: time.Minute, pause: time.Millisecond,
}

// fake is a small S3 server. The test's fault responds to some requests, and the fake
// to all others as S3 would.
type fake struct {
	*httptest.Server
	fault    func(w http.ResponseWriter, r *http.Request) bool // returns true if it has responded
	requests atomic.Int32

	mu      sync.Mutex
	missing bool // whether the bucket is missing
	objects map[string][]byte
}

func newFake(t *testing.T, fault func(w http.ResponseWriter, r *http.Request) bool) *fake {
	f := &fake{objects: map[string][]byte{}, fault: fault}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	if f.fault != nil && f.fault(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	data, exists := f.objects[key]
	head := r.Method == http.MethodHead || r.Method == http.MethodGet
	switch {
	case r.Method == http.MethodPut && key == "":
		f.missing = false
	case f.missing:
		respond(w, http.StatusNotFound, "NoSuchBucket")
	case head && key == "" && r.URL.Query().Has("list-type"):
		f.list(w, r)
	case head && key == "":
	case head && !exists:
		respond(w, http.StatusNotFound, "NoSuchKey")
	case head:
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data)
	case r.Method == http.MethodPut:
		w.Header().Set("ETag", `"etag"`)
		f.objects[key], _ = io.ReadAll(r.Body)
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	most, _ := strconv.Atoi(q.Get("max-keys"))
	fmt.Fprint(w, `<ListBucketResult>`)
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if key <= q.Get("start-after") || !strings.HasPrefix(key, q.Get("prefix")) {
			continue
		}
		if most--; most < 0 {
			fmt.Fprint(w, `<IsTruncated>true</IsTruncated><NextContinuationToken>more</NextContinuationToken>`)
			break
		}
		fmt.Fprintf(w, `<Contents><Key>%s</Key><Size>%d</Size><LastModified>2026-01-02T03:04:05Z</LastModified></Contents>`,
			key, len(f.objects[key]))
	}
	fmt.Fprint(w, `</ListBucketResult>`)
}

func respond(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<Error><Code>%s</Code><Message>said by the server</Message></Error>`, code)
}

func reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// send announces a number of bytes but sends another, then closes the connection.
func send(w http.ResponseWriter, announced, sent int, hard bool) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	fmt.Fprintf(rw, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nLast-Modified: %s\r\n\r\n",
		announced, time.Now().UTC().Format(http.TimeFormat))
	_, _ = rw.Write(make([]byte, sent))
	_ = rw.Flush()
	if tcp, ok := c.(*net.TCPConn); ok && hard {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (f *fake) store(t *testing.T, l limits) *Store {
	return opened(t, Config{Endpoint: f.URL, AccessKey: "key", SecretKey: "secret", Bucket: "original"}, l)
}
