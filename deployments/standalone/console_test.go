package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	consoleDir = "../console"
	browsers   = 2
	fileLimit  = 20 * time.Minute
)

// TestConsole runs the scenarios in deployments/console/scenarios: what a person does with the console in a browser. Each
// scenario is a subtest of its file. See "Browser tests" in CONTRIBUTING.md. SCENARIOS=pictures.mjs selects other files below
// deployments/console.
func TestConsole(t *testing.T) {
	t.Parallel()
	env := browserEnv(t)
	files, err := filepath.Glob(filepath.Join(consoleDir, cmp.Or(os.Getenv("SCENARIOS"), "scenarios/*.mjs")))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of scenarios: %v", len(files), err)
	}
	queue := make(chan string, len(files))
	for _, file := range files {
		queue <- file
	}
	close(queue)
	var lanes sync.WaitGroup
	// Parallel subtests would wait for their turn in places that other tests need.
	for range browsers {
		lanes.Go(func() {
			for file := range queue {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".mjs"), func(t *testing.T) {
					newConsole(t).run(func(r scenarioResult) { r.report(t) }, slices.Concat(env, []string{"FILE=" + file, "ONLY=" + selected()})...)
				})
			}
		})
	}
	lanes.Wait()
}

// TestBrowserFindsFaults runs scenarios on a page that does what the console must never do. It verifies that each of them fails
// and reports the fault, and that a page without faults passes.
func TestBrowserFindsFaults(t *testing.T) {
	t.Parallel()
	results := 0
	newConsole(t).run(func(r scenarioResult) {
		results++
		if r.OK != (r.Name == "no fault") || !r.OK && !strings.Contains(r.Error, r.Name) {
			t.Errorf("scenario %q: passed is %t, the error is %s", r.Name, r.OK, r.Error)
		}
	}, append(browserEnv(t), "FILE="+filepath.Join(consoleDir, "faults.mjs"), "FAILURES="+t.TempDir())...)
	if results < 14 {
		t.Errorf("%d scenarios, want at least 14", results)
	}
}

// browserEnv returns the part of run.mjs's environment that is about the browser. It skips the test if this machine lacks what
// deployments/local/install.sh browser installs.
func browserEnv(t *testing.T) []string {
	t.Helper()
	need(t, "node", "--version")
	out, err := exec.CommandContext(t.Context(), "bash", "-uc", ". ../local/lib.sh; tool console; browser").Output()
	packages, chromium, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		t.Skipf("no Chromium here: %v", err)
	}
	if _, err := os.Stat(packages); err != nil {
		t.Skip(err)
	}
	return []string{"CHROMIUM=" + chromium, "PACKAGES=" + packages}
}

// console runs one file of scenarios and does what they request at its control server.
type console struct {
	*testing.T
	sites   map[string]*site // the systems that were started, by name
	actions chan func()      // for the test's goroutine
	control *httptest.Server
}

func newConsole(t *testing.T) *console {
	c := &console{T: t, sites: map[string]*site{}, actions: make(chan func())}
	c.control = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.control.Close)
	return c
}

// controlBody is the body of a request to the control server.
type controlBody struct {
	conditions
	Answer  string          `json:"answer"`
	Caption json.RawMessage `json:"caption"`

	// The image of a dead letter.
	JobID string `json:"job_id"`
	Index int    `json:"index"`
	Name  string `json:"name"`
}

