package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// modelGateway is a gateway with a vision model. Each image with an even number has a caption, and the others have none.
type modelGateway struct {
	*httptest.Server

	mu     sync.Mutex // guards the fields below
	posts  []string   // path and body of each POST; of a form, the part with the options
	onPost func()
}

func newModelGateway(t *testing.T, captions string) *modelGateway {
	t.Helper()
	g := &modelGateway{onPost: func() {}}
	const job = `{"job_id":"J","status":"completed","total_images":4,"completed":3,"failed":1,"uncaptioned":2,"progress":100,"created_at":"2026-11-29T18:00:00Z","images":[` +
		`{"index":0,"original_filename":"0.png","status":"completed"},{"index":1,"original_filename":"1.png","status":"completed","uncaptioned":true},` +
		`{"index":2,"original_filename":"2.png","status":"failed","error":"Damaged"},{"index":3,"original_filename":"3.png","status":"completed","uncaptioned":true}]}`
	answers := map[string]string{
		"/api/v1/limits":         `{"max_images":2,"max_image_bytes":1000,"formats":["png"],"keys":false` + captions + `}`,
		"/api/v1/batch/J":        job,
		"/api/v1/batch/DONE":     `{"job_id":"DONE","status":"completed","total_images":1,"completed":1,"images":[{"index":0,"status":"completed"}]}`,
		"/api/v1/batch/OPEN":     `{"job_id":"OPEN","status":"processing","total_images":1,"images":[{"index":0,"status":"completed","uncaptioned":true}]}`,
		"/api/v1/batch?limit=20": `{"jobs":[` + job + `]}`,
	}
	created := 0
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		g.mu.Lock()
		defer g.mu.Unlock()
		if r.Method == http.MethodPost {
			g.onPost()
			g.posts = append(g.posts, r.URL.Path+" "+optionsOf(t, r))
			created++
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(w, `{"job_id":"N%d","status":"pending","created_at":"2026-11-29T18:00:00Z"}`, created)
			return
		}
		answer, known := answers[r.URL.Path]
		if strings.HasPrefix(r.URL.Path, "/api/v1/batch/N") && !strings.HasSuffix(r.URL.Path, "/events") {
			answer, known = strings.Replace(`{"job_id":"N1","status":"completed","total_images":2,"completed":2,"uncaptioned":1,"images":[`+
				`{"index":0,"original_filename":"0.png","status":"completed"},{"index":1,"original_filename":"1.png","status":"completed","uncaptioned":true}]}`,
				"N1", filepath.Base(r.URL.Path), 1), true
		}
		if r.URL.Path == "/api/v1/batch" {
			answer, known = answers["/api/v1/batch?limit=20"], r.URL.Query().Get("uncaptioned") == "true"
		}
		if !known {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"error":"Not found","status":404}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(g.Close)
	return g
}

// optionsOf returns the body of a request, or the options of a form.
func optionsOf(t *testing.T, r *http.Request) string {
	t.Helper()
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		return string(body)
	}
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		t.Error(err)
	}
	return r.FormValue("options")
}

func (g *modelGateway) run(args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = run(args, []string{"IMAGEBATCH_URL=" + g.URL}, strings.NewReader(""), &out, &errOut)
	return code, out.String(), errOut.String()
}

