package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// calls returns all calls of the store by name.
func calls(s *Store) map[string]func(ctx context.Context) error {
	return map[string]func(context.Context) error{
		"Put": func(ctx context.Context) error {
			return s.Put(ctx, "id/a.jpg", objectstore.Content{Data: make([]byte, 400_000), Type: "image/jpeg"})
		},
		"Get":    func(ctx context.Context) error { _, err := objectstore.ReadAll(ctx, s, "id/a.jpg", 1<<20); return err },
		"Stat":   func(ctx context.Context) error { _, err := s.Stat(ctx, "id/a.jpg"); return err },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, "id/a.jpg") },
		"List": func(ctx context.Context) error {
			var last error
			for _, err := range s.List(ctx, "id/") {
				last = err
			}
			return last
		},
		"Ready": s.Ready,
	}
}

func expectUnavailable(t *testing.T, err error, text string) {
	t.Helper()
	switch {
	case !errors.Is(err, objectstore.ErrUnavailable), errors.Is(err, objectstore.ErrNotExist):
		t.Errorf("got error %v, want ErrUnavailable", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		t.Errorf("error %v looks like the end of the caller's context", err)
	case !strings.Contains(err.Error(), text):
		t.Errorf("got error %v, want the text %q", err, text)
	}
}

// expectAllUnavailable makes all calls concurrently, and verifies that each fails
// within the time limits, with some extra seconds for a busy machine.
func expectAllUnavailable(t *testing.T, s *Store) {
	t.Helper()
	limit := quick.window + quick.call + 5*time.Second
	var wg sync.WaitGroup
	for name, call := range calls(s) {
		wg.Go(func() {
			t.Helper()
			start := time.Now()
			err := call(t.Context())
			if took := time.Since(start); took > limit {
				t.Errorf("%s took %v, want at most %v", name, took, limit)
			}
			expectUnavailable(t, err, "")
		})
	}
	wg.Wait()
}

func TestErrorResponsesAreUnavailable(t *testing.T) {
	for _, test := range []struct {
		status     int
		code, text string
	}{
		{http.StatusInternalServerError, "InternalError", "temporarily unavailable"},
		{http.StatusServiceUnavailable, "SlowDown", "temporarily unavailable"},
		{http.StatusTooManyRequests, "SlowDown", "temporarily unavailable"},
		{http.StatusBadGateway, "", "temporarily unavailable"},
		{http.StatusForbidden, "SignatureDoesNotMatch", "rejects the access key"},
		{http.StatusUnauthorized, "Unauthorized", "rejects the access key"},
		{http.StatusBadRequest, "AuthorizationHeaderMalformed", "rejects the request"},
		{http.StatusMovedPermanently, "PermanentRedirect", "rejects the request"},
		{http.StatusNotFound, "", "does not exist"}, // a web server that is not an S3 server
	} {
		t.Run(fmt.Sprint(test.status, test.code), func(t *testing.T) {
			t.Parallel()
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				_, _ = io.Copy(io.Discard, r.Body)
				if test.code == "" {
					http.Error(w, "<html>nothing here</html>", test.status)
				} else {
					respond(w, test.status, test.code)
				}
				return true
			})
			s := f.store(t, quick)
			expectAllUnavailable(t, s)
			// The same after the bucket was found.
			s.bucketSeen.Store(true)
			expectAllUnavailable(t, s)
			expectUnavailable(t, s.Ready(t.Context()), test.text)
		})
	}
}

func TestWrongRegionIsReported(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Amz-Bucket-Region", "eu-central-1")
		respond(w, http.StatusBadRequest, "AuthorizationHeaderMalformed")
		return true
	})
	expectUnavailable(t, f.store(t, relaxed).Ready(t.Context()), `in region "eu-central-1"`)
}

func TestServerThatStartsLater(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s := opened(t, Config{
		Endpoint: "http://" + address, AccessKey: "key", SecretKey: "secret",
		Bucket: "original", CreateBucket: true,
	}, relaxed)
	expectAllUnavailable(t, s)
	expectUnavailable(t, s.Ready(t.Context()), "does not respond")

	f := &fake{objects: map[string][]byte{}, missing: true}
	listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Skipf("the port is in use: %v", err)
	}
	f.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: f, ReadHeaderTimeout: time.Second}}
	f.Start()
	defer f.Close()
	if err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("here"), Type: ""}); err != nil {
		t.Fatalf("Put after the start of a server without the bucket: %v", err)
	}
	if data, err := objectstore.ReadAll(t.Context(), s, "a", 10); err != nil || string(data) != "here" {
		t.Errorf("Get = %q, %v", data, err)
	}
}

// TestServerThatHangs has a server that reads the request and sends no response.
func TestServerThatHangs(t *testing.T) {
	end := make(chan struct{})
	f := newFake(t, func(_ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-end:
		case <-r.Context().Done():
		}
		return true
	})
	defer close(end)
	s := f.store(t, quick)
	expectAllUnavailable(t, s)
	s.bucketSeen.Store(true)
	expectAllUnavailable(t, s)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, objectstore.ErrUnavailable) {
		t.Errorf("Get after the caller's deadline = %v, want context.DeadlineExceeded", err)
	}
	if took := time.Since(start); took > quick.header {
		t.Errorf("Get took %v, longer than its caller's deadline", took)
	}
}

