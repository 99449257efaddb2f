package api_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/origin"
	"github.com/imagebatch/imagebatch/gateway/internal/proxy"
)

// origins parses a list of allowed origins.
func origins(t *testing.T, entries ...string) (list origin.List) {
	t.Helper()
	for _, e := range entries {
		p, err := origin.Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// Requests that a foreign page makes a browser send change nothing, whatever their form.
func TestForeignPages(t *testing.T) {
	const allowed = "https://app.example.com"
	r := setup(t, options{config: api.Config{AllowedOrigins: origins(t, allowed)}})
	id := r.create(1)
	own := r.url
	posts := map[string]string{
		"/api/v1/batch":                      `{"images":[{"base64":"` + b64(tinyPNG(t)) + `"}]}`,
		"/api/v1/batch/" + id + "/cancel":    "",
		"/api/v1/batch/" + id + "/retry":     "",
		"/api/v1/batch/" + id + "/reprocess": "{}",
		"/api/v1/batch/" + id + "/nothing":   "",
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
	r := setup(t, options{config: api.Config{AllowedOrigins: origins(t, allowed)}})
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
			(methods != "GET, HEAD, POST, DELETE" || !strings.Contains(headers, "Content-Type") || !strings.Contains(headers, "Idempotency-Key")) {
			t.Errorf("%+v: got %v", c, h)
		}
	}
	for name := range setup(t, options{}).do("GET", "/api/v1/batch", nil, "Origin", allowed).header {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("without allowed origins: got the header %s", name)
		}
	}
}

// TestPreflight verifies that a page of an allowed origin may send the headers that
// libraries add to their requests, with the methods of the API, and may read what
// programs need of a response.
func TestPreflight(t *testing.T) {
	const allowed = "https://app.example.com"
	r := setup(t, options{config: api.Config{AllowedOrigins: origins(t, "https://*.example.com")}})
	has := func(list, name string) bool {
		return slices.ContainsFunc(strings.Split(list, ","), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), name) })
	}
	for _, path := range []string{"/api/v1/batch", "/api/v1/batch/" + unknown, "/api/v1/batch/" + unknown + "/images/0/file"} {
		for _, header := range []string{
			"authorization", "content-type", "idempotency-key", "traceparent", "if-none-match", "if-range", "range", "prefer", "last-event-id", "content-encoding",
		} {
			for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
				got := r.do("OPTIONS", path, nil, "Origin", allowed, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", header)
				if h := got.header; got.status != 204 || h.Get("Access-Control-Allow-Origin") != allowed ||
					!has(h.Get("Access-Control-Allow-Methods"), method) || !has(h.Get("Access-Control-Allow-Headers"), header) {
					t.Errorf("%s %s with %s: got %d %v", method, path, header, got.status, h)
				}
			}
		}
	}
	got := r.do("GET", "/api/v1/batch", nil, "Origin", allowed)
	for _, header := range []string{
		"Location", "Retry-After", "Content-Disposition", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "ETag", "Content-Range", "Accept-Ranges", "Preference-Applied",
	} {
		if exposed := got.header.Get("Access-Control-Expose-Headers"); !has(exposed, header) {
			t.Errorf("a page cannot read %s, only %s", header, exposed)
		}
	}
	for _, two := range []string{"Origin: " + allowed + "\r\nOrigin: https://evil.example\r\n", "Origin: https://evil.example\r\nOrigin: " + allowed + "\r\n"} {
		got := r.raw("GET /api/v1/batch HTTP/1.1\r\nHost: x\r\n" + two + "\r\n")
		if a := got.header.Get("Access-Control-Allow-Origin"); a != "" {
			t.Errorf("two origins: %q may read the response", a)
		}
	}
}

