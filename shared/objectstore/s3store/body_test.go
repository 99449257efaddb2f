package s3store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

func TestBodyThatIsCutOffIsUnavailable(t *testing.T) {
	for name, fault := range map[string]func(w http.ResponseWriter){
		"reset in the middle":      func(w http.ResponseWriter) { send(w, 500_000, 250_000, true) },
		"closed before its length": func(w http.ResponseWriter) { send(w, 500_000, 250_000, false) },
		"no data after the header": func(w http.ResponseWriter) { send(w, 500_000, 0, false) },
		"one byte missing":         func(w http.ResponseWriter) { send(w, 500_000, 499_999, false) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet {
					fault(w)
				}
				return r.Method == http.MethodGet
			})
			s := f.store(t, relaxed)
			o, err := s.Get(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			defer o.Body.Close()
			if o.Size != 500_000 {
				t.Errorf("the size is %d, want the server's 500000", o.Size)
			}
			n, err := io.Copy(io.Discard, o.Body)
			if n >= 500_000 || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the body returns %d bytes and %v, want an error before the end", n, err)
			}
			expectUnavailable(t, err, "of 500000 bytes received")
			_, err = objectstore.ReadAll(t.Context(), s, "a", 1<<20)
			expectUnavailable(t, err, "")
		})
	}
}

// TestBodyThatEndsEarlyIsUnavailable verifies that the end of a body is accepted only
// after its announced length, even if a proxy ended the response properly.
func TestBodyThatEndsEarlyIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		short := io.NopCloser(bytes.NewReader(make([]byte, 60)))
		b := newBody(ctx, short, objectstore.Info{Key: "a", Size: 100}, time.Second, cancel)
		defer b.Close()
		n, err := io.Copy(io.Discard, b)
		if n != 60 {
			t.Errorf("the body returns %d bytes, want the 60 received bytes", n)
		}
		expectUnavailable(t, err, "60 of 100 bytes received")
	})
}

func TestBodyWithoutLengthIsUnavailable(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			_, _ = w.Write([]byte("some"))
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte("thing"))
		}
		return r.Method == http.MethodGet
	})
	_, err := f.store(t, relaxed).Get(t.Context(), "a")
	expectUnavailable(t, err, "no length")
}

func TestBodyThatStallsIsUnavailable(t *testing.T) {
	end := make(chan struct{})
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(make([]byte, 100))
			_ = http.NewResponseController(w).Flush()
			<-end
		}
		return r.Method == http.MethodGet
	})
	defer close(end)
	stalls := relaxed
	stalls.stall = 300 * time.Millisecond
	o, err := f.store(t, stalls).Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	start := time.Now()
	n, err := io.Copy(io.Discard, o.Body)
	expectUnavailable(t, err, "100 of 1000 bytes received")
	if took := time.Since(start); n != 100 || took > 5*time.Second {
		t.Errorf("the body returned %d bytes in %v, want 100 within 5s", n, took)
	}
}

// TestSlowReaderIsNoStall verifies that only waiting for the server counts as a stall.
func TestSlowReaderIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		data := bytes.NewReader(make([]byte, 100))
		b := newBody(ctx, io.NopCloser(data), objectstore.Info{Key: "a", Size: 100}, time.Second, cancel)
		for range 10 {
			if n, err := b.Read(make([]byte, 10)); n != 10 || err != nil {
				t.Fatalf("Read = %d, %v", n, err)
			}
			<-time.After(time.Minute)
			if ctx.Err() != nil {
				t.Fatal("the request was cancelled while its reader was busy")
			}
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("Read at the end = %v, want io.EOF", err)
		}
		if err := b.Close(); err != nil || ctx.Err() == nil {
			t.Errorf("Close = %v with the request's context error %v, want nil and an error", err, ctx.Err())
		}
	})
}
