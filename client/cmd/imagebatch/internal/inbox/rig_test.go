package inbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/inbox"
)

// gateway is a gateway in memory. Its results are "result of " and the content. Contents with BAD in them fail, and its
// vision model has no caption for those with ODD in them.
type gateway struct {
	*httptest.Server
	maxImages int

	mu    sync.Mutex // guards the fields below
	jobs  []*job
	down  bool                                         // it responds with 503
	proxy bool                                         // a proxy responds with 404
	gone  bool                                         // it has deleted its jobs
	lose  int                                          // number of POSTs whose responses are lost
	files func(w http.ResponseWriter, r *http.Request) // instead of the results
}

type job struct {
	id, key, body string
	metadata      map[string]string
	captions      *bool
	images        []image
}

type image struct{ customID, content string }

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{maxImages: 3}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/limits", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 200, map[string]any{"max_images": g.maxImages, "max_image_bytes": 1000, "formats": []string{"jpeg", "png"}, "captions": map[string]any{"model": "M", "host": "H"}})
	})
	mux.HandleFunc("POST /api/v1/batch", g.create)
	mux.HandleFunc("GET /api/v1/batch", func(w http.ResponseWriter, _ *http.Request) {
		list := []map[string]any{}
		for _, j := range g.jobs {
			list = append(list, j.summary())
		}
		respond(w, 200, map[string]any{"jobs": list})
	})
	mux.HandleFunc("GET /api/v1/batch/{id}", func(w http.ResponseWriter, r *http.Request) {
		j := g.find(r)
		if j == nil {
			respond(w, 404, map[string]any{"error": "Job not found: " + r.PathValue("id"), "status": 404})
			return
		}
		respond(w, 200, j.all())
	})
	mux.HandleFunc("GET /api/v1/batch/{id}/images/{index}/file", func(w http.ResponseWriter, r *http.Request) {
		if g.files != nil {
			g.files(w, r)
			return
		}
		index, _ := strconv.Atoi(r.PathValue("index"))
		w.Write([]byte("result of " + g.find(r).images[index].content))
	})
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Before the lock: a body arrives while the test changes files.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has broken off
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		g.mu.Lock()
		defer g.mu.Unlock()
		switch {
		case g.down:
			respond(w, 503, map[string]any{"error": "down", "status": 503})
		case g.proxy:
			w.WriteHeader(404)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func (g *gateway) find(r *http.Request) *job {
	for _, j := range g.jobs {
		if j.id == r.PathValue("id") && !g.gone {
			return j
		}
	}
	return nil
}

func (g *gateway) create(w http.ResponseWriter, r *http.Request) {
	form, err := r.MultipartReader()
	if err != nil {
		respond(w, 400, map[string]any{"error": err.Error(), "status": 400})
		return
	}
	j := &job{id: fmt.Sprintf("job-%d", len(g.jobs)+1), key: r.Header.Get("Idempotency-Key")}
	var options struct {
		CustomIDs []string          `json:"custom_ids"`
		Metadata  map[string]string `json:"metadata"`
		Captions  *bool             `json:"captions"`
	}
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return // as for a broken connection
		}
		data, _ := io.ReadAll(part)
		if part.FormName() == "options" {
			_ = json.Unmarshal(data, &options) // The test fails without the IDs.
		} else {
			j.images = append(j.images, image{options.CustomIDs[len(j.images)], string(data)})
		}
		j.body += fmt.Sprintf("%s %s %d %s\n", part.FormName(), part.FileName(), len(data), data)
	}
	j.metadata, j.captions = options.Metadata, options.Captions
	for _, before := range g.jobs {
		if before.key == j.key && before.body != j.body {
			respond(w, 422, map[string]any{"error": "Idempotency-Key was used with a different request", "status": 422})
			return
		}
		if before.key == j.key {
			respond(w, 201, before.summary())
			return
		}
	}
	g.jobs = append(g.jobs, j)
	if g.lose > 0 {
		g.lose--
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
		return
	}
	respond(w, 201, j.summary())
}

func (j *job) summary() map[string]any {
	return map[string]any{"job_id": j.id, "status": "completed", "metadata": j.metadata, "total_images": len(j.images)}
}

