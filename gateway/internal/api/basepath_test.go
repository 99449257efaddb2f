package api_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/console"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestBasePath verifies that the API and the page are served below the base path and
// nowhere else, and the probes at the root.
func TestBasePath(t *testing.T) {
	const base = "/team/images"
	probe := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
	r := setup(t, options{ops: probe, config: api.Config{BasePath: base}})
	for path, want := range map[string]int{
		base + "/": 200, base + "/app.js": 200, base + "/style.css": 200, base + "/icon.svg": 200, base + "/docs": 200, base + "/docs.css": 200, base + "/api/v1/batch": 200, "/healthz": 200, "/readyz": 200, "/metrics": 200,
		"/": 404, "/app.js": 404, "/api/v1/batch": 404, base + "/healthz": 404, base + "/metrics": 404, "/team": 404, "/team/": 404, base + "x/": 404, base + base + "/": 404,
	} {
		if got := r.get(path); got.status != want {
			t.Errorf("%s: got %d, want %d", path, got.status, want)
		}
	}
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if got := r.get(base); got.status != http.StatusTemporaryRedirect || got.header.Get("Location") != base+"/" {
		t.Errorf("without the last slash: got %d to %q", got.status, got.header.Get("Location"))
	}
	if got := r.do("POST", base, nil); got.status != http.StatusMethodNotAllowed {
		t.Errorf("POST without the last slash: got %d", got.status)
	}

	created := r.do("POST", base+"/api/v1/batch", strings.NewReader(`{"images":[{"base64":"`+b64(tinyPNG(t))+`"}]}`))
	location := created.header.Get("Location")
	id, ok := strings.CutPrefix(location, base+"/api/v1/batch/")
	if created.status != 201 || !ok || !strings.Contains(string(created.body), id) {
		t.Fatalf("POST: got %d %s, Location %q", created.status, created.body, location)
	}
	conn, resp, err := websocket.Dial(t.Context(), r.url+location+"/ws", &websocket.DialOptions{HTTPClient: r.client})
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	r.must(err)
	defer func() { _ = conn.CloseNow() }()
	r.end(id, 0, nil)
	if all, err := frames(t.Context(), conn); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("frames: got %v, %v", all, err)
	}
	for _, path := range []string{location, location + "/images/0/file", location + "/images/0/metadata"} {
		if got := r.get(path); got.status != 200 {
			t.Errorf("%s: got %d", path, got.status)
		}
	}
	again := r.do("POST", location+"/cancel", nil)
	wantError(t, again, 409, "Job has already ended: completed")
	telemetrytest.Expect(t, r.metrics, `http_requests_total{method="POST",route="/api/v1/batch",status="201"} 1`)
}

// TestPageIsRelative verifies that the page works below any path: each file that it loads
// is found next to it, and none of its links leads to the root.
func TestPageIsRelative(t *testing.T) {
	const base = "/images"
	r := setup(t, options{config: api.Config{BasePath: base}})
	links := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(string(r.get(base+"/").body), -1)
	local := 0
	for _, m := range links {
		link := m[1]
		if strings.HasPrefix(link, "https://") || strings.HasPrefix(link, "data:") {
			continue
		}
		local++
		if got := r.get(base + "/" + link); strings.HasPrefix(link, "/") || got.status != 200 {
			t.Errorf("the page links %q: got %d", link, got.status)
		}
	}
	if local < 3 {
		t.Errorf("the page has %d links to the server: %q", local, links)
	}
	for name, f := range console.Files() {
		if absolute := regexp.MustCompile("['\"`]/[a-z]").FindAll(f.Data, -1); len(absolute) > 0 {
			t.Errorf("%s has absolute paths: %q", name, absolute)
		}
	}
}

// TestCheckBasePath verifies which paths can be the base path.
func TestCheckBasePath(t *testing.T) {
	for _, path := range []string{"", "/a", "/a/b", "/images/v2", "/~anna/im-ages_1.x", "/healthz2"} {
		if err := api.CheckBasePath(path); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
	for path, want := range map[string]string{
		"/": "no value", "a": "slash at the start", "images/": "slash at the start", "https://example.com/images": "slash at the start", "/a/": "no slash at the end", "//": "no slash at the end", "//a": "one slash",
		"/a//b": "one slash", "/a/../b": "no segment . or ..", "/.": "no segment", "/a b": "only letters", "/a?b": "only letters", "/%61": "only letters", "/:job_id": "only letters", "/*": "only letters", "/ü": "only letters",
		"/healthz": "another name", "/metrics/x": "another name", "/" + strings.Repeat("x", 256): "at most 256",
	} {
		if err := api.CheckBasePath(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", path, err, want)
		}
	}
}
