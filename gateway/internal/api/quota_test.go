package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"nhooyr.io/websocket"
)

// TestNoisyNeighbour verifies that the requests of a client beyond its limit are rejected,
// and that other clients are not affected.
func TestNoisyNeighbour(t *testing.T) {
	keys := newKeyFile(t, "noisy requests_per_minute=5", "quiet requests_per_minute=1000", "free")
	r := setup(t, options{keys: keys.Store})
	served, refused := 0, 0
	started := time.Now()
	for range 50 {
		switch got := r.as(keys, "noisy", "GET", "/api/v1/batch", ""); got.status {
		case 200:
			served++
		case 429:
			refused++
			if text := `{"error":"Too many requests, try again later","status":429}` + "\n"; string(got.body) != text {
				t.Errorf("rejected with %s", got.body)
			}
			if after := got.header.Get("Retry-After"); after == "" || after == "0" {
				t.Errorf("got Retry-After %q", after)
			}
			if p, l := got.header.Get("RateLimit-Policy"), got.header.Get("RateLimit"); p != `"requests";q=5;w=60` || !strings.HasPrefix(l, `"requests";r=0;t=`) {
				t.Errorf("got RateLimit-Policy %q, RateLimit %q", p, l)
			}
		default:
			t.Errorf("got %d %s", got.status, got.body)
		}
		for _, name := range []string{"quiet", "free"} {
			if got := r.as(keys, name, "GET", "/api/v1/batch", ""); got.status != 200 {
				t.Errorf("%s: got %d %s", name, got.status, got.body)
			} else if has := got.header.Get("RateLimit") != ""; has != (name == "quiet") {
				t.Errorf("%s got the headers %v", name, got.header)
			}
		}
	}
	// The limiter refills one request every 12 s.
	if late := int(time.Since(started).Minutes()*5) + 1; served < 5 || served > 5+late || served+refused != 50 {
		t.Errorf("%d served, %d rejected", served, refused)
	}
	// Public routes belong to no name and count against no quota.
	if got := r.as(keys, "noisy", "GET", "/app.js", ""); got.status != 200 {
		t.Errorf("the page: got %d", got.status)
	}
}

func TestQuotas(t *testing.T) {
	keys := newKeyFile(t, "images open_images=3", "sockets sockets=1", "bytes upload_bytes_per_minute=100", "other")
	r := setup(t, options{keys: keys.Store})
	t.Run("open images", func(t *testing.T) {
		first := r.createAs(keys, "images", 2)
		r.createAs(keys, "images", 2) // Two are open, which is below the limit of three.
		got := r.as(keys, "images", "POST", "/api/v1/batch", small)
		if string(got.body) != `{"error":"Too many images in progress with this API key, try again later","status":429}`+"\n" || got.header.Get("Retry-After") != "5" {
			t.Errorf("got %d %s %v", got.status, got.body, got.header)
		}
		r.end(first, 0, nil)
		r.end(first, 1, nil)
		r.createAs(keys, "images", 1)
	})
	t.Run("sockets", func(t *testing.T) {
		dial := func(name, id string) (*websocket.Conn, int) {
			conn, resp, err := websocket.Dial(t.Context(), r.url+"/api/v1/batch/"+id+"/ws", &websocket.DialOptions{
				HTTPClient: r.client, HTTPHeader: http.Header{"Authorization": {keys.keys[name]}},
			})
			if err != nil {
				return nil, resp.StatusCode
			}
			t.Cleanup(func() { _ = conn.CloseNow() })
			return conn, 101
		}
		id, other := r.createAs(keys, "sockets", 1), r.createAs(keys, "other", 1)
		for range 3 { // Requests rejected for another reason are not counted.
			if _, status := dial("sockets", other); status != 404 {
				t.Errorf("another name: got %d", status)
			}
		}
		first, status := dial("sockets", id)
		if status != 101 {
			t.Fatalf("the first socket: got %d", status)
		}
		if _, status := dial("sockets", id); status != 429 {
			t.Errorf("the second socket: got %d", status)
		}
		if _, status := dial("other", other); status != 101 {
			t.Errorf("another name: got %d", status)
		}
		r.end(id, 0, nil)
		if _, err := frames(t.Context(), first); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("ended with %v", err)
		}
		// The server counts the socket until its closing handshake is over.
		for status = 429; status == 429; {
			_, status = dial("sockets", id)
		}
		if status != 101 {
			t.Errorf("after the end of the socket: got %d", status)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		large := `{"images":[{"base64":"eA=="}]` + strings.Repeat(" ", 1000) + `}`
		got := r.as(keys, "bytes", "POST", "/api/v1/batch", large)
		if got.status != 201 || got.header.Get("RateLimit") != `"upload-bytes";r=100;t=1` {
			t.Errorf("a batch that has started: got %d %s %v", got.status, got.body, got.header)
		}
		got = r.as(keys, "bytes", "POST", "/api/v1/batch", small)
		if string(got.body) != `{"error":"Too many bytes uploaded, try again later","status":429}`+"\n" {
			t.Errorf("got %d %s", got.status, got.body)
		}
		// A kilobyte takes ten minutes to refill, less the first of them.
		if after := got.header.Get("Retry-After"); len(after) != 3 || after[0] != '5' {
			t.Errorf("got Retry-After %q", after)
		}
		for _, path := range []string{"/retry", "/reprocess"} {
			if got := r.as(keys, "bytes", "POST", "/api/v1/batch/"+unknown+path, ""); got.status != 429 {
				t.Errorf("%s, which copies a batch: got %d %s", path, got.status, got.body)
			}
		}
		if got := r.as(keys, "bytes", "GET", "/api/v1/batch", ""); got.status != 200 {
			t.Errorf("a GET, which costs no bytes: got %d", got.status)
		}
	})
}
