package api_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
)

// TestDescription verifies that every form of the description is served without a key, names
// the base path, and is sent again only when it has changed.
func TestDescription(t *testing.T) {
	keys := newKeyFile(t, "anna")
	for _, base := range []string{"", "/team/images"} {
		r := setup(t, options{keys: keys.Store, config: api.Config{BasePath: base}})
		server := base
		if base == "" {
			server = "/"
		}
		for path, want := range map[string][2]string{
			"/api/v1/openapi.yaml": {"application/yaml", "\nservers:\n  - url: " + server + "\n"},
			"/api/v1/openapi.json": {"application/json", `"url": "` + server + `"`},
			"/docs":                {"text/html; charset=utf-8", `<link rel="stylesheet" href="docs.css">`},
		} {
			got := r.get(base + path)
			if got.status != 200 || got.header.Get("Content-Type") != want[0] || !strings.Contains(string(got.body), want[1]) || got.header.Get("Cache-Control") != "no-cache" {
				t.Errorf("%s: got %d %v, want %q", base+path, got.status, got.header, want)
			}
			etag := got.header.Get("ETag")
			if again := r.do("GET", base+path, nil, "If-None-Match", etag); etag == "" || again.status != 304 || len(again.body) > 0 || again.header.Get("ETag") != etag {
				t.Errorf("%s with the ETag %s: got %d", base+path, etag, again.status)
			}
			if other := r.do("GET", base+path, nil, "If-None-Match", `"other"`); other.status != 200 {
				t.Errorf("%s with another ETag: got %d", base+path, other.status)
			}
			if head := r.do("HEAD", base+path, nil); head.status != 200 || head.header.Get("Content-Length") != got.header.Get("Content-Length") {
				t.Errorf("HEAD %s: got %d %v", base+path, head.status, head.header)
			}
		}
		var description struct {
			OpenAPI string
			Servers []struct{ URL string }
		}
		if err := json.Unmarshal(r.get(base+"/api/v1/openapi.json").body, &description); err != nil || description.OpenAPI != "3.1.1" || len(description.Servers) != 1 || description.Servers[0].URL != server {
			t.Errorf("below %q: got %+v, %v", base, description, err)
		}
	}
}

// TestDescriptionHasEveryRoute verifies that the description has exactly the paths and methods of
// the table of routes. Only the files of a page, which are for browsers, are not part of it.
func TestDescriptionHasEveryRoute(t *testing.T) {
	r := setup(t, options{ops: ops})
	var served, described []string
	for _, row := range r.api.Table() {
		method := row.Method
		if method == "" {
			method = http.MethodGet // probes accept only GET and HEAD
		}
		if method == http.MethodGet && !strings.Contains(row.Path, ":") {
			switch kind, _, _ := strings.Cut(r.get(row.Path).header.Get("Content-Type"), ";"); kind {
			case "text/html", "text/css", "text/javascript", "image/svg+xml":
				continue
			}
		}
		served = append(served, method+" "+regexp.MustCompile(`:(\w+)`).ReplaceAllString(row.Path, "{$1}"))
	}
	var description struct {
		Paths map[string]map[string]json.RawMessage
	}
	r.must(json.Unmarshal(r.get("/api/v1/openapi.json").body, &description))
	for path, item := range description.Paths {
		for name := range item {
			if name != "parameters" && name != "servers" && name != "summary" && name != "description" {
				described = append(described, strings.ToUpper(name)+" "+path)
			}
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		for _, operation := range served {
			if !slices.Contains(described, operation) {
				t.Errorf("%s is not in openapi.yaml", operation)
			}
		}
		for _, operation := range described {
			if !slices.Contains(served, operation) {
				t.Errorf("%s is in openapi.yaml, but not in the table of routes", operation)
			}
		}
	}
}