func (j *job) all() map[string]any {
	list := []map[string]any{}
	for i, img := range j.images {
		one := map[string]any{"index": i, "custom_id": img.customID, "status": "completed"}
		if strings.Contains(img.content, "BAD") {
			one["status"], one["error"], one["error_code"] = "failed", "Damaged", "damaged"
		}
		if strings.Contains(img.content, "ODD") {
			one["uncaptioned"] = true
		}
		list = append(list, one)
	}
	all := j.summary()
	all["images"] = list
	return all
}

// sent returns what the gateway has received, as sorted "path: content".
func (g *gateway) sent() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := []string{}
	for _, j := range g.jobs {
		for _, img := range j.images {
			list = append(list, img.customID+": "+text(img.content))
		}
	}
	slices.Sort(list)
	return list
}

func (g *gateway) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// rig is a watched folder and its gateway.
type rig struct {
	*testing.T
	*gateway
	config inbox.Config
	events []inbox.Event
	react  func(inbox.Event)
}

func setup(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{T: t, gateway: newGateway(t), config: inbox.Config{
		In: filepath.Join(dir, "in"), Out: filepath.Join(dir, "out"), Poll: 20 * time.Millisecond, Once: true,
	}}
	for _, name := range []string{r.config.In, r.config.Out} {
		r.must(os.Mkdir(name, 0o700))
	}
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

const (
	start = "\xff\xd8"
	end   = "\xff\xd9"
)

// text removes what makes a content a JPEG.
func text(content string) string { return strings.NewReplacer(start, "", end, "").Replace(content) }

// put writes an image.
func (r *rig) put(name, content string) {
	r.Helper()
	full := filepath.Join(r.config.In, name)
	r.must(os.MkdirAll(filepath.Dir(full), 0o700))
	r.must(os.WriteFile(full, []byte(start+content+end), 0o600))
}

// run runs until every image has ended.
func (r *rig) run(ctx context.Context) (inbox.Counts, error) {
	r.Helper()
	c, err := client.New(r.URL, client.WithRetries(0))
	r.must(err)
	r.events = nil
	r.config.Report = func(e inbox.Event) {
		r.events = append(r.events, e)
		if r.react != nil {
			r.react(e)
		}
	}
	return inbox.Run(ctx, c, r.config)
}

// ok runs and compares the counts: completed, failed and lost files, and problems.
func (r *rig) ok(completed, failed, lost, problems int) {
	r.Helper()
	counts, err := r.run(r.Context())
	if err != nil {
		r.Fatalf("run: %v", err)
	}
	got := []int{counts.Completed, counts.Failed, counts.Lost, counts.Problems}
	if !slices.Equal(got, []int{completed, failed, lost, problems}) {
		r.Errorf("completed, failed, lost, problems: %v, want %v; events: %+v", got, []int{completed, failed, lost, problems}, r.events)
	}
}

// expect compares the files of a folder, as "path: content".
func (r *rig) expect(dir string, want ...string) {
	r.Helper()
	got := []string{}
	r.must(filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".imagebatch.jsonl") {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		got = append(got, filepath.ToSlash(rel)+": "+text(string(data)))
		return err
	}))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.Errorf("%s has\n%q\nwant\n%q", filepath.Base(dir), got, want)
	}
}

// received compares what was sent since the start.
func (r *rig) received(want ...string) {
	r.Helper()
	if got := r.sent(); !slices.Equal(got, want) {
		r.Errorf("sent\n%q\nwant\n%q", got, want)
	}
}

// event returns the event of the type for the path. It fails if there was none.
func (r *rig) event(kind inbox.EventType, path string) inbox.Event {
	r.Helper()
	for _, e := range r.events {
		if e.Type == kind && e.Path == path {
			return e
		}
	}
	types := map[string]int{}
	for _, e := range r.events {
		types[fmt.Sprintf("%s %s", e.Type, e.Path)]++
	}
	r.Errorf("no event %q for %q in %q", kind, path, slices.Sorted(maps.Keys(types)))
	return inbox.Event{}
}
