package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// builds is the folder in which the tests build programs. TestMain creates and deletes it.
var builds string

// binaries builds the programs once.
var binaries = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(builds, "current")
	return dir, build(dir, base+"deployments/standalone", base+"gateway/cmd/gateway", base+"analyzer/cmd/analyzer", base+"processor/cmd/processor")
})

// build builds programs into the folder with the race detector; `go test -race` has already compiled these packages.
func build(dir string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-race", "-ldflags=-w", "-o", dir + "/"}, args...)...) //nolint:gosec,noctx // The programs are ours, and the build serves later tests as well.
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %q: %w\n%s", args, err, out)
	}
	return nil
}

func TestMain(m *testing.M) {
	port.Store(rand.Uint32N(ports))
	code := 1
	var err error
	if builds, err = os.MkdirTemp("", "imagebatch-standalone-"); err == nil {
		code = m.Run()
		err = errors.Join(deleteVhosts(), os.RemoveAll(builds))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// process is a running program.
type process struct {
	t    *testing.T
	name string
	env  []string
	addr string
	key  string // API key for /readyz; empty: it needs none
	cmd  *exec.Cmd
	done chan error

	mu  sync.Mutex
	log bytes.Buffer // guarded by mu
}

// launch starts a program on an address of its own and waits until it is ready. It is killed
// at the end of the test, which fails if the log reports a data race.
func launch(t *testing.T, name string, env ...string) *process {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return launchFrom(t, dir, name, env...)
}

// launchFrom is like launch, for a program in the given folder.
func launchFrom(t *testing.T, dir, name string, env ...string) *process {
	t.Helper()
	p := startFrom(t, dir, name, env...)
	p.awaitReady()
	return p
}

// startFrom is like launchFrom, without waiting until the program is ready.
func startFrom(t *testing.T, dir, name string, env ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Join(dir, name), env: env, addr: freeAddr(t)}
	p.startChecked()
	return p
}

// startChecked starts the process, kills it at the end of the test, and then checks its log.
func (p *process) startChecked() {
	t := p.t
	t.Helper()
	t.Cleanup(func() {
		_ = p.end(syscall.SIGKILL) // The error reports the kill.
		p.mu.Lock()
		defer p.mu.Unlock()
		if bytes.Contains(p.log.Bytes(), []byte("DATA RACE")) || bytes.Contains(p.log.Bytes(), []byte("panic:")) || t.Failed() {
			t.Errorf("log of %s:\n%s", filepath.Base(p.name), p.log.Bytes())
		}
	})
	p.start()
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.name) //nolint:gosec,noctx // The binary is ours, and end stops it.
	p.cmd.Env = append([]string{"HTTP_ADDR=" + p.addr, "HOME=" + p.t.TempDir(), "LOG_LEVEL=debug", "PATH=/nowhere"}, p.env...)
	p.cmd.Stderr = p
	p.cmd.Stdout = p
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan error, 1)
	go func() { p.done <- p.cmd.Wait() }()
}

// Write collects the log.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(text)
}

// end sends the signal and waits until the process has ended.
func (p *process) end(s os.Signal) error {
	if p.done == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(s) // It may have ended already.
	select {
	case err := <-p.done:
		p.done = nil
		return err
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		p.done = nil
		p.t.Errorf("%s did not end within 30 s of signal %s", p.name, s)
		return nil
	}
}

func (p *process) awaitReady() {
	p.t.Helper()
	p.awaitReadyz(http.StatusOK, "")
}

// awaitReadyz waits until /readyz responds with the status and a text that contains the given one.
func (p *process) awaitReadyz(status int, text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	last := ""
	await(p.t, func() (bool, string) {
		select {
		case err := <-p.done:
			p.done = nil
			p.t.Fatalf("%s ended: %v", p.name, err)
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url("/readyz"), nil)
		if err != nil {
			p.t.Fatal(err)
		}
		if p.key != "" {
			req.Header.Set("Authorization", "Bearer "+p.key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, last
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		last = string(body)
		return resp.StatusCode == status && strings.Contains(last, text), last
	})
}

func (p *process) url(path string) string { return "http://" + p.addr + path }

// await polls until done returns true. It fails if the returned state does not change for 90 seconds, so that a slow
// machine may take longer in total. It pauses for longer after each poll, because polls take processor time from what they wait for.
func await(t *testing.T, done func() (bool, string)) {
	t.Helper()
	const maxWait, maxPause = 90 * time.Second, 250 * time.Millisecond
	limit := time.NewTimer(maxWait)
	defer limit.Stop()
	for last, pause := "", 10*time.Millisecond; ; pause = min(pause*5/4, maxPause) {
		ok, state := done()
		if ok {
			return
		}
		if state != last {
			limit.Reset(maxWait)
			last = state
		}
		select {
		case <-time.After(pause):
		case <-limit.C:
			t.Fatalf("no change for %s, the state is still: %s", maxWait, state)
		}
	}
}

// The ports of the programs are below the range of outgoing connections and below the ports of servers.sh, so the port
// of a program that restarts stays free.
const (
	firstPort = 10_000
	ports     = 10_000
)

var port atomic.Uint32 // last port that was used

func freeAddr(t *testing.T) string {
	t.Helper()
	for range ports {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+port.Add(1)%ports)
		if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr); err == nil {
			_ = l.Close() // It has accepted no connection.
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// system is Imagebatch in one of its forms.
type system struct {
	*process // the process with the API: the gateway or the standalone
	parts    []*process
}

// forms start the system: as one process with an in-process broker, or as three processes
// with real servers.
var forms = map[string]func(t *testing.T, env ...string) *system{
	"standalone": func(t *testing.T, env ...string) *system {
		p := launch(t, "standalone", append([]string{"DATA_DIR=" + t.TempDir(), "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8"}, env...)...)
		return &system{p, []*process{p}}
	},
	"services": func(t *testing.T, env ...string) *system {
		env = append(serverEnv(t, lentVhost(t)), env...)
		gateway := launch(t, "gateway", env...)
		return &system{gateway, []*process{gateway, launch(t, "analyzer", env...), launch(t, "processor", env...)}}
	},
}

// serverEnv returns the environment for the broker and the other real servers, with key prefixes for this test.
func serverEnv(t *testing.T, broker string) []string {
	t.Helper()
	if os.Getenv("TEST_S3_ENDPOINT") == "" {
		t.Skip("TEST_S3_ENDPOINT is not set")
	}
	prefix := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", " ", "-").Replace(t.Name())) + "/"
	return []string{
		"RABBITMQ_URL=" + broker, "S3_ENDPOINT=" + os.Getenv("TEST_S3_ENDPOINT"),
		"S3_ACCESS_KEY=" + os.Getenv("TEST_S3_ACCESS_KEY"), "S3_SECRET_KEY=" + os.Getenv("TEST_S3_SECRET_KEY"),
		"S3_CREATE_BUCKETS=true", "S3_PREFIX_ORIGINAL=" + prefix, "S3_PREFIX_PROCESSED=" + prefix,
		"DATA_DIR=" + t.TempDir(), "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8",
	}
}

// eachForm runs the test with both forms, in parallel with other tests.
func eachForm(t *testing.T, test func(t *testing.T, start func(t *testing.T, env ...string) *system)) {
	t.Parallel()
	for _, name := range []string{"standalone", "services"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, forms[name])
		})
	}
}

