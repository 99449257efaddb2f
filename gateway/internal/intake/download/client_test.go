package download

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// raw starts an origin that speaks for itself.
func raw(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				if _, err := c.Read(make([]byte, 4096)); err == nil {
					talk(c)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return "http://" + l.Addr().String()
}

func hijack(w http.ResponseWriter) net.Conn {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	return c
}

// reset ends a connection by a reset instead of an orderly end.
func reset(c net.Conn) {
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		panic(err)
	}
	c.Close()
}

func TestGetSendsNothingThatItNeedNot(t *testing.T) {
	var header http.Header
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.Header().Set("Set-Cookie", "session=1")
			http.Redirect(w, r, "/image", http.StatusFound)
			return
		}
		header = r.Header.Clone()
		w.Write([]byte("bytes"))
	})
	data, err := get(t, client(t, Config{UserAgent: "Imagebatch/1.2"}), origin.URL+"/")
	if err != nil || string(data) != "bytes" {
		t.Fatalf("got %q, %v", data, err)
	}
	for _, name := range []string{"Cookie", "Referer", "Authorization"} {
		if v := header.Get(name); v != "" {
			t.Errorf("sent %s: %s", name, v)
		}
	}
	if got := header.Get("User-Agent"); got != "Imagebatch/1.2" {
		t.Errorf("User-Agent = %q", got)
	}
	if got := header.Get("Accept-Encoding"); got != "identity" {
		t.Errorf("Accept-Encoding = %q", got)
	}
}

func TestRedirectsAreCounted(t *testing.T) {
	var asked atomic.Int64
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if n, _ := strconv.Atoi(r.URL.Path[1:]); n > 0 {
			http.Redirect(w, r, fmt.Sprintf("/%d", n-1), http.StatusMovedPermanently)
			return
		}
		w.Write([]byte("there"))
	})
	c := client(t, Config{})
	if data, err := get(t, c, origin.URL+"/5"); err != nil || string(data) != "there" {
		t.Errorf("five redirects: %q, %v", data, err)
	}
	asked.Store(0)
	_, err := get(t, c, origin.URL+"/6")
	wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: too many redirects")
	if n := asked.Load(); n != 6 {
		t.Errorf("asked %d times, want 6", n)
	}
}

func TestStatusCodesAndTheirTries(t *testing.T) {
	for code, tries := range map[int]int64{
		201: 1, 204: 1, 206: 1, 301: 1, 304: 1, 400: 1, 401: 1, 403: 1, 404: 1, 410: 1, 418: 1,
		429: 3, 500: 3, 502: 3, 503: 3, 504: 3,
	} {
		var asked atomic.Int64
		origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(code)
		})
		_, err := get(t, client(t, Config{}), origin.URL)
		wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: status code "+strconv.Itoa(code))
		if n := asked.Load(); n != tries {
			t.Errorf("%d: asked %d times, want %d", code, n, tries)
		}
	}
}

func TestAnotherTrySucceeds(t *testing.T) {
	fails := map[string]func(http.ResponseWriter){
		"reset before the header": func(w http.ResponseWriter) {
			reset(hijack(w))
		},
		"closed before the header": func(w http.ResponseWriter) {
			hijack(w).Close()
		},
		"reset in the body": func(w http.ResponseWriter) {
			c := hijack(w)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
			reset(c)
		},
		"cut in the body": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("abc"))
		},
		"429":                  func(w http.ResponseWriter) { w.WriteHeader(429) },
		"503 with Retry-After": func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(503) },
	}
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) <= 2 {
					fail(w)
					return
				}
				w.Write([]byte("at last"))
			})
			data, err := get(t, client(t, Config{}), origin.URL)
			if err != nil || string(data) != "at last" || asked.Load() != 3 {
				t.Errorf("got %q, %v after %d tries", data, err, asked.Load())
			}
		})
	}
}

