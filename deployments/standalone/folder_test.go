package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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

// commandLine builds the command imagebatch once.
var commandLine = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(builds, "client")
	return filepath.Join(dir, "imagebatch"), build(dir, base+"client/cmd/imagebatch")
})

// TestWatchedFolder runs `imagebatch folder`, and kills it and the gateway again and again. It verifies that each file is sent
// once and has its result, that a file that is being written is left alone, and that originals are moved. With PROVE=1,
// it does so with 1,000 files and 20 kills.
func TestWatchedFolder(t *testing.T) {
	t.Parallel()
	files, kills, batch := 60, 6, 4
	if os.Getenv("PROVE") != "" {
		files, kills, batch = 1000, 20, 20
	}
	program, err := commandLine()
	if err != nil {
		t.Fatal(err)
	}
	gateway := forms["standalone"](t, fmt.Sprint("MAX_BATCH_IMAGES=", batch))
	proxy := newLosingProxy(t, gateway.url(""))
	dir := t.TempDir()
	in, out, done := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "done")
	originals := map[string][]byte{}
	for i := range files {
		originals[fmt.Sprintf("%d/%d.png", i%7, i)] = numberedPNG(t, i)
	}
	for name, data := range originals {
		writeFile(t, filepath.Join(in, name), data)
	}
	// It grows every few seconds, so that it is never quiet for a minute.
	const growing = "growing.png"
	whole := numberedPNG(t, files)
	half, grown := whole[:len(whole)/2], time.Time{}
	grow := func() {
		if now := time.Now(); now.Sub(grown) > 5*time.Second {
			half, grown = append(slices.Clip(half), 0), now
			writeFile(t, filepath.Join(in, growing), half)
		}
	}
	grow()

	var output bytes.Buffer
	start := func(flags ...string) (cmd *exec.Cmd) {
		t.Helper()
		cmd = exec.Command(program, append([]string{"folder", in, "--out", out, "--done", done, "--poll", "200ms"}, flags...)...)
		cmd.Env = []string{"IMAGEBATCH_URL=" + proxy.URL, "PATH=/nowhere"}
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	cmd := start()
	kill := func() {
		t.Helper()
		_ = cmd.Process.Kill() // Wait reports whether it was still running.
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("the command ended by itself: %v\n%s", err, output.Bytes())
		}
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // It may have ended.
		_ = cmd.Wait()
		if t.Failed() || bytes.Contains(output.Bytes(), []byte("DATA RACE")) {
			t.Errorf("output of imagebatch folder:\n%s", output.Bytes())
		}
	})
	unknown, between := 0, 0 // kills after the gateway had created a job that the command did not know yet, and other ones
	for n := range kills {
		// The kills are spread over the work. Those with an even number wait for such a job.
		limit, step := files*(n+1)/(kills+1), files/(kills+1)
		created := false
		await(t, func() (bool, string) {
			grow()
			results := len(filesIn(t, out))
			if n%2 == 0 && results >= limit-step {
				proxy.arm()
			}
			created = proxy.holds()
			return created || results >= limit, fmt.Sprint(results, " results")
		})
		if created {
			unknown++
		} else {
			between++
		}
		switch n % 3 {
		case 0:
			kill()
			cmd = start()
		case 1:
			_ = gateway.end(syscall.SIGKILL) // The error reports the kill.
			gateway.start()
			gateway.awaitReady()
		default:
			kill()
			_ = gateway.end(syscall.SIGKILL) // The error reports the kill.
			cmd = start()
			gateway.start()
			gateway.awaitReady()
		}
		proxy.lose()
	}
	if unknown == 0 {
		t.Error("no kill came between the creation of a job and its response")
	}
	await(t, func() (bool, string) {
		grow()
		left := len(filesIn(t, in))
		return left == 1, fmt.Sprint(left, " files in IN")
	})
	if _, err := os.Stat(filepath.Join(out, growing)); err == nil {
		t.Error("a file that was being written has a result")
	}
	originals[growing] = whole
	writeFile(t, filepath.Join(in, growing), whole)
	await(t, func() (bool, string) {
		left := len(filesIn(t, in))
		return left == 0, fmt.Sprint(left, " files in IN")
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 143 {
		t.Errorf("after SIGTERM: %v, want exit code 143", err)
	}
	// The same files come again, one under another name.
	again := slices.Sorted(maps.Keys(originals))[:3]
	for _, name := range again[:2] {
		writeFile(t, filepath.Join(in, name), originals[name])
	}
	writeFile(t, filepath.Join(in, "renamed.png"), originals[again[2]])
	cmd = start("--once")
	if err := cmd.Wait(); err != nil {
		t.Errorf("--once: %v", err)
	}

	results := filesIn(t, out)
	for name, data := range originals {
		checkNumberedPNG(t, name, results[name], data)
		delete(results, name)
	}
	checkNumberedPNG(t, "renamed.png", results["renamed.png"], originals[again[2]])
	delete(results, "renamed.png")
	delete(results, ".imagebatch.jsonl")
	delete(results, ".imagebatch.jsonl.lock")
	if len(results) > 0 {
		t.Errorf("further files in OUT: %q", slices.Sorted(maps.Keys(results)))
	}
	originals["renamed.png"] = originals[again[2]]
	if moved := filesIn(t, done); !maps.EqualFunc(moved, originals, bytes.Equal) {
		t.Errorf("%d originals in DONE, want the %d files as they were", len(moved), len(originals))
	}

	var list struct {
		Jobs []struct {
			Images []struct {
				CustomID string `json:"custom_id"`
				Status   string `json:"status"`
			} `json:"images"`
		} `json:"jobs"`
	}
	if status, _ := gateway.call(t, http.MethodGet, "/api/v1/batch", nil, &list); status != http.StatusOK {
		t.Fatalf("list: %d", status)
	}
	sent := map[string]int{}
	for _, job := range list.Jobs {
		for _, img := range job.Images {
			sent[img.CustomID]++
			if img.Status != "completed" {
				t.Errorf("%s is %s", img.CustomID, img.Status)
			}
		}
	}
	delete(originals, "renamed.png")
	for name := range originals {
		if sent[name] != 1 {
			t.Errorf("%s was sent %d times", name, sent[name])
		}
		delete(sent, name)
	}
	if len(sent) > 0 {
		t.Errorf("sent, but never in IN: %v", sent)
	}
	t.Logf("%d files in %d jobs, %d kills before the command knew the job that was created, and %d at other times", files+1, len(list.Jobs), unknown, between)
}

// awaitOften is like await, but looks so often that it sees a state that is soon over.
func awaitOften(t *testing.T, done func() (bool, string)) {
	t.Helper()
	await(t, func() (bool, string) {
		state := ""
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			var ok bool
			if ok, state = done(); ok {
				return true, state
			}
		}
		return false, state
	})
}