// serve handles POST /SITE/ACTION. Starting a system can end the test, which only its own goroutine may do.
func (c *console) serve(w http.ResponseWriter, r *http.Request) {
	var body controlBody
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name, action, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	if missing := absent(name); missing != "" {
		http.Error(w, missing, http.StatusFailedDependency)
		return
	}
	done := make(chan struct{})
	var answer any
	var err error
	act := func() {
		defer close(done)
		s, ok := c.sites[name]
		if start := sites[name]; !ok && start != nil {
			s = start(c.T)
			c.sites[name] = s
		}
		if s == nil {
			err = fmt.Errorf("unknown system %q", name)
			return
		}
		answer, err = s.act(c.T, action, body)
	}
	select {
	case c.actions <- act:
		<-done
	case <-r.Context().Done():
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // The client may be gone.
}

// scenarioResult is a line of run.mjs.
type scenarioResult struct {
	Name       string  `json:"name"`
	OK         bool    `json:"ok"`
	Error      string  `json:"error"`
	Screenshot string  `json:"screenshot"`
	Skipped    string  `json:"skipped"`
	MS         float64 `json:"ms"`
	Done       bool    `json:"done"` // the last line
}

// run runs run.mjs until its end and reports each result.
func (c *console) run(report func(scenarioResult), env ...string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), fileLimit)
	failures, err := filepath.Abs("../../data/test/console")
	if err != nil {
		c.Fatal(err)
	}
	screenshots := os.Getenv("SCREENSHOTS")
	if screenshots != "" && !filepath.IsAbs(screenshots) { // It is relative to the folder of the Makefile.
		screenshots = filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(failures))), screenshots)
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Join(consoleDir, "run.mjs"))
	// The browser's profile and its caches are below the temporary folder.
	cmd.Env = append(os.Environ(), "CONTROL="+c.control.URL, "FAILURES="+failures, "SCREENSHOTS="+screenshots, "TMPDIR="+c.TempDir())
	if os.Getenv("HEADFUL") == "" {
		cmd.Env = append(cmd.Env, "HOME="+c.TempDir()) // A browser with a window needs the person's own, for the display.
	}
	cmd.Env = append(cmd.Env, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// On SIGTERM, playwright ends the browser.
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(syscall.SIGTERM) }, 10*time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		c.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	lines, ended := make(chan scenarioResult), make(chan struct{})
	var exit error // after ended
	go func() {
		defer close(lines)
		defer close(ended)
		s := bufio.NewScanner(stdout)
		s.Buffer(nil, 1<<20) // An error can be long.
		for s.Scan() {
			var r scenarioResult
			if err := json.Unmarshal(s.Bytes(), &r); err != nil {
				r = scenarioResult{Name: "output", Error: fmt.Sprintf("%v in %q", err, s.Text())}
			}
			select {
			case lines <- r:
			case <-ctx.Done():
			}
		}
		_, _ = io.Copy(io.Discard, stdout) // after a line that is too long
		exit = cmd.Wait()
	}()
	c.Cleanup(func() {
		cancel()
		<-ended
	})

	complete := false
	for lines != nil {
		select {
		case act := <-c.actions:
			act()
		case r, ok := <-lines:
			switch {
			case !ok:
				lines = nil
			case r.Done:
				complete = true
			default:
				report(r)
			}
		}
	}
	<-ended
	if stderr.Len() > 0 { // also what a scenario prints by console.error
		c.Logf("run.mjs printed:\n%s", stderr.Bytes())
	}
	if exit != nil || !complete {
		c.Errorf("run.mjs ended early: %v, %v", exit, context.Cause(ctx))
	}
}

// report turns the result into a subtest.
func (r scenarioResult) report(t *testing.T) {
	t.Run(r.Name, func(t *testing.T) {
		switch {
		case r.Skipped != "":
			t.Skip(r.Skipped)
		case !r.OK:
			t.Errorf("%s\nafter %.1f s; screenshot: %s", r.Error, r.MS/1000, cmp.Or(r.Screenshot, "none"))
		default:
			t.Logf("%.1f s", r.MS/1000)
		}
	})
}

// selected returns the part of `-run` that selects scenarios: the third of TestConsole/FILE/SCENARIO.
func selected() string {
	if f := flag.Lookup("test.run"); f != nil {
		if parts := strings.SplitN(f.Value.String(), "/", 3); len(parts) == 3 {
			return strings.ReplaceAll(parts[2], " ", "_") // as the testing package does
		}
	}
	return ""
}
