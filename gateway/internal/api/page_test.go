package api_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/console"
)

// TestPage verifies the headers of the console and of the page at /docs.
func TestPage(t *testing.T) {
	r := setup(t, options{})
	for path, contentType := range map[string]string{
		"/": "text/html; charset=utf-8", "/app.js": "text/javascript; charset=utf-8", "/style.css": "text/css; charset=utf-8", "/later.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml",
		"/docs": "text/html; charset=utf-8", "/docs.css": "text/css; charset=utf-8",
	} {
		got := r.get(path)
		policy := got.header.Get("Content-Security-Policy")
		if got.status != 200 || len(got.body) == 0 || got.header.Get("Content-Type") != contentType || got.header.Get("Cache-Control") != "no-cache" || got.header.Get("ETag") == "" {
			t.Errorf("%s: got %d %v", path, got.status, got.header)
		}
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") || strings.Contains(policy, "http") {
			t.Errorf("%s: got policy %q", path, policy)
		}
		if console := !strings.HasPrefix(path, "/docs"); console && !strings.HasSuffix(policy, "; require-trusted-types-for 'script'; trusted-types 'none'") {
			t.Errorf("%s: got policy %q", path, policy)
		}
		for _, bad := range []string{"<script>", " onclick=", "<style", "sourceMappingURL"} {
			if strings.Contains(string(got.body), bad) {
				t.Errorf("%s contains %s", path, bad)
			}
		}
		again := r.do(http.MethodGet, path, nil, "If-None-Match", got.header.Get("ETag"))
		if again.status != http.StatusNotModified || len(again.body) != 0 {
			t.Errorf("%s again: got %d with %d bytes", path, again.status, len(again.body))
		}
	}
}

// TestPageChunks verifies that a browser keeps a file that has a digest in its name, and that no
// other file of this form is served.
func TestPageChunks(t *testing.T) {
	r := setup(t, options{})
	chunks := 0
	for name, f := range console.Files() {
		if !f.Digested {
			continue
		}
		chunks++
		got := r.get("/" + name)
		if got.status != 200 || !bytes.Equal(got.body, f.Data) || got.header.Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.HasSuffix(got.header.Get("Cache-Control"), ", immutable") {
			t.Errorf("%s: got %d with %d bytes, %v", name, got.status, len(got.body), got.header)
		}
		again := r.do(http.MethodGet, "/"+name, nil, "If-None-Match", got.header.Get("ETag"))
		if again.status != http.StatusNotModified {
			t.Errorf("%s again: got %d", name, again.status)
		}
		for _, other := range []string{strings.Replace(name, "-", "-0", 1), "dist/" + name, "src/main.js", "main.js", strings.ToLower(name)} {
			if got := r.get("/" + other); got.status != 404 || strings.Contains(got.header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: got %d, %v", other, got.status, got.header)
			}
		}
	}
	if chunks < 5 {
		t.Errorf("got only %d chunks", chunks)
	}
}

// TestPageCoding verifies that the files of the console are compressed for clients that accept
// that, and that a cache cannot confuse the two.
func TestPageCoding(t *testing.T) {
	r := setup(t, options{})
	plain := r.do(http.MethodGet, "/app.js", nil, "Accept-Encoding", "identity")
	for accepted, zipped := range map[string]bool{
		"gzip": true, "gzip, deflate, br, zstd": true, "GZIP;q=0.5": true, "br, *": true, "*;q=0, gzip": true, "gzip, *;q=0": true,
		"br": false, "gzip;q=0": false, "gzip; q=0.000": false, "*, gzip;q=0": false, "gzip;q=x": false, "": false,
	} {
		got := r.do(http.MethodGet, "/app.js", nil, "Accept-Encoding", accepted)
		body := got.body
		if (got.header.Get("Content-Encoding") == "gzip") != zipped || got.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: got %v", accepted, got.header)
			continue
		}
		if (got.header.Get("ETag") != plain.header.Get("ETag")) != zipped {
			t.Errorf("%q: got ETag %s, plain is %s", accepted, got.header.Get("ETag"), plain.header.Get("ETag"))
		}
		if zipped {
			z, err := gzip.NewReader(bytes.NewReader(body))
			r.must(err)
			body, err = io.ReadAll(z)
			r.must(err)
		}
		if !bytes.Equal(body, plain.body) {
			t.Errorf("%q: got %d other bytes", accepted, len(body))
		}
	}
}
