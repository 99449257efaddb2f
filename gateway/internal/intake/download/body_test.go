package download

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestSizeLimit(t *testing.T) {
	const limit = 1 << 20
	body := bytes.Repeat([]byte{7}, limit+1)
	for _, chunked := range []bool{false, true} {
		for _, size := range []int{0, 1, firstRead - 1, firstRead, firstRead + 1, limit - 1, limit, limit + 1} {
			origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if !chunked {
					w.Header().Set("Content-Length", strconv.Itoa(size))
				}
				w.WriteHeader(http.StatusOK)
				w.(http.Flusher).Flush()
				w.Write(body[:size])
			})
			data, err := get(t, client(t, Config{MaxBytes: limit}), origin.URL)
			if size <= limit {
				if err != nil || !bytes.Equal(data, body[:size]) {
					t.Errorf("%d bytes (chunked %v): got %d, %v, want the same bytes and nil", size, chunked, len(data), err)
				}
			} else {
				wantFailure(t, err, pipeline.CodeTooLarge, "Image exceeds the maximum size of 1 MB")
			}
		}
	}
	if got := TooLarge(10_485_760).Text; got != "Image exceeds the maximum size of 10 MB" {
		t.Errorf("text for the default limit: %q", got)
	}
}

func TestEndlessAndLyingBodies(t *testing.T) {
	const limit = 1 << 20
	endless := func(w io.Writer) {
		block := make([]byte, 32<<10)
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	origins := map[string]string{
		"endless, chunked": serve(t, func(w http.ResponseWriter, _ *http.Request) { endless(w) }).URL,
		"endless, no length": raw(t, func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			endless(c)
		}),
		"a length over the limit and no body": raw(t, func(c net.Conn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", limit+1)
			_, _ = io.Copy(io.Discard, c)
		}),
	}
	for name, url := range origins {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := get(t, client(t, Config{MaxBytes: limit}), url)
			runtime.ReadMemStats(&after)
			wantFailure(t, err, pipeline.CodeTooLarge, "Image exceeds the maximum size of 1 MB")
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
				t.Errorf("allocated %d MiB, want at most 16", grown>>20)
			}
		})
	}
	t.Run("a Content-Length that is too short", func(t *testing.T) {
		url := raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef") })
		if data, err := get(t, client(t, Config{}), url); err != nil || string(data) != "abc" {
			t.Errorf("got %q, %v, want \"abc\" and nil", data, err)
		}
	})
	t.Run("an endless header", func(t *testing.T) {
		url := raw(t, func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X-Fill: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
					return
				}
			}
		})
		_, err := get(t, client(t, Config{}), url)
		wantFailure(t, err, pipeline.CodeDownloadFailed, textNoHeader)
	})
}

func TestMemoryOfAllDownloadsIsBounded(t *testing.T) {
	const limit = 1 << 20
	hold := make(chan struct{})
	fat := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Write(make([]byte, limit))
		w.(http.Flusher).Flush()
		<-hold
	})
	small := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("small")) })
	large := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, limit)) })
	c := client(t, Config{MaxBytes: limit, Memory: 4 * (limit + 1), memoryWait: 20 * time.Millisecond})
	var running sync.WaitGroup
	running.Go(func() {
		img, err := c.Get(t.Context(), "greedy", fat.URL, place(fat.URL), nil)
		if err != nil {
			t.Error(err)
			return
		}
		img.Release()
	})
	waitUntilHeld(c, "greedy", limit+1)
	// The greedy job holds half of its share and needs more than the other half, because a
	// growing buffer is held twice; another job has its own share.
	for range 10 {
		if data, err := c.Get(t.Context(), "modest", small.URL, place(small.URL), nil); err != nil {
			t.Errorf("the other job: %v", err)
		} else {
			data.Release()
		}
	}
	if img, err := c.Get(t.Context(), "modest", large.URL, place(large.URL), nil); err != nil {
		t.Errorf("the other job: %v", err)
	} else {
		img.Release()
	}
	if img, err := c.Get(t.Context(), "greedy", large.URL, place(large.URL), nil); err == nil {
		img.Release()
		t.Error("the greedy job got more than its share")
	} else if !errors.Is(err, ErrBusy) {
		t.Errorf("beyond its share the greedy job returned %v, want ErrBusy", err)
	}
	close(hold)
	running.Wait()
	checkMemory(t, c)
}
