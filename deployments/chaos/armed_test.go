package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs builds the programs with failpoints, once for all tests.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "imagebatch-armed-")
	if err != nil {
		return "", err
	}
	return dir, build(context.Background(), repository, dir, "./deployments/standalone")
})

// armed returns the folder of the programs.
func armed(t *testing.T) string {
	t.Helper()
	dir, err := programs()
	must(t, err)
	built = dir
	return dir
}

const repository = "../.."

var built string // the folder of the programs, which outlives the tests

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(built) // It only uses disk space.
	os.Exit(code)
}

// testServers returns the servers of `make test`, with a vhost of the test's own: no
// service of another test takes its messages.
func testServers(t *testing.T) *servers {
	t.Helper()
	s := &servers{rabbitmqctl: os.Getenv("TEST_RABBITMQCTL")}
	if os.Getenv("TEST_RABBITMQ_URL") == "" || os.Getenv("TEST_S3_ENDPOINT") == "" || s.rabbitmqctl == "" {
		t.Skip("TEST_RABBITMQ_URL, TEST_RABBITMQCTL and TEST_S3_ENDPOINT are not set")
	}
	must(t, s.use(os.Getenv))
	s.vhost = "chaos-" + strings.ToLower(t.Name())
	s.brokers[0] = s.brokers[0].ResolveReference(&url.URL{Path: "/" + s.vhost})
	_, _ = s.ctl(t.Context(), "delete_vhost", s.vhost) // left by a run that was killed
	ctl := func(args ...string) {
		if _, err := s.ctl(t.Context(), args...); err != nil {
			t.Error(err)
		}
	}
	ctl("add_vhost", s.vhost)
	ctl("set_permissions", "--vhost", s.vhost, s.brokers[0].User.Username(), ".*", ".*", ".*")
	t.Cleanup(func() { ctl("delete_vhost", s.vhost) })
	return s
}

// start starts the services of a run, with failpoints, on the servers of the test. The
// run's breaches are the test's errors.
func start(t *testing.T, s *servers, names []string, env ...string) *run {
	t.Helper()
	return startPlan(t, &plan{number: 1, names: names}, s, env...)
}

func startPlan(t *testing.T, p *plan, s *servers, env ...string) *run {
	t.Helper()
	r, err := newRun(t.Context(), p, s, armed(t), t.TempDir(), env...)
	must(t, err)
	t.Cleanup(func() {
		must(t, r.close(t.Context()))
		for _, b := range r.breaches {
			t.Error(b)
		}
		for _, p := range r.services {
			if t.Failed() {
				text, _ := os.ReadFile(p.log)
				t.Logf("log of %s:\n%s", p.name, text[max(0, len(text)-20_000):])
			}
		}
	})
	must(t, r.startAll(t.Context()))
	return r
}

// arm restarts services so that the first that reaches the failpoint dies there, once. The
// returned function waits for that death and for the restart.
func (r *run) arm(t *testing.T, point string, services ...string) (revived func()) {
	t.Helper()
	dead := filepath.Join(t.TempDir(), "dead")
	deaths := func() (n int) {
		for _, name := range services {
			one, _ := r.services[name].ends()
			n += one
		}
		return n
	}
	for _, name := range services {
		// A message without an ack would be delivered again at the start, and the death would come before the batch. One of a
		// process that has just died may not be in flight yet.
		must(t, poll(t.Context(), 20*time.Millisecond, func() bool {
			if r.inFlight(t, name) > 0 {
				return false
			}
			queues, err := r.servers.queues(t.Context())
			must(t, err)
			return len(queues) == 0
		}))
		p := r.services[name]
		p.kill()
		p.env = append(p.env, "FAILPOINT="+point, "FAILPOINT_DETAIL=", "FAILPOINT_ONCE="+dead)
		p.start()
	}
	ready := func(ctx context.Context) {
		for _, name := range services {
			must(t, r.services[name].awaitReady(ctx))
		}
	}
	ready(t.Context())
	before := deaths()
	return func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		must(t, poll(ctx, 50*time.Millisecond, func() bool { return deaths() > before }))
		ready(ctx)
	}
}

// inFlight returns the number of messages in flight in a service.
func (r *run) inFlight(t *testing.T, name string) (n float64) {
	t.Helper()
	all, err := r.metrics(t.Context(), name)
	must(t, err)
	for metric, value := range all {
		if strings.HasPrefix(metric, "imagebatch_stage_in_hand{") {
			n += value
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestShippedBinariesHaveNoFailpoints builds a service as `make build` does and verifies
// that the binary lacks the variable that arms a failpoint. The build with the tag has it.
func TestShippedBinariesHaveNoFailpoints(t *testing.T) {
	shipped := filepath.Join(t.TempDir(), "bin")
	must(t, os.Mkdir(shipped, 0o750))
	cmd := exec.CommandContext(t.Context(), "make", "-n", "build")
	cmd.Dir = repository
	recipe, err := cmd.Output()
	must(t, err)
	if strings.Contains(strings.ReplaceAll(string(recipe), "-tags=grpcnotrace", ""), "tags") {
		t.Errorf("make build sets build tags:\n%s", recipe)
	}
	dockerfile, err := os.ReadFile(filepath.Join(repository, "deployments", "Dockerfile"))
	must(t, err)
	if strings.Contains(strings.ReplaceAll(string(dockerfile), "-tags=grpcnotrace", ""), "tags") {
		t.Error("the Dockerfile sets build tags")
	}
	for dir, want := range map[string]bool{shipped: false, armed(t): true} {
		if dir == shipped {
			cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(dir, "analyzer"), "./cmd/analyzer")
			cmd.Dir = filepath.Join(repository, "analyzer")
			cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		binary, err := os.ReadFile(filepath.Join(dir, "analyzer"))
		must(t, err)
		if got := bytes.Contains(binary, []byte("FAILPOINT")); got != want {
			t.Errorf("%s has failpoints: %t, want %t", dir, got, want)
		}
	}
}

// job polls a job until it has ended.
func (r *run) job(t *testing.T, id string) *jobResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), endTime+fetchTime)
	defer cancel()
	last, now := new(jobResponse), new(jobResponse)
	if err := poll(ctx, 50*time.Millisecond, func() bool {
		a, err := get(ctx, r.gateway(0).url("/api/v1/batch/"+id))
		if now = new(jobResponse); err != nil || json.Unmarshal(a.body, now) != nil || now.JobID != id {
			return false
		}
		for _, c := range contradictions(last, now) {
			t.Errorf("job %s: %s", id, c)
		}
		last = now
		return ended(now.Status)
	}); err != nil {
		t.Fatalf("job %s has not ended: %v: %+v", id, err, now)
	}
	return now
}