func TestRetryAfterIsHonouredAsFarAsItFits(t *testing.T) {
	// An origin without a network, so that an hour takes no time.
	for _, tc := range []struct {
		after string
		waits time.Duration
		tries int64
	}{
		{"7", 7 * time.Second, 2},
		{"3600", 0, 1},
		{"-5", 300 * time.Millisecond, 2},
		{"soon", 300 * time.Millisecond, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := New(Config{pause: func(int) time.Duration { return 300 * time.Millisecond }})
			var asked atomic.Int64
			c.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				go func() {
					defer there.Close()
					_, _ = there.Read(make([]byte, 4096))
					if asked.Add(1) == 1 {
						fmt.Fprintf(there, "HTTP/1.1 429 No\r\nRetry-After: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", tc.after)
					} else {
						io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
					}
				}()
				return here, nil
			}
			began := time.Now()
			img, err := c.Get(t.Context(), "job", "http://example.com/")
			if tc.tries == 1 {
				wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: status code 429")
			} else if err != nil || string(img.Data) != "ok" {
				t.Errorf("Retry-After %s: %v", tc.after, err)
			}
			if took := time.Since(began); took != tc.waits || asked.Load() != tc.tries {
				t.Errorf("Retry-After %s: %d tries in %s, want %d in %s", tc.after, asked.Load(), took, tc.tries, tc.waits)
			}
		})
	}
	date := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := retryAfter(date.Add(9*time.Second).Format(http.TimeFormat), date); got != 9*time.Second {
		t.Errorf("a date 9 s away gave %s", got)
	}
	if got := retryAfter(date.Add(-time.Hour).Format(http.TimeFormat), date); got != 0 {
		t.Errorf("a date in the past gave %s", got)
	}
}

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
					t.Errorf("%d bytes (chunked %v): got %d, %v", size, chunked, len(data), err)
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
				t.Errorf("allocated %d MiB", grown>>20)
			}
		})
	}
	t.Run("a gzip bomb is handed on as it is", func(t *testing.T) {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		z.Write(make([]byte, 8<<20))
		z.Close()
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(packed.Bytes())
		}).URL
		data, err := get(t, client(t, Config{MaxBytes: limit}), url)
		if err != nil || !bytes.Equal(data, packed.Bytes()) {
			t.Errorf("got %d bytes, %v, want the %d that were sent", len(data), err, packed.Len())
		}
	})
	t.Run("a length that is short", func(t *testing.T) {
		url := raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef") })
		if data, err := get(t, client(t, Config{}), url); err != nil || string(data) != "abc" {
			t.Errorf("got %q, %v", data, err)
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

func TestSlowOriginsAreGivenUp(t *testing.T) {
	var asked atomic.Int64
	hang := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-r.Context().Done()
	})
	_, err := get(t, client(t, Config{HeaderTimeout: 50 * time.Millisecond, Timeout: time.Hour, Budget: time.Hour}), hang.URL)
	wantFailure(t, err, pipeline.CodeDownloadFailed, textNoHeader)
	if n := asked.Load(); n != 1 {
		t.Errorf("a header that did not come was asked for %d times", n)
	}
	drip := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.Write([]byte("x"))
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	c := client(t, Config{HeaderTimeout: 100 * time.Millisecond, Timeout: 150 * time.Millisecond})
	_, err = get(t, c, drip.URL)
	wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: timed out")
	slowRedirects := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTimer(40 * time.Millisecond) // each in time, together too long
		defer tick.Stop()
		<-tick.C
		http.Redirect(w, r, "/", http.StatusFound)
	})
	_, err = get(t, c, slowRedirects.URL)
	wantFailure(t, err, pipeline.CodeDownloadFailed, textNoHeader)
}

func TestBudgetBoundsAllTries(t *testing.T) {
	var asked atomic.Int64
	origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	c := client(t, Config{Budget: 100 * time.Millisecond, pause: func(int) time.Duration { return 80 * time.Millisecond }})
	_, err := get(t, c, origin.URL)
	wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: status code 503")
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times, want 2: there was no time for a third", n)
	}
}

func TestEndOfContextIsNoFailureOfTheImage(t *testing.T) {
	arrived := make(chan struct{})
	origin := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := client(t, Config{}).Get(ctx, "job", origin.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestMemoryOfAllDownloadsIsBounded(t *testing.T) {
	const limit = 1 << 20
	full := make(chan struct{})
	hold := make(chan struct{})
	fat := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Write(make([]byte, limit))
		w.(http.Flusher).Flush()
		full <- struct{}{}
		<-hold
	})
	small := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("small")) })
	large := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, limit)) })
	c := client(t, Config{MaxBytes: limit, Memory: 4 * (limit + 1), patience: 20 * time.Millisecond})
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			img, err := c.Get(t.Context(), "greedy", fat.URL)
			if err == nil {
				img.Release()
			} else if !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
		})
		<-full
	}
	// The greedy job has its share; another has its own.
	for range 10 {
		if data, err := c.Get(t.Context(), "modest", small.URL); err != nil {
			t.Errorf("the other job: %v", err)
		} else {
			data.Release()
		}
	}
	if img, err := c.Get(t.Context(), "modest", large.URL); err != nil {
		t.Errorf("the other job: %v", err)
	} else {
		img.Release()
	}
	if _, err := c.Get(t.Context(), "greedy", large.URL); !errors.Is(err, ErrBusy) {
		t.Errorf("beyond its share the greedy job got %v, want ErrBusy", err)
	}
	close(hold)
	running.Wait()
	checkMemory(t, c)
}
