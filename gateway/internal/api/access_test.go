package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/console"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// keyFile is a file of API keys and its store.
type keyFile struct {
	*apikey.Store
	path string
	keys map[string]string // keys by name, each with the prefix "Bearer "
}

// newKeyFile creates a key for each line, which has a name and optional options.
func newKeyFile(t testing.TB, lines ...string) *keyFile {
	t.Helper()
	r := &keyFile{path: filepath.Join(t.TempDir(), "keys"), keys: map[string]string{}}
	var text strings.Builder
	for _, line := range lines {
		name, options, _ := strings.Cut(line, " ")
		key, entry, err := apikey.New(name)
		if err != nil {
			t.Fatal(err)
		}
		r.keys[name] = "Bearer " + key
		fmt.Fprintln(&text, entry, options)
	}
	err := os.WriteFile(r.path, []byte(text.String()), 0o600)
	if err == nil {
		r.Store, err = apikey.Open(r.path, apikey.Limits{}, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ops is a substitute for the operations endpoints.
var ops = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })

const small = `{"images":[{"base64":"eA=="}]}`

// as does a request with the key of the given name.
func (r *rig) as(keys *keyFile, name, method, path, body string, header ...string) response {
	r.Helper()
	return r.do(method, path, strings.NewReader(body), append([]string{"Authorization", keys.keys[name]}, header...)...)
}

// TestEveryRouteNeedsAKey requests every route of the server, so that a new route cannot
// be forgotten. Without a key each returns 401, except the routes that show no data of a
// client.
func TestEveryRouteNeedsAKey(t *testing.T) {
	var log lockedBuffer
	keys := newKeyFile(t, "anna")
	r := setup(t, options{keys: keys.Store, ops: ops, log: &log})
	id := r.createAs(keys, "anna", 1)
	r.end(id, 0, nil)
	public := map[string]bool{
		"/": true, "/docs": true, "/docs.css": true, "/healthz": true,
		"/api/v1/limits": true, "/api/v1/openapi.yaml": true, "/api/v1/openapi.json": true, "/api/v1/metadata.schema.json": true,
		"/api/v1/downloads/:token": true,
	}
	for name := range console.Files() {
		public["/"+name] = true
	}
	walked := 0
	for _, route := range r.api.Routes() {
		if route.Method == echo.RouteNotFound || !strings.HasPrefix(route.Path, "/") {
			continue
		}
		walked++
		path := strings.NewReplacer(":job_id", id, ":index", "0").Replace(route.Path)
		method := route.Method
		for name, header := range map[string][]string{
			"none": nil, "another's": {"Authorization", "Bearer ib_" + strings.Repeat("A", 43)}, "no scheme": {"Authorization", keys.keys["anna"][7:]},
			"basic": {"Authorization", "Basic eDp5"}, "empty": {"Authorization", "Bearer "}, "elsewhere": {"X-API-Key", keys.keys["anna"][7:]},
			"the hash": {"Authorization", "Bearer " + strings.Fields(readFile(t, keys.path))[1]},
		} {
			// A key in the URL has no effect.
			got := r.do(method, path+"?api_key="+keys.keys["anna"][7:]+"&access_token="+keys.keys["anna"][7:], nil, append(header, upgrade...)...)
			if public[route.Path] {
				if got.status == http.StatusUnauthorized {
					t.Errorf("%s %s with the key %s: got %d", method, route.Path, name, got.status)
				}
				continue
			}
			if got.status != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), `Bearer realm="imagebatch"`) {
				t.Errorf("%s %s with the key %s: got %d, %v", method, route.Path, name, got.status, got.header)
			}
			if text := "API key unknown"; method != http.MethodHead && (name == "another's" || name == "the hash") {
				wantError(t, got, 401, text)
			} else if method != http.MethodHead {
				wantError(t, got, 401, "API key required")
			}
		}
	}
	if walked < 20 {
		t.Errorf("got only %d routes", walked)
	}
	wantError(t, r.get("/api/v2/none"), 401, "API key required")
	wantError(t, r.as(keys, "anna", "GET", "/api/v2/none", ""), 404, "Not found")
	if got := r.as(keys, "anna", "GET", "/metrics", ""); got.status != 200 || string(got.body) != "metrics" {
		t.Errorf("metrics: got %d %s", got.status, got.body)
	}
	if strings.Contains(log.String(), keys.keys["anna"][10:]) {
		t.Error("the key is in the log")
	}
	if !strings.Contains(log.String(), `"key":"anna"`) {
		t.Error("the log does not contain the names of the keys")
	}
}

