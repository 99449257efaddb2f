package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// armed builds a program with failpoints.
func armed(t *testing.T, name string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := build(filepath.Dir(file), "-tags", "failpoints", base+name+"/cmd/"+name); err != nil {
		t.Fatal(err)
	}
	return file
}

// poisonedSystem is a system with dead letters whose cause has been fixed.
type poisonedSystem struct {
	*system
	env  []string
	jobs []string // each has a dead letter for its first image
}

// startPoisoned sends jobs with one image that kills every analyzer and one good image, and
// restarts the analyzer until the first images are dead letters. Then it starts an analyzer
// without the fault.
func startPoisoned(t *testing.T, broker string, jobs int, more ...string) *poisonedSystem {
	t.Helper()
	env := append(serverEnv(t, broker), more...)
	gateway := launch(t, "gateway", env...)
	g := &poisonedSystem{env: env, system: &system{gateway, []*process{gateway}}}
	poisoned := &process{
		t: t, name: armed(t, "analyzer"), addr: freeAddr(t), done: nil,
		env: append([]string{"FAILPOINT=analysis", "FAILPOINT_DETAIL=poison.jpg"}, env...),
	}
	g.parts = append(g.parts, launch(t, "processor", env...))
	img := base64.StdEncoding.EncodeToString(photo(t))
	for range jobs {
		g.jobs = append(g.jobs, g.submit(t, map[string]string{"base64": img, "name": "poison.jpg"}, map[string]string{"base64": img, "name": "good.jpg"}))
	}
	for _, id := range g.jobs {
		await(t, func() (bool, string) {
			if poisoned.done == nil {
				poisoned.start()
			}
			select {
			case err := <-poisoned.done:
				poisoned.done = nil
				var exit *exec.ExitError
				if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() { //nolint:forcetypeassert // This is the type on Unix.
					t.Fatalf("the poison image does not kill the analyzer: %v\n%s", err, poisoned.log.Bytes())
				}
			default:
			}
			var now jobResponse
			g.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, &now)
			return now.Failed == 1 && now.Completed == 1, now.Status
		})
	}
	_ = poisoned.end(syscall.SIGKILL) // the error reports the kill
	g.parts = append(g.parts, launch(t, "analyzer", env...))
	return g
}

