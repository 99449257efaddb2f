package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// limitsServer responds to a request for the limits, and fails the test on any other request.
func limitsServer(t *testing.T, status int, body string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/api/v1/limits" {
			t.Errorf("request %s %s", r.Method, r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s
}

// TestDryRun verifies that --dry-run reports the numbers, and the model that gets copies of the
// images, and sends nothing. A gateway that reports no limits has those of the specification.
func TestDryRun(t *testing.T) {
	png := []byte("\x89PNG\r\n\x1a\n" + strings.Repeat("x", 92))
	dir := t.TempDir()
	for _, name := range []string{"a.png", "b.png", "c.png"} {
		if err := os.WriteFile(filepath.Join(dir, name), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "big.png"), append(png, make([]byte, 1000)...), 0o600); err != nil {
		t.Fatal(err)
	}
	dry := func(s *httptest.Server, stdin string, args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		code := run(append([]string{"send", "--dry-run"}, args...), []string{"IMAGEBATCH_URL=" + s.URL}, strings.NewReader(stdin), &stdout, &stderr)
		return code, strings.ReplaceAll(stdout.String(), s.URL, "URL") + stderr.String()
	}
	s := limitsServer(t, 200, `{"max_images":2,"max_image_bytes":1000,"formats":["png"],"keys":false,"captions":{"model":"M","host":"H","pixels":512}}`)
	code, text := dry(s, "https://example.com/a.jpg\n", "-r", dir, "--url-file", "-")
	const four = "Would send 4 images (300 B) in 2 jobs to URL; 1 too large (more than 1.0 kB)\n"
	if want := four + "Up to 4 pictures, 512 px, no EXIF or GPS, go to M at H\n"; code != exitOK || text != want {
		t.Errorf("exit code %d\n%s, want\n%s", code, text, want)
	}
	code, text = dry(s, "https://example.com/a.jpg\n", "-r", dir, "--url-file", "-", "--no-captions")
	if want := four + "No pictures go to a vision model\n"; code != exitOK || text != want {
		t.Errorf("exit code %d\n%s, want\n%s", code, text, want)
	}
	if code, text = dry(s, "", filepath.Join(dir, "a.png")); code != exitOK || !strings.HasSuffix(text, "\nUp to 1 picture, 512 px, no EXIF or GPS, goes to M at H\n") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	if code, text = dry(s, "", filepath.Join(dir, "big.png")); code != exitOK || strings.Contains(text, " at H") {
		t.Errorf("for an image that is not sent, exit code %d\n%s", code, text)
	}
	if code, text = dry(s, "", "--json", "--no-captions", filepath.Join(dir, "a.png")); code != exitOK || strings.Contains(text, "captions") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	if code, text = dry(s, "", "--json", filepath.Join(dir, "a.png")); code != exitOK || !strings.HasSuffix(text, `{"type":"dry_run","images":1,"bytes":100,"jobs":1,"skipped":0,"too_large":0,"url":"URL","captions":{"model":"M","host":"H","pixels":512}}`+"\n") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	old := limitsServer(t, 404, `{"error":"Not found","status":404}`)
	if code, text = dry(old, "", "-r", dir); code != exitOK || text != "Would send 4 images (1.4 kB) in 1 job to URL\n" {
		t.Errorf("exit code %d\n%s", code, text)
	}
	wrong := limitsServer(t, 200, `{}`)
	if code, text = dry(wrong, "", "-r", dir); code != exitUnreachable || !strings.Contains(text, "limits") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	page := limitsServer(t, 200, `<html>`)
	if code, text = dry(page, "", "-r", dir); code != exitUnreachable || !strings.Contains(text, "not JSON") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

// TestMissing verifies that a result that is gone fails its image only, that a job of an earlier run that
// is gone is reported and its images are not sent again, and that a proxy's 404 loses nothing.
func TestMissing(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a.png", []byte("\x89PNG\r\n\x1a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var created atomic.Int32
	object, state := "", ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, status := `{"error":"Not found","status":404}`, 404
		switch {
		case r.Method == http.MethodPost:
			_, _ = io.Copy(io.Discard, r.Body)
			created.Add(1)
			body, status = `{"job_id":"J","status":"pending","created_at":"2026-11-28T18:00:00Z"}`, 201
		case strings.HasSuffix(r.URL.Path, "/file"):
			body = object
		case r.URL.Path == "/api/v1/batch/J" && state != "":
			body = state
		case r.URL.Path == "/api/v1/batch/J":
			body, status = `{"job_id":"J","status":"completed","total_images":1,"completed":1,"images":[{"index":0,"status":"completed"}]}`, 200
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	send := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := run(append([]string{"send", "a.png", "--out", "out"}, args...), []string{"IMAGEBATCH_URL=" + s.URL}, strings.NewReader(""), &out, &out)
		return code, out.String()
	}
	object = `{"error":"of a proxy","status":404}`
	if code, text := send(); code != exitUsage || created.Load() != 1 {
		t.Errorf("a proxy's 404: exit code %d, %d jobs\n%s", code, created.Load(), text)
	}
	object = `{"error":"No result: that of images[0] is no longer kept","status":404}`
	if code, text := send("--resume"); code != exitImagesFailed || !strings.Contains(text, "no longer kept") || created.Load() != 1 {
		t.Errorf("a result that is gone: exit code %d, %d jobs\n%s", code, created.Load(), text)
	}
	object = `{"error":"of a proxy","status":404}`
	if code, text := send(); code != exitUsage || created.Load() != 2 {
		t.Errorf("a new run: exit code %d, %d jobs\n%s", code, created.Load(), text)
	}
	state = `{"error":"Job not found: J","status":404}`
	if code, text := send("--resume"); code != exitJobFailed || !strings.Contains(text, "no longer has it") || created.Load() != 2 {
		t.Errorf("a job that is gone: exit code %d, %d jobs\n%s", code, created.Load(), text)
	}
}

// FuzzSafePath verifies that an image of another client is never saved outside of the folder or
// under a name that is special to a system.
func FuzzSafePath(f *testing.F) {
	f.Add("../a.jpg", "b.jpg")
	f.Add("a/b.jpg", "c")
	f.Add("", "\u202e.con. ")
	f.Fuzz(func(t *testing.T, id, name string) {
		got := safePath(imageOf(id, name))
		if !isSafe(got) || !filepath.IsLocal(got) || len(got) > 4096 && got != id {
			t.Errorf("%q and %q are saved as %q", id, name, got)
		}
	})
}
