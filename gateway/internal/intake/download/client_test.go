package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// raw starts an origin that writes raw bytes to each connection.
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

// reset resets a connection instead of closing it.
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
		t.Fatalf("got %q, %v, want \"bytes\" and nil", data, err)
	}
	for _, name := range []string{"Cookie", "Referer", "Authorization"} {
		if v := header.Get(name); v != "" {
			t.Errorf("sent %s: %s, want \"\"", name, v)
		}
	}
	if got := header.Get("User-Agent"); got != "Imagebatch/1.2" {
		t.Errorf("User-Agent = %q, want \"Imagebatch/1.2\"", got)
	}
	if got, want := header.Get("Accept"), "image/jpeg, image/png;q=0.9, */*;q=0.1"; got != want {
		t.Errorf("Accept = %q, want %q", got, want)
	}
	if got := header.Get("Accept-Encoding"); got != "identity" {
		t.Errorf("Accept-Encoding = %q, want \"identity\"", got)
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
		t.Errorf("five redirects: %q, %v, want \"there\" and nil", data, err)
	}
	asked.Store(0)
	_, err := get(t, c, origin.URL+"/6")
	wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: too many redirects")
	if n := asked.Load(); n != 6 {
		t.Errorf("%d requests, want 6", n)
	}
}

func TestAttemptsByStatusCode(t *testing.T) {
	for code, tries := range map[int]int64{
		201: 1, 204: 1, 206: 1, 301: 1, 304: 1, 400: 1, 401: 1, 403: 1, 404: 1, 410: 1, 418: 1,
		408: 3, 425: 3, 500: 3, 501: 3, 502: 3, 504: 3, 507: 3, 520: 3,
	} {
		var asked atomic.Int64
		origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(code)
		})
		_, err := get(t, client(t, Config{}), origin.URL)
		wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: status code "+strconv.Itoa(code))
		if n := asked.Load(); n != tries {
			t.Errorf("%d: %d requests, want %d", code, n, tries)
		}
	}
}

// TestLimitedImagesWait verifies that a 429 or 503 ends the call without using up attempts, also
// after an attempt that broke, and names the host that answered.
func TestLimitedImagesWait(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		var asked atomic.Int64
		origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 {
				reset(hijack(w))
				return
			}
			w.WriteHeader(status)
		})
		front := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, origin.URL, http.StatusFound) })
		_, err := get(t, client(t, Config{}), front.URL)
		limited, ok := errors.AsType[*LimitedError](err)
		if !ok || limited.Status != status || limited.Host != place(origin.URL) || asked.Load() != 2 {
			t.Errorf("%d: got %v after %d requests, want a LimitedError of %s after 2", status, err, asked.Load(), place(origin.URL))
		}
	}
}

// TestRedirectsWaitForTheirHost verifies that a redirect is not followed to a host that gets no
// requests for now.
func TestRedirectsWaitForTheirHost(t *testing.T) {
	var asked atomic.Int64
	origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	front := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, origin.URL, http.StatusFound) })
	c := client(t, Config{})
	for i, want := range []int{http.StatusTooManyRequests, 0, 0} {
		_, err := get(t, c, front.URL)
		if limited, ok := errors.AsType[*LimitedError](err); !ok || limited.Status != want || limited.Host != place(origin.URL) {
			t.Errorf("call %d: got %v, want a LimitedError of %s with status %d", i, err, place(origin.URL), want)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the host was asked %d times, want 1", n)
	}
}

func Test203IsASuccess(t *testing.T) {
	origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNonAuthoritativeInfo)
		w.Write([]byte("changed by a proxy"))
	})
	if data, err := get(t, client(t, Config{}), origin.URL); err != nil || string(data) != "changed by a proxy" {
		t.Errorf("got %q, %v, want the body", data, err)
	}
}

func TestRetrySucceeds(t *testing.T) {
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
		"408":                  func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestTimeout) },
		"425":                  func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooEarly) },
		"502 with Retry-After": func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(502) },
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
				t.Errorf("got %q, %v after %d attempts, want \"at last\", nil and 3", data, err, asked.Load())
			}
		})
	}
}

func TestRetryAfterIsHonoredWithinTheBudget(t *testing.T) {
	// The origin has no network, so that an hour takes no time.
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
						fmt.Fprintf(there, "HTTP/1.1 500 No\r\nRetry-After: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", tc.after)
					} else {
						io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
					}
				}()
				return here, nil
			}
			start := time.Now()
			img, err := c.Get(t.Context(), "job", "http://example.com/", "example.com", nil)
			if tc.tries == 1 {
				wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: status code 500")
			} else if err != nil || string(img.Data) != "ok" {
				t.Errorf("Retry-After %s: %v, want nil and \"ok\"", tc.after, err)
			}
			if took := time.Since(start); took != tc.waits || asked.Load() != tc.tries {
				t.Errorf("Retry-After %s: %d attempts in %s, want %d in %s", tc.after, asked.Load(), took, tc.tries, tc.waits)
			}
		})
	}
	date := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := RetryAfter(date.Add(9*time.Second).Format(http.TimeFormat), date); got != 9*time.Second {
		t.Errorf("a date in 9 s returned %s, want %v", got, 9*time.Second)
	}
	if got := RetryAfter(date.Add(-time.Hour).Format(http.TimeFormat), date); got != 0 {
		t.Errorf("a date in the past returned %s, want 0", got)
	}
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
		t.Errorf("%d requests without a response header, want 1", n)
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
		tick := time.NewTimer(40 * time.Millisecond) // each byte is in time, the whole body is not
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
		w.WriteHeader(http.StatusBadGateway)
	})
	// The second pause would end after the budget, so it is not started.
	pauses := []time.Duration{time.Millisecond, time.Hour}
	c := client(t, Config{Budget: time.Minute, pause: func(try int) time.Duration { return pauses[try-1] }})
	_, err := get(t, c, origin.URL)
	wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: status code 502")
	if n := asked.Load(); n != 2 {
		t.Errorf("%d requests, want 2, because there is no time for a third", n)
	}
}

func TestEndOfContextDoesNotFailTheImage(t *testing.T) {
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
	if _, err := client(t, Config{}).Get(ctx, "job", origin.URL, place(origin.URL), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}