// writePNGs writes files that start like PNG images and returns their folder.
func writePNGs(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "in")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.png", i)), []byte("\x89PNG\r\n\x1a\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestSendTellsWherePicturesGo verifies that send says before it sends anything which model gets copies of how many
// images, once and only to a person, and that with --no-captions the request says that no model may see them.
func TestSendTellsWherePicturesGo(t *testing.T) {
	const notice = "Up to 4 pictures, 512 px, no EXIF or GPS, go to M at H:1\n"
	dir := writePNGs(t, 4)
	for _, c := range []struct {
		args   []string
		notice int
		option bool
	}{
		{nil, 1, false}, {[]string{"--no-wait"}, 1, false}, {[]string{"--json"}, 0, false}, {[]string{"--quiet"}, 0, false}, {[]string{"--no-captions"}, 0, true},
	} {
		g := newModelGateway(t, `,"captions":{"model":"M","host":"H:1","pixels":512}`)
		var stdout, stderr bytes.Buffer
		a := &lockedBuffer{Buffer: &stderr}
		before := 0
		g.onPost = func() { before = max(before, strings.Count(a.String(), notice)) }
		code := run(append([]string{"send", "-r", dir}, c.args...), []string{"IMAGEBATCH_URL=" + g.URL}, strings.NewReader(""), &stdout, a)
		if code != exitOK || before != c.notice || strings.Count(a.String(), " at H:1") != c.notice || strings.Contains(stdout.String(), " at H:1") {
			t.Errorf("%q: exit code %d, %d notices before the first request, want %d\n%s%s", c.args, code, before, c.notice, stdout.String(), a.String())
		}
		if len(g.posts) != 2 || strings.Contains(g.posts[0], `"captions":false`) != c.option || strings.Contains(g.posts[1], `"captions":false`) != c.option {
			t.Errorf("%q: requests %q, want captions turned off: %t", c.args, g.posts, c.option)
		}
		if len(c.args) == 0 && stdout.String() != "4 images: 4 completed, 2 uncaptioned\n" {
			t.Errorf("the summary is %q", stdout.String())
		}
		if slices.Equal(c.args, []string{"--json"}) && (!strings.Contains(stdout.String(), `"uncaptioned":2}`) || strings.Count(stdout.String(), `"original_filename":"1.png","uncaptioned":true}`) != 2) {
			t.Errorf("lines\n%s", stdout.String())
		}
	}
	g := newModelGateway(t, "")
	if _, stdout, stderr := g.run("send", "-r", dir); strings.Contains(stdout+stderr, "pictures") {
		t.Errorf("without a model:\n%s%s", stdout, stderr)
	}
}

// lockedBuffer may be written and read concurrently.
type lockedBuffer struct {
	mu sync.Mutex
	*bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// TestUncaptioned verifies that list and status show the images without a caption.
func TestUncaptioned(t *testing.T) {
	g := newModelGateway(t, "")
	code, stdout, stderr := g.run("list", "--uncaptioned")
	if code != exitOK || !strings.HasSuffix(stdout, "  completed     4/4  1 failed  2 uncaptioned\n") {
		t.Errorf("list: exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = g.run("status", "J")
	if want := "J  completed     4/4  1 failed  2 uncaptioned\n  1.png: no caption\n  2.png: Damaged\n  3.png: no caption\n"; code != exitImagesFailed || stdout != want {
		t.Errorf("status: exit code %d\n%s, want\n%s", code, stdout, want)
	}
}

// TestReprocess verifies which images and which choice reprocess sends, and which flags contradict each other.
func TestReprocess(t *testing.T) {
	const path = "/api/v1/batch/J/reprocess "
	for _, c := range []struct {
		args string
		code int
		want []string
		text string
	}{
		{"J", 0, []string{path + `{}`}, "N1  completed     2/2  1 uncaptioned\n"},
		{"J --no-wait", 0, []string{path + `{}`}, "N1\n"},
		{"J --images 3,0 --captions", 0, []string{path + `{"images":[3,0],"captions":true}`}, "N1"},
		{"J --no-captions --json", 0, []string{path + `{"captions":false}`}, `"original_filename":"1.png","uncaptioned":true}`},
		{"J --uncaptioned-only", 0, []string{path + `{"images":[1,3]}`}, "job N1 processes images of J again"},
		{"DONE J --uncaptioned-only --captions", 0, []string{path + `{"images":[1,3],"captions":true}`}, "job DONE has no image without a caption"},
		{"OPEN --uncaptioned-only", exitUsage, nil, "has not ended"},
		{"J --captions --no-captions", exitUsage, nil, "contradict"},
		{"J --uncaptioned-only --no-captions", exitUsage, nil, "allows none"},
		{"J --uncaptioned-only --images 1", exitUsage, nil, "both choose"},
		{"J DONE --images 1", exitUsage, nil, "exactly one job"},
		{"J --images x", exitUsage, nil, "invalid"},
		{"", exitUsage, nil, "at least 1 arg"},
	} {
		g := newModelGateway(t, "")
		code, stdout, stderr := g.run(append([]string{"reprocess"}, strings.Fields(c.args)...)...)
		if code != c.code || !slices.Equal(g.posts, c.want) || !strings.Contains(stdout+stderr, c.text) {
			t.Errorf("%q: exit code %d, requests %q, want %d, %q and %q\n%s%s", c.args, code, g.posts, c.code, c.want, c.text, stdout, stderr)
		}
	}
}