// TestAnothersJobIsNotThere requests every route of a job with another name's key. The
// response is that for a job that does not exist, and the request has no effect.
func TestAnothersJobIsNotThere(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert", "ops operator")
	r := setup(t, options{keys: keys.Store, ops: ops})
	id := r.createAs(keys, "anna", 2)
	r.end(id, 0, nil)
	r.end(id, 1, errDamaged)
	walked := 0
	for _, route := range r.api.Routes() {
		if !strings.Contains(route.Path, ":job_id") {
			continue
		}
		walked++
		ask := func(name, id string) response {
			path := strings.NewReplacer(":job_id", id, ":index", "0").Replace(route.Path)
			if strings.HasSuffix(route.Path, "/ws") && name != "bert" && id != unknown {
				// The job has ended, so the socket would end immediately; only the handshake matters.
				conn, resp, err := websocket.Dial(t.Context(), r.url+path, &websocket.DialOptions{
					HTTPClient: r.client, HTTPHeader: http.Header{"Authorization": {keys.keys[name]}},
				})
				if err != nil {
					return response{status: resp.StatusCode}
				}
				_, _ = frames(t.Context(), conn)
				return response{status: 200}
			}
			var header []string
			if strings.HasSuffix(route.Path, "/ws") {
				header = upgrade
			}
			body := ""
			if strings.HasSuffix(route.Path, "/download") {
				body = `{"what":"zip"}`
			}
			return r.as(keys, name, route.Method, path, body, header...)
		}
		if route.Method == http.MethodHead && strings.HasSuffix(route.Path, "/ws") {
			continue // not a valid handshake for any key
		}
		got, never := ask("bert", id), ask("bert", unknown)
		if got.status != 404 || strings.ReplaceAll(string(got.body), id, unknown) != string(never.body) {
			t.Errorf("%s %s of another name's job: got %d %s", route.Method, route.Path, got.status, got.body)
		}
		if strings.HasSuffix(route.Path, "/cancel") {
			continue // it has ended
		}
		for _, name := range []string{"anna", "ops"} {
			if got := ask(name, id); got.status < 200 || got.status > 299 {
				t.Errorf("%s %s as %s: got %d %s", route.Method, route.Path, name, got.status, got.body)
			}
		}
	}
	if walked < 12 {
		t.Errorf("got only %d routes", walked)
	}
}

func TestOwners(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert", "ops operator")
	r := setup(t, options{keys: keys.Store})
	total := func(name string) (n int) {
		for _, path := range []string{"/api/v1/batch", "/api/v1/batch?limit=1"} {
			got := r.as(keys, name, "GET", path, "")
			_, tail, _ := strings.Cut(string(got.body), `"total":`)
			if _, err := fmt.Sscanf(tail, "%d", &n); err != nil {
				t.Fatalf("%s: %s", path, got.body)
			}
		}
		return n
	}
	nobodys := r.orphan()
	open := r.createAs(keys, "anna", 1)
	wantError(t, r.as(keys, "bert", "POST", "/api/v1/batch/"+open+"/cancel", ""), 404, "Job not found: "+open)
	failed := r.createAs(keys, "anna", 1)
	r.end(failed, 0, errDamaged)
	for name, want := range map[string]int{"anna": 2, "bert": 0, "ops": 3} {
		if got := total(name); got != want {
			t.Errorf("%s sees %d jobs, want %d", name, got, want)
		}
	}
	wantError(t, r.as(keys, "anna", "GET", "/api/v1/batch/"+nobodys, ""), 404, "Job not found: "+nobodys)
	// A job that an operator retries keeps its owner.
	if got := r.as(keys, "ops", "POST", "/api/v1/batch/"+failed+"/retry", ""); got.status != 201 {
		t.Errorf("retry: got %d %s", got.status, got.body)
	}
	if got := total("anna"); got != 3 {
		t.Errorf("anna sees %d jobs after a retry", got)
	}
	if got := r.as(keys, "ops", "POST", "/api/v1/batch/"+open+"/cancel", ""); got.status != 200 {
		t.Errorf("cancel: got %d %s", got.status, got.body)
	}
	// Each name has its own Idempotency-Keys.
	const same = "order 4711"
	first := r.as(keys, "anna", "POST", "/api/v1/batch", small, "Idempotency-Key", same)
	other := r.as(keys, "bert", "POST", "/api/v1/batch", small, "Idempotency-Key", same)
	again := r.as(keys, "anna", "POST", "/api/v1/batch", small, "Idempotency-Key", same)
	if first.status != 201 || other.status != 201 || string(first.body) != string(again.body) || string(first.body) == string(other.body) {
		t.Errorf("with the same Idempotency-Key: %s%s%s", first.body, other.body, again.body)
	}
	wantError(t, r.as(keys, "bert", "POST", "/api/v1/batch", small+" ", "Idempotency-Key", same), 422, "Idempotency-Key was used with a different request")
}

