package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// maxDeaths is the maximum number of processes that a poison image kills: one from the
// work queue, and the others from the quarantine queue, up to the broker's delivery limit.
const maxDeaths = 5

// TestPoison sends one image that kills its analyzer, among 99 good ones. It verifies that
// only this image fails, and only it becomes a dead letter.
func TestPoison(t *testing.T) {
	analyzers := []string{"analyzer-1", "analyzer-2", "analyzer-3"}
	r := start(t, testServers(t), append([]string{"gateway", "processor"}, analyzers...), "CONCURRENCY=8")
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	id := r.submit(ctx, 0, poisonBatch(r.good, 100, 30))
	j := r.job(t, id)
	if j.Completed != 99 || j.Failed != 1 || j.Images[30].ErrorCode != "processing_failed" {
		t.Errorf("job ended with %d completed and %d failed images; the poison image is %+v", j.Completed, j.Failed, j.Images[30])
	}
	deaths := 0
	for _, name := range analyzers {
		n, unexplained := r.services[name].ends()
		if deaths += n; len(unexplained) > 0 {
			t.Error(unexplained)
		}
	}
	t.Logf("the poison image killed %d times", deaths)
	if deaths < 2 || deaths > maxDeaths {
		t.Errorf("the poison image killed %d times, want 2 to %d", deaths, maxDeaths)
	}
	var queues map[string]depth
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := poll(limit, time.Second, func() bool {
		queues, _ = r.servers.queues(limit)
		return len(queues) == 1 && queues[deadUploads].Messages == 1
	}); err != nil {
		t.Errorf("queues contain %+v, want one dead letter of image_upload: %v", queues, err)
	}
}

// poisonBatch returns a batch of good images with one poison image.
func poisonBatch(good []source, count, poison int) *batch {
	b := new(batch)
	for i := range count {
		img := good[i%len(good)]
		img.name = fmt.Sprintf("%d-%s", i, img.name)
		if i == poison {
			img.name = "poison.jpg"
		}
		b.images = append(b.images, img)
	}
	return b
}

// TestPoisonStandalone verifies the same for the single process: it dies together with its
// broker and is restarted, until the image fails.
func TestPoisonStandalone(t *testing.T) {
	dir := t.TempDir()
	p, err := newProcess("standalone", filepath.Join(armed(t), "standalone"), dir, "FAILPOINT=analysis", "FAILPOINT_DETAIL=poison.jpg", "CONCURRENCY=8")
	must(t, err)
	r := &run{
		plan: new(plan), servers: new(servers), services: map[string]*process{"gateway": p}, gateways: []string{"gateway"}, history: slog.New(slog.DiscardHandler),
		jobs: map[string]record{}, unknown: map[string]*batch{},
	}
	p.start()
	must(t, p.awaitReady(t.Context()))
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer func() {
		stop()
		deaths, unexplained := p.ends()
		p.kill()
		for _, fall := range unexplained {
			t.Error(fall)
		}
		t.Logf("the poison image killed %d times", deaths)
		if deaths < 2 || deaths > maxDeaths {
			t.Errorf("the poison image killed %d times, want 2 to %d", deaths, maxDeaths)
		}
		for _, b := range r.breaches {
			t.Error(b)
		}
		if text, _ := os.ReadFile(p.log); t.Failed() {
			t.Logf("%s", text)
		}
	}()
	good, _ := sources(r.random(2))
	b := poisonBatch(good, 40, 12)
	id := r.submit(ctx, 0, b)
	if id == "" {
		id = r.await(t, b) // the process died before it sent the response
	}
	j := r.job(t, id)
	if j.Completed != 39 || j.Failed != 1 || j.Images[12].ErrorCode != "processing_failed" {
		t.Errorf("job ended with %d completed and %d failed images; the poison image is %+v", j.Completed, j.Failed, j.Images[12])
	}
	// The queues are in memory, but their dead letters are the same.
	const path = "/api/v1/dead-letters"
	trace := string(pipeline.NewTraceID(id, 12))
	for _, step := range []struct{ method, path, want string }{
		{http.MethodGet, path, `"trace_id":"` + trace + `"`},
		{http.MethodDelete, path + "/image_upload/" + trace, `"action":"dropped"`},
		{http.MethodGet, path, `{"dead_letters":[],"truncated":false}`},
	} {
		a, err := send(ctx, step.method, p.url(step.path), nil, "")
		if err != nil || a.status != http.StatusOK || !strings.Contains(string(a.body), step.want) {
			t.Errorf("%s %s: %v %s, want %s", step.method, step.path, err, a, step.want)
		}
	}
}

// await returns the job of a batch as soon as the gateway lists it.
func (r *run) await(t *testing.T, b *batch) (id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, poll(ctx, 50*time.Millisecond, func() bool {
		list, _ := r.list(ctx, 0, "") // The process may be restarting.
		for _, j := range list {
			if r.owner(&j) == b {
				id = j.JobID
			}
		}
		return id != ""
	}))
	return id
}