// call sends a request to the API and decodes the response into out, unless out is nil.
func (s *system) call(t *testing.T, method, path string, body io.Reader, out any) (int, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url(path), body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = data
	} else if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			t.Fatalf("%s %s: %v in %.2000s", method, path, err, data)
		}
	}
	return resp.StatusCode, resp.Header
}

// jobResponse is a job as the API returns it.
type jobResponse struct {
	JobID       string          `json:"job_id"`
	Status      string          `json:"status"`
	TotalImages int             `json:"total_images"`
	Completed   int             `json:"completed"`
	Failed      int             `json:"failed"`
	Progress    float64         `json:"progress"`
	Images      []imageResponse `json:"images"`
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
	CompletedAt time.Time       `json:"completed_at"`
	Message     string          `json:"message"`
	RetryOf     string          `json:"retry_of"`
}

type imageResponse struct {
	Index            int       `json:"index"`
	OriginalFilename string    `json:"original_filename"`
	Status           string    `json:"status"`
	TraceID          string    `json:"trace_id"`
	ProcessedPath    string    `json:"processed_path"`
	Error            string    `json:"error"`
	ErrorCode        string    `json:"error_code"`
	StartTime        time.Time `json:"start_time"`
	EndTime          time.Time `json:"end_time"`
}

// submit posts a batch and returns the ID of its job.
func (s *system) submit(t *testing.T, images ...map[string]string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"images": images})
	if err != nil {
		t.Fatal(err)
	}
	var created jobResponse
	status, header := s.call(t, http.MethodPost, "/api/v1/batch", bytes.NewReader(body), &created)
	if status != http.StatusCreated || created.Status != "pending" || header.Get("Location") != "/api/v1/batch/"+created.JobID {
		t.Fatalf("POST: %d %+v, Location %q", status, created, header.Get("Location"))
	}
	return created.JobID
}

// ended polls the job until it has ended and checks the invariants on every poll.
func (s *system) ended(t *testing.T, id string) jobResponse {
	t.Helper()
	var last jobResponse
	await(t, func() (bool, string) {
		var now jobResponse
		if status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, &now); status != http.StatusOK {
			t.Fatalf("GET %s: %d", id, status)
		}
		invariants(t, last, now)
		last = now
		return now.Status == "completed" || now.Status == "failed", fmt.Sprintf("%+v", now)
	})
	return last
}

// invariants checks conditions that are true for every response, and for every two
// consecutive ones.
func invariants(t *testing.T, before, now jobResponse) {
	t.Helper()
	count := map[string]int{}
	for i, img := range now.Images {
		count[img.Status]++
		if img.Index != i {
			t.Errorf("image %d is at position %d", img.Index, i)
		}
		if i < len(before.Images) {
			b := before.Images[i]
			if rank(img.Status) < rank(b.Status) || rank(b.Status) == 2 && img != b {
				t.Errorf("image changed from %+v to %+v", b, img)
			}
		}
		if (img.Status == "completed") != (img.ProcessedPath != "") || (img.Status == "failed") != (img.Error != "") {
			t.Errorf("image contradicts itself: %+v", img)
		}
		if rank(img.Status) == 2 && (img.StartTime.IsZero() || img.EndTime.Before(img.StartTime)) {
			t.Errorf("times of an ended image: %+v", img)
		}
	}
	if len(now.Images) != now.TotalImages || count["completed"] != now.Completed || count["failed"] != now.Failed {
		t.Errorf("counters contradict the images: %+v", now)
	}
	if now.Completed < before.Completed || now.Failed < before.Failed || now.Progress < before.Progress || rank(now.Status) < rank(before.Status) {
		t.Errorf("job went back from %+v to %+v", before, now)
	}
	if over := now.Completed+now.Failed == now.TotalImages; over != (rank(now.Status) == 2) || over == now.CompletedAt.IsZero() {
		t.Errorf("job contradicts itself: %+v", now)
	}
}

func rank(status string) int {
	switch status {
	case "", "pending":
		return 0
	case "processing":
		return 1
	}
	return 2
}