// TestKey verifies that a caller learns its name and its rights.
func TestKey(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert captions=off", "ops operator")
	r := setup(t, options{keys: keys.Store})
	for name, want := range map[string]string{
		"anna": `{"name":"anna","operator":false,"captions":true}`,
		"bert": `{"name":"bert","operator":false,"captions":false}`,
		"ops":  `{"name":"ops","operator":true,"captions":true}`,
	} {
		if got := r.as(keys, name, "GET", "/api/v1/key", ""); got.status != 200 || string(got.body) != want+"\n" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d %v %s, want %s", name, got.status, got.header, got.body, want)
		}
	}
	if got := setup(t, options{}).get("/api/v1/key"); got.status != 200 || string(got.body) != `{"operator":true,"captions":true}`+"\n" {
		t.Errorf("without keys: got %d %s", got.status, got.body)
	}
}

// TestRefusedUpload verifies that a client that sends a large batch without a key sees
// the reason for the rejection, and that the server does not read the batch.
func TestRefusedUpload(t *testing.T) {
	keys := newKeyFile(t, "anna")
	r := setup(t, options{keys: keys.Store})
	wantError(t, r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[`+strings.Repeat(" ", 8<<20)+`]}`)), 401, "API key required")
}

// TestSocketKeys watches with a key in the header and with a key in the subprotocol, as a
// web page does, and then removes the key.
func TestSocketKeys(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert")
	r := setup(t, options{keys: keys.Store})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }()
	defer func() {
		cancel()
		r.must(<-done)
	}()
	dial := func(o websocket.DialOptions) (*websocket.Conn, error) {
		o.HTTPClient = r.client
		conn, resp, err := websocket.Dial(t.Context(), r.url+"/api/v1/batch/"+r.createAs(keys, "anna", 1)+"/ws", &o)
		if err != nil {
			if resp.StatusCode != 401 {
				t.Errorf("rejected with %d", resp.StatusCode)
			}
			return nil, err
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
		return conn, nil
	}
	key := strings.TrimPrefix(keys.keys["anna"], "Bearer ")
	page, err := dial(websocket.DialOptions{Subprotocols: []string{"imagebatch", "imagebatch.bearer." + key}})
	r.must(err)
	if page.Subprotocol() != "imagebatch" {
		t.Errorf("got the subprotocol %q", page.Subprotocol())
	}
	program, err := dial(websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {keys.keys["anna"]}}})
	r.must(err)
	for _, protocols := range [][]string{nil, {"imagebatch"}, {"imagebatch", "imagebatch.bearer.x"}, {"imagebatch", key}} {
		if _, err := dial(websocket.DialOptions{Subprotocols: protocols}); err == nil {
			t.Errorf("the socket with the protocols %q", protocols)
		}
	}
	lines := strings.Split(readFile(t, keys.path), "\n")
	r.must(os.WriteFile(keys.path, []byte(lines[1]), 0o600))
	limit, end := context.WithTimeout(t.Context(), 10*apikey.Interval)
	defer end()
	for _, conn := range []*websocket.Conn{page, program} {
		_, err := frames(limit, conn)
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != websocket.StatusPolicyViolation || closed.Reason != "API key was removed" {
			t.Errorf("got close error %v", err)
		}
	}
	wantError(t, r.as(keys, "anna", "GET", "/api/v1/batch", ""), 401, "API key unknown")
	if got := r.as(keys, "bert", "GET", "/api/v1/batch", ""); got.status != 200 {
		t.Errorf("the other key: got %d", got.status)
	}
}

// orphan stores a job that was created without keys.
func (r *rig) orphan() string {
	r.Helper()
	j := job.New("00000000-0000-4000-8000-000000000000", []job.Image{{URL: "http://example.com/"}}, time.Now())
	r.must(r.jobs.Create(r.Context(), j))
	return j.ID
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// createAs creates a job of n inline images with the given key.
func (r *rig) createAs(keys *keyFile, name string, n int) string {
	r.Helper()
	image := `{"base64":"` + b64(tinyPNG(r)) + `"}`
	got := r.as(keys, name, "POST", "/api/v1/batch", `{"images":[`+strings.TrimSuffix(strings.Repeat(image+",", n), ",")+`]}`)
	if got.status != http.StatusCreated {
		r.Fatalf("POST: %d %s", got.status, got.body)
	}
	return strings.TrimPrefix(got.header.Get("Location"), "/api/v1/batch/")
}