// tool runs `dead-letters` of the gateway and returns its output.
func (g *poisonedSystem) tool(t *testing.T, program string, env []string, args ...string) (code int, output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"dead-letters"}, args...)...) //nolint:gosec // The program is ours.
	cmd.Env = append(append([]string{"HTTP_ADDR=" + g.addr}, g.env...), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("DATA RACE")) || bytes.Contains(out, []byte("panic:")) {
		t.Errorf("%s", out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// retries returns the listed jobs that are retries of a job.
func (g *poisonedSystem) retries(t *testing.T, id string) (ids []string) {
	t.Helper()
	var list struct{ Jobs []jobResponse }
	g.call(t, http.MethodGet, "/api/v1/batch", nil, &list)
	for _, j := range list.Jobs {
		if j.RetryOf == id {
			ids = append(ids, j.JobID)
		}
	}
	return ids
}

// TestDeadLetters follows the transcript in docs/delivery.md. The replay of the second job
// is killed before it removes the dead letter, and then repeated by two concurrent replays:
// it creates only one job. The third job is replayed through the API.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	g := startPoisoned(t, ownVhost(t), 3)
	programs, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	gateway := filepath.Join(programs, "gateway")
	// A repeated move to quarantine makes a second dead letter of an image. The transcript needs a job with one.
	single := slices.IndexFunc(g.jobs, func(id string) bool {
		_, output := g.tool(t, gateway, nil, "list", "-job", id)
		return strings.HasSuffix(output, "\n1 dead letter\n")
	})
	if single < 0 {
		t.Fatalf("no job of %d has exactly one dead letter", len(g.jobs))
	}
	g.jobs[0], g.jobs[single] = g.jobs[single], g.jobs[0]
	id := g.jobs[1]

	code, output := g.tool(t, armed(t, "gateway"), []string{"FAILPOINT=dead letter replayed"}, "replay", "-job", id)
	if code != -1 || strings.Contains(output, "retried") {
		t.Fatalf("the killed replay exits with %d:\n%s", code, output)
	}
	if made := g.retries(t, id); len(made) != 1 {
		t.Fatalf("the killed replay created the jobs %v", made)
	}
	// The broker needs a moment to notice that the client has died.
	await(t, func() (bool, string) {
		code, output := g.tool(t, gateway, nil, "list", "-job", id)
		// The move to quarantine may have been repeated, which makes a second dead letter of the image.
		return code == 0 && strings.Contains(output, "\nimage_upload "), output
	})
	var operators sync.WaitGroup
	for range 2 {
		operators.Go(func() {
			code, output := g.tool(t, gateway, nil, "replay", "-job", id)
			refused := code == 1 && strings.Contains(output, broker.ErrInUse.Error())
			if code != 0 && !refused {
				t.Errorf("replay exits with %d:\n%s", code, output)
			}
		})
	}
	operators.Wait()
	_, _ = g.tool(t, gateway, nil, "replay", "-job", id) // both are refused if they start in the same moment
	code, output = g.tool(t, gateway, nil, "replay", "-job", id)
	if made := g.retries(t, id); code != 0 || !strings.Contains(output, "0 dead letters") || len(made) != 1 {
		t.Errorf("after six replays there are the jobs %v; the last replay exits with %d:\n%s", made, code, output)
	} else if j := g.ended(t, made[0]); j.Completed != 1 || j.TotalImages != 1 || j.Images[0].OriginalFilename != "poison.jpg" {
		t.Errorf("the new job %+v", j)
	}

	g.replayByAPI(t, g.jobs[2])

	transcript := pick(t, examples(t, "../../docs/delivery.md"), "Dead letters", "console")
	environment := strings.Join(append([]string{"env", "PATH='" + programs + "':$PATH", "HTTP_ADDR=" + g.addr}, g.env...), " ")
	if n := g.follow(t, t.TempDir(), transcript, func(command string) string { return environment + " " + command }); n < 5 {
		t.Errorf("the transcript has only %d commands", n)
	}
	if made := g.retries(t, g.jobs[0]); len(made) != 1 {
		t.Errorf("the transcript created the jobs %v", made)
	} else if j := g.ended(t, made[0]); j.Completed != 1 || j.TotalImages != 1 {
		t.Errorf("the new job %+v", j)
	}
}

// replayByAPI lists the dead letter of a job, replays it, and waits for the new job.
func (g *poisonedSystem) replayByAPI(t *testing.T, id string) {
	t.Helper()
	type letter struct {
		JobID   string `json:"job_id"`
		TraceID string `json:"trace_id"`
		Queue   string `json:"queue"`
		Reason  string `json:"reason"`
		Action  string `json:"action"`
		NewJob  string `json:"new_job_id"`
	}
	type deadLetters struct {
		DeadLetters []letter `json:"dead_letters"`
	}
	for range 3 { // reading removes none
		var list, again deadLetters
		g.call(t, http.MethodGet, "/api/v1/dead-letters?queue=image_upload", nil, &list)
		if g.call(t, http.MethodGet, "/api/v1/dead-letters", nil, &again); !slices.Equal(list.DeadLetters, again.DeadLetters) || len(list.DeadLetters) < 2 {
			t.Fatalf("the lists are %+v and %+v, want the same dead letters of two images", list, again)
		}
		if !slices.ContainsFunc(list.DeadLetters, func(l letter) bool { return l.JobID == id && l.Reason == "delivery_limit in image_upload.suspect" }) {
			t.Errorf("the dead letters are %+v, want one of the job %s", list, id)
		}
	}
	path := "/api/v1/dead-letters/image_upload/" + string(pipeline.NewTraceID(id, 0))
	var replayed deadLetters
	g.call(t, http.MethodPost, path+"/replay", nil, &replayed)
	if len(replayed.DeadLetters) == 0 || replayed.DeadLetters[0].Action != "retried" {
		t.Fatalf("the replay returned %+v", replayed)
	}
	if j := g.ended(t, replayed.DeadLetters[0].NewJob); j.Completed != 1 || j.RetryOf != id {
		t.Errorf("the new job %+v", j)
	}
	var left deadLetters
	if g.call(t, http.MethodGet, "/api/v1/dead-letters", nil, &left); len(left.DeadLetters) == 0 || slices.ContainsFunc(left.DeadLetters, func(l letter) bool { return l.JobID == id }) {
		t.Errorf("after the replay there are %+v, want the dead letter of another job", left)
	}
}

// TestStandaloneHasNoDeadLetters verifies that the command explains what to do instead.
func TestStandaloneHasNoDeadLetters(t *testing.T) {
	programs, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(programs, "standalone"), "dead-letters", "list").CombinedOutput() //nolint:gosec // The program is ours.
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "in memory") || !strings.Contains(string(out), "/retry") {
		t.Errorf("%v\n%s", err, out)
	}
}
