package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// runFolder runs the command in a folder with a subfolder in, and returns the exit code and the output.
func runFolder(t *testing.T, url string, args ...string) (int, string, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(append([]string{"folder"}, args...), []string{"IMAGEBATCH_URL=" + url}, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// TestFolderUsage verifies that folders in which originals and results would mix are refused before anything is created.
func TestFolderUsage(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"in/sub", "out", "outer/in"} {
		if err := os.MkdirAll(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "in", "sub"), "link"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		want string
		code int
		args []string
	}{
		{"--out is required", exitUsage, []string{"in"}},
		{"must not be in", exitUsage, []string{"in", "--out", "in"}},
		{"must not be in", exitUsage, []string{"in", "--out", "in/new/out"}},
		{"must not be in", exitUsage, []string{"in", "--out", "link/new"}},
		{"--done", exitUsage, []string{"in", "--out", "out", "--done", "in/done"}},
		{"--failed", exitUsage, []string{"in", "--out", "out", "--failed", "link"}},
		{"must not contain", exitUsage, []string{"outer/in", "--out", "outer"}},
		{"must be different", exitUsage, []string{"in", "--out", "out", "--done", "out/../out"}},
		{"--poll", exitUsage, []string{"in", "--out", "out", "--poll", "0s"}},
		{"is not a folder", exitUsage, []string{"file", "--out", "out"}},
		{"accepts 1 arg", exitUsage, []string{"in", "out"}},
		{"missing", exitLocal, []string{"missing", "--out", "out"}},
	} {
		// Port 1 is closed: a command that were to send something would fail in another way.
		code, _, stderr := runFolder(t, "http://127.0.0.1:1", test.args...)
		if code != test.code || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit code %d, %q, want %d and %q", test.args, code, stderr, test.code, test.want)
		}
	}
	if err := filepath.WalkDir("in", func(name string, _ fs.DirEntry, err error) error {
		if name != "in" && name != filepath.Join("in", "sub") {
			t.Errorf("%s was created", name)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestFolderOnce verifies the exit codes and the output of --once.
func TestFolderOnce(t *testing.T) {
	respond := func(w http.ResponseWriter, status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // The command fails without it.
	}
	result := "completed"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/limits", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 200, `{"max_images":100,"max_image_bytes":1000}`)
	})
	mux.HandleFunc("POST /api/v1/batch", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1 << 20); err != nil {
			t.Error(err)
		}
		if result == "refused" {
			respond(w, 401, `{"error":"API key required","status":401}`)
			return
		}
		respond(w, 201, `{"job_id":"J","status":"pending"}`)
	})
	mux.HandleFunc("GET /api/v1/batch/J", func(w http.ResponseWriter, _ *http.Request) {
		switch result {
		case "lost":
			respond(w, 404, `{"error":"Job not found: J","status":404}`)
		case "cancelled":
			respond(w, 200, `{"job_id":"J","status":"cancelled","total_images":1,"images":[{"index":0,"custom_id":"sub/a.jpg","status":"failed","error":"Cancelled","error_code":"cancelled"}]}`)
		default:
			respond(w, 200, `{"job_id":"J","status":"`+result+`","total_images":1,"images":[{"index":0,"custom_id":"sub/a.jpg","status":"`+result+`","error":"Damaged"}]}`)
		}
	})
	mux.HandleFunc("GET /api/v1/batch/J/images/0/file", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("result"))
	})
	gateway := httptest.NewServer(mux)
	defer gateway.Close()
	for _, test := range []struct {
		result, stdout string
		code           int
	}{
		{"completed", "1 image saved\n", exitOK},
		{"failed", "sub/a.jpg: Damaged\n0 images saved, 1 failed\n", exitImagesFailed},
		{"cancelled", "sub/a.jpg: Cancelled\n0 images saved, 1 failed\n", exitJobFailed},
		{"lost", "sub/a.jpg: the gateway no longer has job J; it is not sent again without --resend\n0 images saved, 1 lost\n", exitJobFailed},
		{"refused", "0 images saved, 1 unfinished\n", exitRefused},
	} {
		dir := t.TempDir()
		in := filepath.Join(dir, "in")
		if err := os.MkdirAll(filepath.Join(in, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(in, "sub", "a.jpg"), []byte("\xff\xd8\xff\xd9"), 0o600); err != nil {
			t.Fatal(err)
		}
		result = test.result
		args := []string{in, "--out", filepath.Join(dir, "out"), "--once", "--poll", "100ms"}
		code, stdout, stderr := runFolder(t, gateway.URL, args...)
		if code != test.code || stdout != test.stdout {
			t.Errorf("%s: exit code %d, %q, want %d, %q; %s", test.result, code, stdout, test.code, test.stdout, stderr)
		}
		if result != "completed" {
			continue
		}
		if data, err := os.ReadFile(filepath.Join(dir, "out", "sub", "a.jpg")); err != nil || string(data) != "result" {
			t.Errorf("result: %q, %v", data, err)
		}
		code, stdout, _ = runFolder(t, gateway.URL, append(slices.Clip(args), "--json")...)
		for line := range strings.Lines(stdout) {
			var e struct{ Type string }
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Type == "" || e.Type == "sent" {
				t.Errorf("--json, with nothing to do: %s, %v", line, err)
			}
		}
		if code != exitOK {
			t.Errorf("with nothing to do: exit code %d", code)
		}
	}
}