// TestOwnPage verifies that the server's own page may create jobs and open WebSockets,
// behind proxies that terminate TLS or name the default port, and that a page of another
// host, port or scheme may not.
func TestOwnPage(t *testing.T) {
	r := setup(t, options{})
	behind := setup(t, options{config: api.Config{TrustedProxies: proxies(t, "127.0.0.1")}})
	forwarded := func(host, proto string) []string {
		return []string{"X-Forwarded-For", "203.0.113.7", "X-Forwarded-Host", host, "X-Forwarded-Proto", proto}
	}
	for _, c := range []struct {
		rig          *rig
		host, origin string
		header       []string
		own          bool
	}{
		{r, "images.lan:443", "https://images.lan", nil, true},
		{r, "images.lan", "https://images.lan", nil, true},
		{r, "images.lan", "https://images.lan:443", nil, true},
		{r, "images.lan:80", "http://images.lan", nil, true},
		{r, "images.lan:8080", "http://images.lan:8080", nil, true},
		{r, "images.lan:443", "http://images.lan", nil, false},
		{r, "images.lan:8080", "https://images.lan", nil, false},
		{r, "images.lan", "https://images.lan:8443", nil, false},
		{r, "images.lan", "capacitor://images.lan", nil, false},
		{r, "gateway:8080", "https://images.lan", nil, false},
		{r, "gateway:8080", "https://images.lan", forwarded("images.lan", "https"), false}, // no trusted proxy
		{r, "gateway:8080", "https://images.lan", []string{"Forwarded", "host=images.lan"}, false},
		{behind, "gateway:8080", "https://images.lan", forwarded("images.lan", "https"), true},
		{behind, "gateway:8080", "https://images.lan", forwarded("images.lan:443", "https"), true},
		{behind, "gateway:8080", "https://images.lan", forwarded("images.lan", "http"), true}, // another proxy terminates TLS
		{behind, "gateway:8080", "https://images.lan:8443", forwarded("images.lan:8443", "https"), true},
		{behind, "gateway:8080", "http://images.lan", forwarded("images.lan", "https"), false},
		{behind, "gateway:8080", "https://images.lan", forwarded("evil.example", "https"), false},
		{behind, "gateway:8080", "http://gateway:8080", forwarded("images.lan", "https"), false},
		{behind, "gateway:8080", "https://images.lan", []string{"Forwarded", "for=203.0.113.7;host=images.lan;proto=https"}, true},
		{behind, "gateway:8080", "https://images.lan", []string{"Forwarded", `for="[2001:db8::7]";host="images.lan:443"`}, true},
		{behind, "images.lan", "https://images.lan", nil, true},
	} {
		id := c.rig.create(1)
		header := append([]string{"Host", c.host, "Origin", c.origin}, c.header...)
		post := c.rig.do("POST", "/api/v1/batch/"+id+"/cancel", nil, header...).status
		socket := c.rig.raw("GET /api/v1/batch/" + id + "/ws HTTP/1.1\r\n" + headerLines(header) + headerLines(upgrade) + "\r\n").status
		if want := map[bool][2]int{true: {200, 101}, false: {403, 403}}[c.own]; post != want[0] || socket != want[1] {
			t.Errorf("page of %s at %s with %v: got %d and %d, want %v", c.origin, c.host, c.header, post, socket, want)
		}
	}
}

// proxies parses a list of trusted proxies.
func proxies(t *testing.T, entries ...string) (list proxy.Trusted) {
	t.Helper()
	for _, e := range entries {
		network, err := proxy.Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, network)
	}
	return list
}

// TestForwardedHost verifies that ALLOWED_HOSTS applies to the host that a trusted proxy
// reports, and that the log names the client, not the proxy.
func TestForwardedHost(t *testing.T) {
	for trust, want := range map[string]struct {
		good, bad int
		client    string
	}{"127.0.0.1": {200, 421, "203.0.113.7"}, "10.0.0.0/8": {421, 421, "127.0.0.1"}} {
		var log lockedBuffer
		r := setup(t, options{log: &log, config: api.Config{TrustedProxies: proxies(t, trust), AllowedHosts: []string{"images.lan"}}})
		got := r.do("GET", "/api/v1/batch", nil, "Host", "gateway:8080", "X-Forwarded-For", "198.51.100.66, 203.0.113.7", "X-Forwarded-Host", "images.lan")
		if got.status != want.good {
			t.Errorf("with the trusted proxy %s: got %d, want %d", trust, got.status, want.good)
		}
		if text := log.String(); !strings.Contains(text, `"client":"`+want.client+`"`) || strings.Contains(text, "198.51.100.66") {
			t.Errorf("with the trusted proxy %s, want the client %s in the log:\n%s", trust, want.client, text)
		}
		if got := r.do("GET", "/api/v1/batch", nil, "Host", "gateway:8080", "X-Forwarded-For", "203.0.113.7", "X-Forwarded-Host", "evil.example"); got.status != want.bad {
			t.Errorf("another host with the trusted proxy %s: got %d", trust, got.status)
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
	r.end(id, 1, nil) // An event stream ends with its job.
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
