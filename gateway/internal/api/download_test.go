package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// created returns the path of a new download, relative to the server.
func (r *rig) downloadPath(got response) string {
	r.Helper()
	var created struct {
		Path      string    `json:"path"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if got.status != http.StatusCreated {
		r.Fatalf("POST: %d %s", got.status, got.body)
	}
	r.must(json.Unmarshal(got.body, &created))
	if !strings.HasSuffix(got.header.Get("Location"), "/"+created.Path) || strings.HasPrefix(created.Path, "/") || got.header.Get("Cache-Control") != "no-store" {
		r.Errorf("got the path %q, header %v", created.Path, got.header)
	}
	return got.header.Get("Location")
}

// everyDownload lists bodies that create downloads of the job of rig.outcomes, each with the route of the same results.
var everyDownload = map[string]string{
	`{"what":"zip"}`:   "/results.zip",
	`{"what":"jsonl"}`: "/results.jsonl",
	`{"what":"zip","include":"file,xmp","paths":"custom_id","image":9}`: "/results.zip?include=xmp,file&paths=custom_id",
	`{"what":"file","image":2}`:                                         "/images/2/file",
	`{"what":"original","image":1,"more":{}}`:                           "/images/1/original",
	`{"what":"metadata","image":0}`:                                     "/images/0/metadata",
	`{"what":"xmp","image":0}`:                                          "/images/0/xmp",
}

// TestDownloads verifies that each download has the response of the route of its results, once, without a key and as a file that
// no cache keeps, also below a base path, and that HEAD and a part of the file do not change that.
func TestDownloads(t *testing.T) {
	const base = "/team/images"
	r := setup(t, options{config: api.Config{BasePath: base}})
	keys := newKeyFile(t, "anna")
	keyed := setup(t, options{keys: keys.Store, config: api.Config{BasePath: base}})
	for name, r := range map[string]*rig{"without keys": r, "with keys": keyed} {
		auth := []string{"Authorization", keys.keys["anna"]}
		if r != keyed {
			auth = nil
		}
		image := `{"base64":"` + b64(tinyPNG(t)) + `"}`
		id := path.Base(r.do("POST", base+"/api/v1/batch", strings.NewReader(`{"images":[`+image+`,`+image+`,`+image+`]}`), auth...).header.Get("Location"))
		r.end(id, 0, nil)
		r.end(id, 1, errDamaged)
		r.end(id, 2, nil)
		for body, route := range everyDownload {
			t.Run(name+" "+body, func(t *testing.T) {
				direct := r.do("GET", base+"/api/v1/batch/"+id+route, nil, auth...)
				at := r.downloadPath(r.do("POST", base+"/api/v1/batch/"+id+"/download", strings.NewReader(body), auth...))
				if !strings.HasPrefix(at, base+"/api/v1/downloads/") {
					t.Fatalf("got the path %s", at)
				}
				for range 2 {
					if head := r.do("HEAD", at, nil); head.status != 200 || head.header.Get("Content-Disposition") == "" {
						t.Errorf("HEAD: got %d %v", head.status, head.header)
					}
				}
				got := r.do("GET", at, nil, "Range", "bytes=0-0", "If-None-Match", "*", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin")
				if direct.status != 200 || got.status != 200 || !bytes.Equal(got.body, direct.body) || len(got.body) == 0 {
					t.Fatalf("got %d %.200q, the route has %d %.200q", got.status, got.body, direct.status, direct.body)
				}
				for _, name := range []string{"Content-Type", "Content-Length", "Content-Disposition", "Content-Security-Policy", "X-Content-Type-Options"} {
					if got.header.Get(name) != direct.header.Get(name) {
						t.Errorf("got %s %q, the route has %q", name, got.header.Get(name), direct.header.Get(name))
					}
				}
				for name, want := range map[string]string{"Cache-Control": "no-store", "Accept-Ranges": "none", "Referrer-Policy": "no-referrer"} {
					if got.header.Get(name) != want {
						t.Errorf("got %s %q, want %q", name, got.header.Get(name), want)
					}
				}
				if !strings.HasPrefix(got.header.Get("Content-Disposition"), "attachment;") {
					t.Errorf("got %v", got.header)
				}
				const gone = "Download not found: each path is valid once, and for 60 seconds"
				again := r.get(at)
				wantError(t, again, 404, gone)
				if again.header.Get("Cache-Control") != "no-store" || r.do("HEAD", at, nil).status != 404 {
					t.Errorf("the second time: got %v", again.header)
				}
			})
		}
	}
}

// TestDownloadRefusals verifies that a download is rejected as the route of its results is.
func TestDownloadRefusals(t *testing.T) {
	r := setup(t, options{now: tomorrow})
	id, open := r.outcomes(), r.create(1)
	post := func(id, body string) response {
		return r.do("POST", "/api/v1/batch/"+id+"/download", strings.NewReader(body))
	}
	for body, want := range map[string]string{
		``:                                    `Invalid JSON: want {"what": "zip"}, or {"what": "file", "image": 0}`,
		`[]`:                                  `Invalid JSON: want {"what": "zip"}, or {"what": "file", "image": 0}`,
		`{"what":1}`:                          `Invalid JSON: want {"what": "zip"}, or {"what": "file", "image": 0}`,
		`{"what":"file","image":"0"}`:         `Invalid JSON: want {"what": "zip"}, or {"what": "file", "image": 0}`,
		`{"what":"file","image":0.5}`:         `Invalid JSON: want {"what": "zip"}, or {"what": "file", "image": 0}`,
		`{"what":"zip","include":["file"]}`:   `Invalid JSON: want {"what": "zip"}, or {"what": "file", "image": 0}`,
		`{}`:                                  "what must be zip, jsonl, file, original, metadata or xmp",
		`{"what":"thumbnail","image":0}`:      "what must be zip, jsonl, file, original, metadata or xmp",
		`{"what":"file"}`:                     "image is required: the index of the image, from 0",
		`{"what":"original","image":null}`:    "image is required: the index of the image, from 0",
		`{"what":"zip","include":"file,all"}`: "include must be a list of file, metadata, xmp and thumbnail",
		`{"what":"zip","paths":"name"}`:       "paths must be custom_id",
	} {
		wantError(t, post(id, body), 400, want)
	}
	wantError(t, post(id, `{"what":"zip","x":"`+strings.Repeat("x", 64<<10)+`"}`), 413, "Request body exceeds 65536 bytes")
	for _, c := range []struct {
		job, body, route string
		want             int
	}{
		{unknown, `{"what":"zip"}`, "/results.zip", 404},
		{unknown, ``, "/results.zip", 404},
		{"x", `{"what":"file","image":0}`, "/images/0/file", 404},
		{open, `{"what":"zip"}`, "/results.zip", 409},
		{open, `{"what":"jsonl"}`, "/results.jsonl", 409},
		{open, `{"what":"file","image":0}`, "/images/0/file", 404},
		{id, `{"what":"file","image":1}`, "/images/1/file", 404},
		{id, `{"what":"file","image":3}`, "/images/3/file", 404},
		{id, `{"what":"file","image":-1}`, "/images/-1/file", 404},
		{id, `{"what":"metadata","image":2}`, "/images/2/metadata", 404}, // no longer kept
	} {
		got, direct := post(c.job, c.body), r.get("/api/v1/batch/"+c.job+c.route)
		if got.status != c.want || direct.status != c.want || !bytes.Equal(got.body, direct.body) {
			t.Errorf("%s: got %d %s, the route has %d %s", c.body, got.status, got.body, direct.status, direct.body)
		}
	}
	wantError(t, r.do("POST", "/api/v1/batch/"+id+"/download", strings.NewReader(`{"what":"zip"}`), "Origin", "https://evil.example"), 403,
		"Origin not allowed; ALLOWED_ORIGINS names those that are")
	for _, token := range []string{"x", strings.Repeat("A", 42), strings.Repeat("A", 43), strings.Repeat("A", 44), strings.Repeat("A", 42) + "B", strings.Repeat("-", 1000), "%00"} {
		wantError(t, r.get("/api/v1/downloads/"+token), 404, "Download not found: each path is valid once, and for 60 seconds")
	}
}

// TestDownloadNeedsTheKey verifies that a download ends with its key, with the rights of the key, and with the job.
func TestDownloadNeedsTheKey(t *testing.T) {
	const gone = "Download not found: each path is valid once, and for 60 seconds"
	var later atomic.Int64 // nanoseconds by which the server's clock is ahead
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	keys := newKeyFile(t, "anna", "bert", "ops operator", "boss operator")
	r := setup(t, options{keys: keys.Store, now: now})
	hers, his := r.createAs(keys, "anna", 1), r.createAs(keys, "bert", 1)
	r.end(hers, 0, nil)
	r.end(his, 0, nil)
	create := func(name, id string) string {
		t.Helper()
		return r.downloadPath(r.as(keys, name, "POST", "/api/v1/batch/"+id+"/download", `{"what":"file","image":0}`))
	}
	wantError(t, r.as(keys, "bert", "POST", "/api/v1/batch/"+hers+"/download", `{"what":"file","image":0}`), 404, "Job not found: "+hers)

	// A key in the request has no effect.
	if got := r.as(keys, "bert", "GET", create("anna", hers), ""); got.status != 200 {
		t.Errorf("with another key: got %d", got.status)
	}
	late := create("anna", hers)
	later.Store(int64(job.DownloadTime))
	wantError(t, r.get(late), 404, gone)

	removed, demoted, other, stays := create("bert", his), create("ops", hers), create("boss", hers), create("anna", hers)
	lost := create("anna", hers)
	var text strings.Builder
	for line := range strings.Lines(readFile(t, keys.path)) {
		switch {
		case strings.HasPrefix(line, "bert "):
			continue
		case strings.HasPrefix(line, "ops "):
			line = strings.ReplaceAll(line, "operator", "")
		}
		text.WriteString(line)
	}
	r.must(os.WriteFile(keys.path, []byte(text.String()), 0o600))
	keys.reload(t, "bert")
	wantError(t, r.get(removed), 404, gone)
	wantError(t, r.get(demoted), 404, gone)
	for _, path := range []string{other, stays} {
		if got := r.get(path); got.status != 200 {
			t.Errorf("of a key that stays: got %d %s", got.status, got.body)
		}
	}

	// One that was created while there were no keys.
	token := make([]byte, 32)
	sum := sha256.Sum256(token)
	r.must(r.jobs.AddDownload(t.Context(), job.Download{Hash: hex.EncodeToString(sum[:]), JobID: hers, What: "jsonl", Expires: now().Add(time.Minute)}, now()))
	wantError(t, r.get("/api/v1/downloads/"+base64.RawURLEncoding.EncodeToString(token)), 404, gone)

	// Retention hides the job.
	_, err := r.jobs.Hide(t.Context(), time.Now().Add(time.Hour), 9)
	r.must(err)
	wantError(t, r.get(lost), 404, gone)
}

// reload waits until the store has read a file without the key of the name.
func (f *keyFile) reload(t *testing.T, name string) {
	t.Helper()
	gone := f.Find(strings.TrimPrefix(f.keys[name], "Bearer ")).Removed()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	<-gone
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestDownloadLimit verifies that a name has a limited number of unused downloads, which no other name shares.
func TestDownloadLimit(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert")
	r := setup(t, options{keys: keys.Store})
	id, other := r.createAs(keys, "anna", 1), r.createAs(keys, "bert", 1)
	create := func(name, id string) response {
		return r.as(keys, name, "POST", "/api/v1/batch/"+id+"/download", `{"what":"original","image":0}`)
	}
	first := r.downloadPath(create("anna", id))
	for range job.MaxDownloads - 1 {
		r.downloadPath(create("anna", id))
	}
	got := create("anna", id)
	if got.status != 429 || got.header.Get("Retry-After") == "" || !strings.Contains(string(got.body), "Too many unused downloads") {
		t.Errorf("got %d %s, Retry-After %q", got.status, got.body, got.header.Get("Retry-After"))
	}
	r.downloadPath(create("bert", other))
	if got := r.get(first); got.status != 200 {
		t.Fatalf("got %d", got.status)
	}
	r.downloadPath(create("anna", id))
}

// TestDownloadToken verifies that the token of a download is neither stored nor logged nor counted, and that the log names the job and
// the key.
func TestDownloadToken(t *testing.T) {
	var log lockedBuffer
	keys := newKeyFile(t, "anna")
	r := setup(t, options{keys: keys.Store, log: &log})
	id := r.createAs(keys, "anna", 1)
	r.end(id, 0, nil)
	seen := map[string]bool{}
	for i := range 3 {
		at := r.downloadPath(r.as(keys, "anna", "POST", "/api/v1/batch/"+id+"/download", `{"what":"file","image":0}`))
		token := path.Base(at)
		data, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(data) < 16 || seen[token] {
			t.Fatalf("token %s, %v", token, err)
		}
		seen[token] = true
		sum := sha256.Sum256(data)
		if _, err := r.jobs.Download(t.Context(), hex.EncodeToString(sum[:]), time.Now()); err != nil {
			t.Errorf("the store does not have the hash of the token: %v", err)
		}
		switch i {
		case 0:
			r.get(at)
			r.get(at)
			r.do("POST", at, nil)
			if text := log.String(); !strings.Contains(text, `"route":"/api/v1/downloads/:token","status":200,`) || strings.Count(text, `"job_id":"`+id+`","key":"anna","bytes":9,`) != 1 {
				t.Errorf("the log is %s", text)
			}
		case 1: // an unknown error
			fix := breakWith(&r.jobs.fault, errStrange)
			if got := r.get(at); got.status != 500 {
				t.Errorf("got %d", got.status)
			}
			fix()
		default: // an error in the middle
			r.processed.short.Store(true)
			resp, err := r.client.Get(r.url + at) //nolint:noctx // The client has a time limit.
			r.must(err)
			_, _ = io.Copy(io.Discard, resp.Body) // Only the log matters.
			resp.Body.Close()
		}
	}
	stored := readFile(t, r.database) + readFile(t, r.database+"-wal")
	for token := range seen {
		for name, text := range map[string]string{"log": log.String(), "metrics": r.scrape(), "job store": stored} {
			if strings.Contains(text, token) {
				t.Errorf("the token is in the %s", name)
			}
		}
	}
	if !strings.Contains(r.scrape(), `route="/api/v1/downloads/:token"`) {
		t.Error("the metrics do not have the route")
	}
}

// TestDownloadOutage verifies that a download is not created while its object cannot be read.
func TestDownloadOutage(t *testing.T) {
	r := setup(t, options{now: tomorrow})
	id := r.create(1)
	r.end(id, 0, nil)
	e := pipeline.NewEnvelope(id, 0, time.Now())
	r.must(r.processed.Delete(t.Context(), pipeline.ProcessedKey(e.TraceID, "x/image1.png")))
	post := func(what string) response {
		return r.do("POST", "/api/v1/batch/"+id+"/download", strings.NewReader(fmt.Sprintf(`{"what":%q,"image":0}`, what)))
	}
	wantError(t, post("file"), 404, "No result: that of images[0] is no longer kept")
	fix := breakWith(&r.processed.fault, objectstore.ErrUnavailable)
	wantError(t, post("metadata"), 503, "Service temporarily unavailable, try again later")
	fix()
	r.downloadPath(post("metadata"))
}
