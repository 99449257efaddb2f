package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imagebatch/imagebatch/client"
)

// shell runs the command line in a folder, against a gateway.
type shell struct {
	t       *testing.T
	program string
	dir     string
	env     []string
}

func newShell(t *testing.T, url string) *shell {
	t.Helper()
	program, err := commandLine()
	if err != nil {
		t.Fatal(err)
	}
	return &shell{t, program, t.TempDir(), []string{"IMAGEBATCH_URL=" + url, "PATH=/nowhere"}}
}

// prepare returns a command that has not started.
func (s *shell) prepare(stdin string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	s.t.Helper()
	cmd = exec.CommandContext(s.t.Context(), s.program, args...) //nolint:gosec // The binary is ours.
	cmd.Env, cmd.Dir, cmd.Stdin = s.env, s.dir, strings.NewReader(stdin)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// run runs a command and returns its output and its exit code.
func (s *shell) run(stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd, out, errOut := s.prepare(stdin, args...)
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		s.t.Fatal(err)
	}
	if strings.Contains(errOut.String(), "DATA RACE") || strings.Contains(errOut.String(), "panic:") {
		s.t.Errorf("imagebatch %q: %s", args, errOut)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// expect runs a command and fails if its exit code or its output differ. It returns the standard
// output.
func (s *shell) expect(code int, text string, args ...string) string {
	s.t.Helper()
	stdout, stderr, got := s.run("", args...)
	if got != code || !strings.Contains(stdout+stderr, text) {
		s.t.Errorf("imagebatch %s exits with %d and prints\n%s%s\nwant %d and %q", strings.Join(args, " "), got, stdout, stderr, code, text)
	}
	return stdout
}

func (s *shell) write(name string, data []byte) {
	s.t.Helper()
	writeFile(s.t, filepath.Join(s.dir, filepath.FromSlash(name)), data)
}

// sentImages returns the number of jobs and of their images.
func sentImages(t *testing.T, s *system) (jobs, images int) {
	t.Helper()
	for j, err := range newClient(t, s).List(t.Context(), client.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		jobs++
		images += j.Total
	}
	return jobs, images
}

// TestCommandLineSend sends a folder with more images than a job can have. It verifies the results,
// that other files are counted, that a later run replaces only files of ours, and what --resume
// leaves out.
func TestCommandLineSend(t *testing.T) {
	t.Parallel()
	g := forms["standalone"](t, "MAX_BATCH_IMAGES=10", "MAX_IMAGE_BYTES=100000")
	s := newShell(t, g.url(""))
	originals := map[string][]byte{}
	for i := range 95 {
		name := fmt.Sprintf("photos/%d/ä %d.png", i%3, i)
		originals[name] = numberedPNG(t, i)
		s.write(name, originals[name])
	}
	s.write("photos/notes.txt", []byte("no image"))
	s.write("photos/.hidden.png", numberedPNG(t, 1000))
	s.write("photos/@eaDir/x.png", numberedPNG(t, 1001))
	s.expect(0, "Would send 95 images", "send", "-r", "photos", "--dry-run")
	s.expect(0, "in 10 jobs", "send", "-r", "photos", "--dry-run")
	s.expect(2, "photos is a folder; use -r", "send", "photos")
	if jobs, _ := sentImages(t, g); jobs != 0 {
		t.Errorf("--dry-run created %d jobs", jobs)
	}

	s.expect(0, "95 images: 95 completed, 1 skipped, not an image", "send", "-r", "photos", "--out", "photos/out")
	if jobs, images := sentImages(t, g); jobs != 10 || images != 95 {
		t.Errorf("%d jobs with %d images, want 10 with 95", jobs, images)
	}
	check := func() {
		t.Helper()
		results := filesIn(t, filepath.Join(s.dir, "photos", "out"))
		for name, original := range originals {
			checkNumberedPNG(t, name, results[name], original)
		}
		if len(results) != len(originals)+2 { // and the journal and its lock
			t.Errorf("%d files of %d images", len(results), len(originals))
		}
	}
	check()

	s.expect(0, "0 completed, 95 completed by an earlier run", "send", "-r", "photos", "--out", "photos/out", "--resume")
	if jobs, _ := sentImages(t, g); jobs != 10 {
		t.Errorf("--resume sent images again: %d jobs", jobs)
	}
	lost, changed, foreign := "photos/0/ä 0.png", "photos/1/ä 1.png", filepath.Join(s.dir, "photos/out/photos/2/ä 2.png")
	if err := os.Remove(filepath.Join(s.dir, "photos/out", lost)); err != nil {
		t.Fatal(err)
	}
	originals[changed] = numberedPNG(t, 2000)
	s.write(changed, originals[changed])
	s.expect(0, "2 completed, 93 completed by an earlier run", "send", "-r", "photos", "--out", "photos/out", "--resume")
	check()

	// A file of someone else is never replaced, and nothing is sent.
	if err := os.WriteFile(foreign, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	jobs, _ := sentImages(t, g)
	s.expect(6, "use --force to replace", "send", "-r", "photos", "--out", "photos/out")
	if now, _ := sentImages(t, g); now != jobs || string(readFile(t, foreign)) != "mine" {
		t.Errorf("%d jobs, then %d; the file is %q", jobs, now, readFile(t, foreign))
	}
	s.expect(0, "95 completed", "send", "-r", "photos", "--out", "photos/out", "--force")
	check()

	// Images that are too large are not sent.
	s.write("big.png", append(numberedPNG(t, 1), make([]byte, 100_000)...))
	s.expect(1, "too large", "send", "big.png", "photos/0/ä 0.png")
	// Two files would have one result.
	s.write("other/ä 0.png", numberedPNG(t, 1))
	s.expect(2, "have the same name", "send", "photos/0/ä 0.png", "other/ä 0.png", "--out", "out")
}

// TestCommandLineKilled kills send again and again. It verifies that --resume continues, that each
// image is sent once and saved, and that no unfinished file is left.
func TestCommandLineKilled(t *testing.T) {
	t.Parallel()
	g := forms["standalone"](t, "MAX_BATCH_IMAGES=10")
	proxy := newLosingProxy(t, g.url(""))
	s := newShell(t, proxy.URL)
	originals := map[string][]byte{}
	const files = 60
	for i := range files {
		name := fmt.Sprintf("in/%d/%d.png", i%7, i)
		originals[name] = numberedPNG(t, i)
		s.write(name, originals[name])
	}
	out := filepath.Join(s.dir, "out")
	first := []string{"send", "-r", "in", "--out", "out", "--parallel", "1"}
	args := first
	proxy.arm()
	for _, limit := range []int{0, 15, 40} { // the first kill is after a job was created, before the command knows it
		cmd, stdout, stderr := s.prepare("", args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitOften(t, func() (bool, string) {
			n := len(filesIn(t, filepath.Join(out, "in")))
			return limit > 0 && n >= limit || proxy.holds(), fmt.Sprint(n)
		})
		_ = cmd.Process.Kill() // Wait reports whether it was still running.
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("the command ended by itself: %v\n%s%s", err, stdout, stderr)
		}
		proxy.lose()
		args = append(first, "--resume")
	}
	s.expect(0, "60 images", args...)
	if jobs, images := sentImages(t, g); jobs != 6 || images != files {
		t.Errorf("%d jobs with %d images, want 6 with %d", jobs, images, files)
	}
	results := filesIn(t, out)
	for name, original := range originals {
		checkNumberedPNG(t, name, results[name], original)
	}
	if len(results) != files+2 { // and the journal and its lock
		t.Errorf("%d files of %d images: a killed run has left some", len(results), files)
	}
}

// TestCommandLineInterrupted interrupts send, and runs the command that it prints.
func TestCommandLineInterrupted(t *testing.T) {
	t.Parallel()
	g := forms["standalone"](t)
	site, blocked, open := gatedOrigin(t)
	s := newShell(t, g.url(""))
	s.write("the urls", []byte("\xEF\xBB\xBF# a comment\n\n"+site+"/photo1.jpg\r\n"+site+"/slow1.jpg\n"))
	interrupt := func(signal os.Signal, args ...string) (stderr string, code int) {
		t.Helper()
		cmd, _, errOut := s.prepare("", args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := blocked()
		await(t, func() (bool, string) { return blocked() > before, "the image is not requested" })
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // The exit code says more.
		return errOut.String(), cmd.ProcessState.ExitCode()
	}
	stderr, code := interrupt(syscall.SIGTERM, "send", "--url-file", "the urls")
	watch := regexp.MustCompile(`imagebatch (watch [0-9a-f-]{36})\n`).FindStringSubmatch(stderr)
	if code != 143 || watch == nil {
		t.Fatalf("SIGTERM: %d\n%s\nwant 143 and how to follow the job", code, stderr)
	}
	stderr, code = interrupt(syscall.SIGINT, "send", "--url-file", "the urls", "--out", "out")
	resume := regexp.MustCompile(`Continue with: imagebatch (.*)\n`).FindStringSubmatch(stderr)
	if code != 130 || resume == nil {
		t.Fatalf("SIGINT: %d\n%s\nwant 130 and how to continue", code, stderr)
	}
	open()
	jobs, _ := sentImages(t, g)
	for _, line := range []string{watch[1], resume[1]} {
		sh := exec.CommandContext(t.Context(), "/bin/sh", "-ec", "'"+s.program+"' "+line) //nolint:gosec // The command is ours.
		sh.Env, sh.Dir = s.env, s.dir
		if text, err := sh.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, text)
		}
	}
	if now, _ := sentImages(t, g); now != jobs {
		t.Errorf("--resume sent a batch again: %d jobs, then %d", jobs, now)
	}
	if results := filesIn(t, filepath.Join(s.dir, "out")); !bytes.HasPrefix(results["photo1.jpg"], []byte("\xff\xd8")) || !bytes.HasPrefix(results["slow1.jpg"], []byte("\xff\xd8")) {
		t.Errorf("%d results, want photo1.jpg and slow1.jpg", len(results))
	}
}

// TestCommandLineExitCodes verifies the exit codes, with API keys.
func TestCommandLineExitCodes(t *testing.T) {
	t.Parallel()
	programs, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	key := execute(t, "", filepath.Join(programs, "standalone"), "api-keys", "new", "anna")
	_, line, _ := strings.Cut(key, "line: ")
	keys := filepath.Join(t.TempDir(), "keys")
	writeFile(t, keys, []byte(line))
	g := startFrom(t, programs, "standalone", "DATA_DIR="+t.TempDir(), "API_KEYS_FILE="+keys, "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8")
	site, blocked, open := gatedOrigin(t)

	s := newShell(t, g.url(""))
	await(t, func() (bool, string) {
		resp, err := http.Get(g.url("/healthz"))
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
	s.write("good.png", numberedPNG(t, 1))
	s.write("bad.jpg", []byte("bad"))
	s.write("key", []byte(regexp.MustCompile(`ib_[\w-]{43}`).FindString(key)+"\n"))
	s.write("slow", []byte(site+"/slow1.jpg"))
	s.expect(5, "API key required", "list")
	s.env = append(s.env, "IMAGEBATCH_API_KEY=ib_wrong")
	s.expect(5, "API key unknown", "send", "good.png")
	s.env[len(s.env)-1] = "IMAGEBATCH_API_KEY_FILE=" + filepath.Join(s.dir, "key")
	s.expect(0, "1 image: 1 completed", "send", "good.png")
	s.expect(1, "bad.jpg: Not an image", "send", "good.png", "bad.jpg")
	s.expect(4, "bad.jpg: Not an image", "send", "bad.jpg")
	for _, args := range [][]string{
		{},
		{"send"},
		{"nothing"},
		{"list", "more"},
		{"send", "good.png", "--zipp", "x"},
		{"send", "good.png", "--parallel", "0"},
		{"send", "good.png", "--no-wait", "--out", "x"},
		{"send", "good.png", "--resume"},
		{"send", "-", "-"},
		{"list", "--since", "soon"},
		{"list", "--status", "done"},
		{"get"},
		{"similar", "x", "--distance", "17"},
		{"send", "good.png", "--include", "all"},
		{"send", "good.png", "--metadata", "x"},
		{"list", "--url", "localhost"},
		{"status", "00000000-0000-4000-8000-000000000000"},
		{"send", "--url-file", "bad.jpg"},
	} {
		if len(args) == 0 {
			continue
		}
		if stdout, stderr, code := s.run("", args...); code != 2 || stderr == "" || stdout != "" {
			t.Errorf("imagebatch %q exits with %d and prints %q, %q; want 2", args, code, stdout, stderr)
		}
	}
	s.expect(3, "connection refused", "list", "--url", "http://127.0.0.1:1")
	s.expect(6, "no such file", "send", "good.png", "missing.png")
	s.expect(6, "no such file", "send", "good.png", "--out", "new", "--resume")

	id := strings.TrimSpace(s.expect(0, "", "send", "--no-wait", "--url-file", "slow"))
	await(t, func() (bool, string) { return blocked() == 1, "the image is not requested" })
	s.expect(0, id+"  processing", "status", id)
	s.expect(2, "has not ended", "get", id)
	s.expect(0, id+"  cancelled", "cancel", id)
	s.expect(2, "already ended", "cancel", id)
	s.expect(4, "slow1.jpg: Cancelled", "status", id)
	s.expect(4, "slow1.jpg: Cancelled", "watch", id)
	open()
	s.expect(0, "repeats the failed images of "+id, "retry", id)
	retried := strings.TrimSpace(s.expect(0, "", "retry", "--no-wait", id))
	s.expect(0, retried, "list", "--retry-of", id)
	s.expect(2, "Job not found", "watch", retried, "00000000-0000-4000-8000-000000000000")
}

// TestCommandLineGet verifies that results are saved only below the folder, whatever the custom
// IDs are, and what --json prints.
func TestCommandLineGet(t *testing.T) {
	t.Parallel()
	g := forms["standalone"](t)
	s := newShell(t, g.url(""))
	ids := []string{"../../evil.png", "/evil.png", `..\evil.png`, "a/../../evil.png", "link/evil.png", "con.png", "sub/good.png", "", ".ssh/evil.png", "x\x1b[2J.png"}
	var images []client.Image
	for i, id := range ids {
		img := client.Bytes(fmt.Sprintf("name%d.png", i), numberedPNG(t, i))
		img.CustomID = id
		images = append(images, img)
	}
	job, err := newClient(t, g).Create(t.Context(), images)
	if err != nil {
		t.Fatal(err)
	}
	s.expect(0, job.ID+"  completed", "watch", job.ID)
	if err := errors.Join(os.MkdirAll(filepath.Join(s.dir, "a/b/out"), 0o700), os.Mkdir(filepath.Join(s.dir, "elsewhere"), 0o700),
		os.Symlink(filepath.Join(s.dir, "elsewhere"), filepath.Join(s.dir, "a/b/out/link"))); err != nil {
		t.Fatal(err)
	}
	s.expect(6, "escapes", "get", job.ID, "--out", "a/b/out") // the symbolic link
	if err := os.Remove(filepath.Join(s.dir, "a/b/out/link")); err != nil {
		t.Fatal(err)
	}
	s.expect(0, "", "get", job.ID, "--out", "a/b/out", "--include", "file,metadata,xmp,thumbnail")
	var want, got []string
	for i := range ids {
		name := fmt.Sprintf("a/b/out/name%d.png", i)
		switch i {
		case 4:
			name = "a/b/out/link/evil.png"
		case 6:
			name = "a/b/out/sub/good.png"
		}
		want = append(want, name, name+".json", name+".thumb.jpg")
	}
	for name := range filesIn(t, s.dir) {
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("files\n%q\nwant\n%q", got, want)
	}
	s.write("a/b/out/sub/good.png", []byte("mine"))
	s.expect(6, "use --force", "get", job.ID, "--out", "a/b/out")
	s.expect(0, "", "get", job.ID, "--out", "a/b/out", "--force")

	types := map[string]int{}
	for _, args := range [][]string{{"get", job.ID}, {"status", job.ID}, {"watch", job.ID}, {"list"}, {"get", job.ID, "--out", "again"}, {"version"}} {
		for line := range strings.Lines(s.expect(0, "", append(args, "--json")...)) {
			var object struct{ Type string }
			if err := json.Unmarshal([]byte(line), &object); err != nil || object.Type == "" {
				t.Errorf("imagebatch %q prints %q: %v", args, line, err)
			}
			types[object.Type]++
		}
	}
	if want := fmt.Sprint(map[string]int{"result": 10, "job": 3, "image": 20, "version": 1}); fmt.Sprint(types) != want {
		t.Errorf("lines %v, want %v", types, want)
	}
}

// TestCommandLineZip verifies that the results of several jobs come into one archive, with
// standard input, and that the archive appears only when it is complete.
func TestCommandLineZip(t *testing.T) {
	t.Parallel()
	g := forms["standalone"](t, "MAX_BATCH_IMAGES=2")
	s := newShell(t, g.url(""))
	for i := range 5 {
		s.write(fmt.Sprintf("p/%d.png", i), numberedPNG(t, i))
	}
	s.write("bad.png", []byte("bad"))
	stdout, stderr, code := s.run(string(numberedPNG(t, 9)), "send", "-r", "p", "-", "bad.png", "p/0.png", "--zip", "r.zip")
	if code != 1 && code != 4 || !strings.Contains(stdout, "8 images: 7 completed, 1 failed") {
		t.Fatalf("%d\n%s%s", code, stdout, stderr)
	}
	r, err := zip.OpenReader(filepath.Join(s.dir, "r.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var names []string
	for _, f := range r.File {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	want := []string{"0.png", "0.png.json", "manifest.jsonl", "p/0.png", "p/0.png.json", "p/1.png", "p/1.png.json", "p/2.png", "p/2.png.json", "p/3.png", "p/3.png.json", "p/4.png", "p/4.png.json", "stdin.png", "stdin.png.json"}
	if !slices.Equal(names, want) {
		t.Errorf("entries %q, want %q", names, want)
	}
	manifest, err := r.Open("manifest.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer manifest.Close()
	lines, jobs := 0, map[string]bool{}
	for dec := json.NewDecoder(manifest); dec.More(); lines++ {
		var line struct {
			JobID string            `json:"job_id"`
			Files map[string]string `json:"files"`
		}
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		jobs[line.JobID] = true
		for _, name := range line.Files {
			if !slices.Contains(names, name) {
				t.Errorf("the manifest names %q", name)
			}
		}
	}
	if lines != 8 || len(jobs) != 4 {
		t.Errorf("the manifest has %d lines of %d jobs, want 8 of 4", lines, len(jobs))
	}
	s.expect(6, "r.zip exists", "send", "p/0.png", "--zip", "r.zip")
	for name := range filesIn(t, s.dir) {
		if strings.Contains(name, ".tmp") {
			t.Errorf("%s was left", name)
		}
	}
}
