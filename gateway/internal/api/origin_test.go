package api_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
)

// What a foreign page makes a browser send changes nothing, whatever it looks like.
func TestForeignPages(t *testing.T) {
	const friend = "https://app.example.com"
	r := setup(t, options{config: api.Config{AllowedOrigins: []string{friend}}})
	id := r.create(1)
	own := r.url
	posts := map[string]string{
		"/api/v1/batch":                    `{"images":[{"base64":"` + b64(picture(t)) + `"}]}`,
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
		t.Errorf("%d jobs, want the one that was made before", n)
	}
	for _, origin := range []string{own, friend, "HTTPS://APP.example.com"} {
		if got := r.do("POST", "/api/v1/batch", strings.NewReader(posts["/api/v1/batch"]), "Origin", origin); got.status != 201 {
			t.Errorf("%s: %d %s", origin, got.status, got.body)
		}
	}
	large := strings.Repeat(" ", 4<<20) // its sender sees the answer all the same
	wantError(t, r.do("POST", "/api/v1/batch", strings.NewReader(large), "Origin", "null"), 403, foreign)
}

// Only pages of allowed origins may read answers, and none with credentials.
func TestCORS(t *testing.T) {
	const friend = "https://app.example.com"
	r := setup(t, options{config: api.Config{AllowedOrigins: []string{friend}}})
	ask := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type, idempotency-key"}
	for _, c := range []struct {
		method, path, origin, allowed string
		header                        []string
		status                        int
	}{
		{"GET", "/api/v1/batch", friend, friend, nil, 200},
		{"GET", "/api/v1/batch/x", friend, friend, nil, 404}, // Pages read errors too.
		{"GET", "/api/v1/batch", "https://evil.example", "", nil, 200},
		{"GET", "/api/v1/batch", "", "", nil, 200},
		{"OPTIONS", "/api/v1/batch", friend, friend, ask, 204},
		{"OPTIONS", "/api/v1/batch/" + unknown + "/cancel", friend, friend, ask, 204},
		{"OPTIONS", "/api/v1/batch", "https://evil.example", "", ask, 204},
	} {
		got := r.do(c.method, c.path, nil, append([]string{"Origin", c.origin}, c.header...)...)
		h := got.header
		if got.status != c.status || h.Get("Access-Control-Allow-Origin") != c.allowed || h.Get("Vary") != "Origin" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%+v: %d %v", c, got.status, h)
		}
		if methods, headers := h.Get("Access-Control-Allow-Methods"), h.Get("Access-Control-Allow-Headers"); c.method == "OPTIONS" && c.allowed != "" &&
			(methods != "GET, HEAD, POST" || !strings.Contains(headers, "Content-Type") || !strings.Contains(headers, "Idempotency-Key")) {
			t.Errorf("%+v: %v", c, h)
		}
	}
	for name := range setup(t, options{}).do("GET", "/api/v1/batch", nil, "Origin", friend).header {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("without allowed origins: %s", name)
		}
	}
}

// A name that is not ours, though it leads here, is no way in.
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
				t.Errorf("%s of %s: %d %s", path, host, got.status, got.body)
			} else if !ours {
				wantError(t, got, 421, "Host not allowed; ALLOWED_HOSTS names those that are")
			}
		}
		if got := r.do("POST", "/api/v1/batch", strings.NewReader("{}"), "Host", host, "Origin", "http://"+host); ours != (got.status == 400) {
			t.Errorf("POST to %s: %d %s", host, got.status, got.body)
		}
		if got := r.do("GET", "/healthz", nil, "Host", host); got.status != 200 {
			t.Errorf("a probe of %s: %d", host, got.status)
		}
	}
}

// Every answer of every route tells a browser to take it for nothing else.
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
				t.Errorf("%s: policy %q", name, policy)
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: %v", name, h)
			}
		}
	}
	for name, got := range map[string]response{
		"unknown": r.get("/nothing"), "upgrade": r.do("GET", "/api/v1/batch/"+id+"/ws", nil), "below": r.raw("hello\r\n\r\n"),
	} {
		if h := got.header; h.Get("Content-Security-Policy") == "" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") == "" {
			t.Errorf("%s: %v", name, h)
		}
	}
}
