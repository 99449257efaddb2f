package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestScaling runs fleets with the smallest load, one of which loses an analyzer, and fleets
// that caption. It does not check how fast any is.
func TestScaling(t *testing.T) {
	if os.Getenv("TEST_RABBITMQ_URL") == "" || os.Getenv("TEST_S3_ENDPOINT") == "" {
		t.Skip("TEST_RABBITMQ_URL and TEST_S3_ENDPOINT are not set: no servers to test with")
	}
	dir := t.TempDir()
	r, err := measureScaling(t.Context(), repository, dir, tinyScale)
	if err != nil {
		t.Fatal(err)
	}
	text := r.markdown()
	t.Log(text)
	if len(r.fleets) != 2 {
		t.Fatalf("fleets %+v", r.fleets)
	}
	for i, p := range r.fleets {
		if p.analyzers != i+1 || p.rate <= 0 || p.busy <= 0 || p.attempt < tinyScale.wait.Seconds() || p.least > 1 || p.most < 1 || p.least < 0 {
			t.Errorf("%+v", p)
		}
	}
	if one := r.fleets[0]; one.least != 1 || one.most != 1 {
		t.Errorf("a single analyzer did not process every image: %+v", one)
	}
	if r.lost <= 0 {
		t.Errorf("the last image ended %s after the kill", r.lost)
	}
	checkCaptions(t, r)
	if n := strings.Count(text, "\n| 1 |") + strings.Count(text, "\n| 2 |"); n != 2 {
		t.Errorf("the table has %d rows, want 2", n)
	}
	left, err := filepath.Glob(filepath.Join(dir, "servers", "run", "*.pid"))
	if err != nil || len(left) > 0 {
		t.Errorf("still running: %v, %v", left, err)
	}
}

// checkCaptions checks the rows of the caption analyzers: first those of an analyzer that waits for its originals.
func checkCaptions(t *testing.T, r *scaling) {
	t.Helper()
	var rows []string
	for _, c := range r.captions {
		rows = append(rows, fmt.Sprintf("%s %d", c.wait, c.analyzers))
		if c.described <= 0 || c.all <= 0 || c.fleet < 0 || c.fleet > c.all || (c.captions > 0) != (c.analyzers > 0) {
			t.Errorf("%+v", c)
		}
	}
	if want := []string{"20ms 0", "20ms 1", "20ms 2", "0s 0", "0s 1", "0s 2"}; !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
}

// TestSlowStoreDelaysOnlyObjects verifies that signed values pass unchanged, and that
// only reads of objects are delayed.
func TestSlowStoreDelaysOnlyObjects(t *testing.T) {
	var host string
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host = r.Host
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path) // the client may be gone
	}))
	defer behind.Close()
	const wait = 50 * time.Millisecond
	s, err := startSlowStore(behind.URL, wait)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		method, path string
		slow         bool
	}{
		{"GET", "/original/0af7/a.jpg", true}, {"GET", "/original/?location=", false}, {"HEAD", "/original/0af7/a.jpg", false}, {"PUT", "/original/0af7/a.jpg", false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if isGet(req) != c.slow {
			t.Errorf("%s %s is slow: %v", c.method, c.path, !c.slow)
		}
		started := time.Now()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if took := time.Since(started); c.slow && took < wait {
			t.Errorf("%s %s took only %s", c.method, c.path, took)
		}
		if path, _, _ := strings.Cut(c.path, "?"); err != nil || c.method != "HEAD" && string(text) != c.method+" "+path || "http://"+host != s.URL {
			t.Errorf("%s %s arrived as %q at %s, %v", c.method, c.path, text, host, err)
		}
	}
}