// TestServerThatReadsNoData has a server that accepts the connection but reads no byte
// of an upload.
func TestServerThatReadsNoData(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := opened(t, Config{
		Endpoint: "http://" + listener.Addr().String(), AccessKey: "key", SecretKey: "secret", Bucket: "original",
	}, quick)
	s.bucketSeen.Store(true)
	start := time.Now()
	err = s.Put(t.Context(), "a", objectstore.Content{Data: make([]byte, 32<<20), Type: ""})
	expectUnavailable(t, err, "")
	if took := time.Since(start); took > quick.window+quick.stall+5*time.Second {
		t.Errorf("Put took %v", took)
	}
}

func TestTransientErrorsAreRetried(t *testing.T) {
	for name, fault := range map[string]func(w http.ResponseWriter){
		"503":   func(w http.ResponseWriter) { respond(w, http.StatusServiceUnavailable, "SlowDown") },
		"500":   func(w http.ResponseWriter) { respond(w, http.StatusInternalServerError, "InternalError") },
		"reset": reset,
	} {
		t.Run(name, func(t *testing.T) {
			var left atomic.Int32
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				_, _ = io.Copy(io.Discard, r.Body)
				if left.Add(-1) < 0 {
					return false
				}
				fault(w)
				return true
			})
			f.objects["id/a.jpg"] = []byte("there")
			s := f.store(t, relaxed)
			s.bucketSeen.Store(true)
			for name, call := range calls(s) {
				if name == "Ready" || name == "Put" { // Ready makes one try; Put's body was read above
					continue
				}
				left.Store(2)
				if err := call(t.Context()); err != nil {
					t.Errorf("%s after two errors: %v", name, err)
				}
				f.objects["id/a.jpg"] = []byte("there")
			}
			f.fault = nil
			if err := s.Put(t.Context(), "id/a.jpg", objectstore.Content{Data: []byte("again"), Type: ""}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPutSendsAllBytesOnEveryTry(t *testing.T) {
	var tries atomic.Int32
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || tries.Add(1) > 2 {
			return false
		}
		_, _ = io.CopyN(io.Discard, r.Body, 100_000)
		reset(w)
		return true
	})
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	if err := f.store(t, relaxed).Put(t.Context(), "a", objectstore.Content{Data: data, Type: "image/png"}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.objects["a"], data) {
		t.Errorf("the server has %d bytes, want the %d bytes that were put", len(f.objects["a"]), len(data))
	}
}

// TestWebServerIsNoS3Server verifies that a server that responds with 200 to all
// requests is not taken for an S3 server.
func TestWebServerIsNoS3Server(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, "<html>welcome</html>")
		return true
	})
	expectUnavailable(t, f.store(t, relaxed).Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: ""}), "no ETag")
}

func TestDenialsAreNotRetried(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request) bool {
		respond(w, http.StatusForbidden, "AccessDenied")
		return true
	})
	s := f.store(t, relaxed)
	s.bucketSeen.Store(true)
	if _, err := s.Get(t.Context(), "a"); err == nil || f.requests.Load() != 1 {
		t.Errorf("Get = %v after %d requests, want an error after 1", err, f.requests.Load())
	}
}

func TestListContinuesAfterAnError(t *testing.T) {
	var lists atomic.Int32
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !r.URL.Query().Has("list-type") {
			return false
		}
		switch lists.Add(1) {
		case 1:
			reset(w)
		case 3:
			fmt.Fprint(w, `<ListBucketResult><Contents><Key>id/0500</Key><Si`) // cut off
		default:
			return false
		}
		return true
	})
	for i := range 2500 {
		f.objects[fmt.Sprintf("id/%04d", i)] = nil
	}
	n := 0
	for info, err := range f.store(t, relaxed).List(t.Context(), "id/") {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("id/%04d", n); info.Key != want {
			t.Fatalf("key %d is %q, want %q", n, info.Key, want)
		}
		n++
	}
	if n != 2500 || lists.Load() != 5 {
		t.Errorf("List yields %d objects in %d requests, want 2500 in 5", n, lists.Load())
	}
}

// TestIncompleteListIsAnError has servers whose lists are incomplete or out of order.
func TestIncompleteListIsAnError(t *testing.T) {
	for name, body := range map[string]string{
		"cut off":      `<ListBucketResult><Contents><Key>id/1</Key></Contents>`,
		"out of order": `<ListBucketResult><Contents><Key>id/2</Key></Contents><Contents><Key>id/1</Key></Contents></ListBucketResult>`,
		"no token":     `<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>id/1</Key></Contents></ListBucketResult>`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet {
					fmt.Fprint(w, body)
				}
				return r.Method == http.MethodGet
			})
			var last error
			for _, err := range f.store(t, quick).List(t.Context(), "id/") {
				last = err
			}
			expectUnavailable(t, last, "")
		})
	}
}