// losingProxy is a proxy that can hold the response to a new batch and then lose it.
type losingProxy struct {
	*httptest.Server

	mu    sync.Mutex // guards the fields below
	armed bool
	held  chan struct{} // closed when the response is lost; nil: it holds none
}

func newLosingProxy(t *testing.T, to string) *losingProxy {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &losingProxy{}
	p.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: p.hold,
		ErrorLog:       log.New(io.Discard, "", 0), // It logs each connection that the kills break.
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(func() {
		p.lose()
		p.Close()
	})
	return p
}

func (p *losingProxy) hold(resp *http.Response) error {
	p.mu.Lock()
	if !p.armed || resp.Request.Method != http.MethodPost || resp.StatusCode != http.StatusCreated {
		p.mu.Unlock()
		return nil
	}
	held := make(chan struct{})
	p.armed, p.held = false, held
	p.mu.Unlock()
	<-held
	return errors.New("the response is lost")
}

// arm lets the proxy hold the next response, unless it holds one.
func (p *losingProxy) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = p.held == nil
}

func (p *losingProxy) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held != nil
}

// lose loses the response that the proxy holds.
func (p *losingProxy) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed = false; p.held != nil {
		close(p.held)
		p.held = nil
	}
}

// filesIn returns the files in a folder by their paths.
func filesIn(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) || err == nil && entry.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name) // it is below dir
		data, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			return nil // it was moved
		}
		files[filepath.ToSlash(rel)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// writeFile writes a file as a program that copies it in one go.
func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// numberedPNG returns a small image whose color is a number.
func numberedPNG(t *testing.T, n int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	for i := range 256 {
		img.Set(i%16, i/16, color.NRGBA{byte(n), byte(n >> 8), byte(i), 255})
	}
	var data bytes.Buffer
	if err := png.Encode(&data, img); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

// checkNumberedPNG verifies that a result is the image with the metadata of ours.
func checkNumberedPNG(t *testing.T, name string, result, original []byte) {
	t.Helper()
	if result == nil {
		t.Errorf("%s has no result", name)
		return
	}
	got, err := png.Decode(bytes.NewReader(result))
	want, wantErr := png.Decode(bytes.NewReader(original))
	if err != nil || wantErr != nil || got.At(3, 3) != want.At(3, 3) || !strings.Contains(string(result), "imagebatch") {
		t.Errorf("result of %s: %v, %v, or another image, or no metadata", name, err, wantErr)
	}
}
