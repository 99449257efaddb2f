package api_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
)

// Requests that a foreign page makes a browser send change nothing, whatever their form.
func TestForeignPages(t *testing.T) {
	const allowed = "https://app.example.com"
	r := setup(t, options{config: api.Config{AllowedOrigins: []string{allowed}}})
	id := r.create(1)
	own := r.url
	posts := map[string]string{
		"/api/v1/batch":                    `{"images":[{"base64":"` + b64(tinyPNG(t)) + `"}]}`,
		"/api/v1/batch/" + id + "/cancel":  "",
		"/api/v1/batch/" + id + "/retry":   "",
		"/api/v1/batch/" + id + "/nothing": "",
	}
	for _, origin := range []string{"https://evil.example", "null", "http://app.example.com", "https://app.example.com:444", own + "0"} {
		for path, body := range posts {
			wantError(t, r.do("POST", path, strings.NewReader(body), "Origin", origin, "Content-Type", "text/plain"), 403, foreign)
		}
	}
	if n := len(r.list()); n != 1 {
		t.Errorf("got %d jobs, want only the earlier one", n)
	}
	for _, origin := range []string{own, allowed, "HTTPS://APP.example.com"} {
		if got := r.do("POST", "/api/v1/batch", strings.NewReader(posts["/api/v1/batch"]), "Origin", origin); got.status != 201 {
			t.Errorf("%s: got %d %s", origin, got.status, got.body)
		}
	}
	large := strings.Repeat(" ", 4<<20) // its sender sees the response anyway
	wantError(t, r.do("POST", "/api/v1/batch", strings.NewReader(large), "Origin", "null"), 403, foreign)
}

// Only pages of allowed origins may read responses, and none with credentials.
func TestCORS(t *testing.T) {
	const allowed = "https://app.example.com"
	r := setup(t, options{config: api.Config{AllowedOrigins: []string{allowed}}})
	ask := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type, idempotency-key"}
	for _, c := range []struct {
		method, path, origin, allowed string
		header                        []string
		status                        int
	}{
		{"GET", "/api/v1/batch", allowed, allowed, nil, 200},
		{"GET", "/api/v1/batch/x", allowed, allowed, nil, 404}, // Pages read errors too.
		{"GET", "/api/v1/batch", "https://evil.example", "", nil, 200},
		{"GET", "/api/v1/batch", "", "", nil, 200},
		{"OPTIONS", "/api/v1/batch", allowed, allowed, ask, 204},
		{"OPTIONS", "/api/v1/batch/" + unknown + "/cancel", allowed, allowed, ask, 204},
		{"OPTIONS", "/api/v1/batch", "https://evil.example", "", ask, 204},
	} {
		got := r.do(c.method, c.path, nil, append([]string{"Origin", c.origin}, c.header...)...)
		h := got.header
		if got.status != c.status || h.Get("Access-Control-Allow-Origin") != c.allowed || h.Get("Vary") != "Origin" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%+v: got %d %v", c, got.status, h)
		}
		if methods, headers := h.Get("Access-Control-Allow-Methods"), h.Get("Access-Control-Allow-Headers"); c.method == "OPTIONS" && c.allowed != "" &&
			(methods != "GET, HEAD, POST" || !strings.Contains(headers, "Content-Type") || !strings.Contains(headers, "Idempotency-Key")) {
			t.Errorf("%+v: got %v", c, h)
		}
	}
	for name := range setup(t, options{}).do("GET", "/api/v1/batch", nil, "Origin", allowed).header {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("without allowed origins: got the header %s", name)
		}
	}
}

// A host name that is not ours is rejected although it resolves to this server.
func TestHosts(t *testing.T) {
	ops := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
	r := setup(t, options{ops: ops, config: api.Config{AllowedHosts: []string{"images.example.com", "localhost:8080", "[::1]"}}})
	for host, ours := range map[string]bool{
		"images.example.com": true, "IMAGES.example.com:8443": true, "localhost:8080": true, "[::1]:8080": true, "[::1]": true,
		"localhost:81": false, "localhost": false, "evil.example": false, "evil.example:8080": false, "images.example.com.evil.example": false, "127.0.0.1": false,
	} {
		for _, path := range []string{"/api/v1/batch", "/", "/nothing"} {
			got := r.do("GET", path, nil, "Host", host)
			if ours == (got.status == 421) {
				t.Errorf("%s of %s: got %d %s", path, host, got.status, got.body)
			} else if !ours {
				wantError(t, got, 421, "Host not allowed; ALLOWED_HOSTS names those that are")
			}
		}
		if got := r.do("POST", "/api/v1/batch", strings.NewReader("{}"), "Host", host, "Origin", "http://"+host); ours != (got.status == 400) {
			t.Errorf("POST to %s: got %d %s", host, got.status, got.body)
		}
		if got := r.do("GET", "/healthz", nil, "Host", host); got.status != 200 {
			t.Errorf("a probe of %s: got %d", host, got.status)
		}
	}
}

// The headers of every response keep a browser from interpreting it in another way.
func TestSecurityHeaders(t *testing.T) {
	ops := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
	r := setup(t, options{ops: ops})
	id := r.create(2)
	r.end(id, 0, nil)
	for _, route := range r.api.Routes() {
		path := strings.NewReplacer(":job_id", id, ":index", "0").Replace(route.Path)
		for _, path := range []string{path, strings.Replace(path, id, unknown, 1), strings.Replace(path, "/0/", "/1/", 1)} {
			name := fmt.Sprintf("%s %s", route.Method, path)
			h := r.do(route.Method, path, nil).header
			policy := h.Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
				t.Errorf("%s: got policy %q", name, policy)
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: got %v", name, h)
			}
		}
	}
	for name, got := range map[string]response{
		"unknown": r.get("/nothing"), "upgrade": r.do("GET", "/api/v1/batch/"+id+"/ws", nil), "below": r.raw("hello\r\n\r\n"),
	} {
		if h := got.header; h.Get("Content-Security-Policy") == "" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") == "" {
			t.Errorf("%s: got %v", name, h)
		}
	}
}
