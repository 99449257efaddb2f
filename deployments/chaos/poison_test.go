package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// maxDeaths is how often a poison image may kill before it is given up: once in
// the work queue, and as often as the broker hands it out as a suspect.
const maxDeaths = 5

// TestPoison sends one image that kills whoever analyses it, among 99 good ones:
// only that one fails, and only it is a dead letter.
func TestPoison(t *testing.T) {
	analyzers := []string{"analyzer-1", "analyzer-2", "analyzer-3"}
	r := start(t, testServers(t), append([]string{"gateway", "processor"}, analyzers...),
		"FAILPOINT=analysis", "FAILPOINT_DETAIL=poison.jpg", "CONCURRENCY=8")
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	var nurses sync.WaitGroup
	var mu sync.Mutex // guards deaths
	deaths := 0
	defer nurses.Wait()
	defer stop()
	for _, name := range analyzers {
		nurses.Go(func() {
			p := r.services[name]
			for p.awaitEnd(ctx) == nil && ctx.Err() == nil {
				mu.Lock()
				deaths++
				mu.Unlock()
				if err := p.start(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	id, err := r.submit(ctx, 0, r.poisonBatch(t, 100, 30))
	must(t, err)
	j := r.job(t, id)
	r.over(id, j)
	if j.Completed != 99 || j.Failed != 1 || j.Images[30].ErrorCode != "processing_failed" {
		t.Errorf("job ended with %d completed and %d failed, the poison as %+v", j.Completed, j.Failed, j.Images[30])
	}
	mu.Lock()
	t.Logf("the poison killed %d times", deaths)
	if deaths < 2 || deaths > maxDeaths {
		t.Errorf("the poison killed %d times, want 2 to %d", deaths, maxDeaths)
	}
	mu.Unlock()
	var queues map[string]int
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := poll(limit, time.Second, func() (_ bool, err error) {
		queues, err = r.servers.queues(limit)
		open := 0
		for _, n := range queues {
			open += n
		}
		return open == 1 && queues["image_upload.dead"] == 1, err
	}); err != nil {
		t.Errorf("queues hold %v, want one dead letter of image_upload: %v", queues, err)
	}
}

// poisonBatch is a batch of good images with a poison among them.
func (r *run) poisonBatch(t *testing.T, count, poison int) *batch {
	t.Helper()
	good, _, err := pictures(r.random(2))
	must(t, err)
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

// TestPoisonStandalone holds the same of the one process that has everything in
// it: it dies with its broker, again and again, and is started again, until the
// poison is given up.
func TestPoisonStandalone(t *testing.T) {
	dir := t.TempDir()
	addr, err := lanePorts(0, 1).free()
	must(t, err)
	p := newProcess("standalone", filepath.Join(programs.build(t), "standalone"), addr, dir,
		"DATA_DIR="+filepath.Join(dir, "data"), "HOME="+dir, "FAILPOINT=analysis", "FAILPOINT_DETAIL=poison.jpg", "CONCURRENCY=8")
	h, err := newHistory(filepath.Join(dir, "history.jsonl"))
	must(t, err)
	r := &run{
		services: map[string]*process{"gateway": p}, gateways: []string{"gateway"}, history: h, ledger: newLedger(), since: map[string]time.Time{},
	}
	must(t, p.start())
	must(t, p.awaitReady(t.Context()))
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	deaths := 0
	var nurse sync.WaitGroup
	nurse.Go(func() {
		for p.awaitEnd(ctx) == nil && ctx.Err() == nil {
			if deaths++; deaths > maxDeaths {
				return
			}
			if err := p.start(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer func() {
		stop()
		nurse.Wait()
		_ = p.end(syscall.SIGKILL) // killed is what it is to be
		t.Logf("the poison killed %d times", deaths)
		if deaths < 2 || deaths > maxDeaths {
			t.Errorf("the poison killed %d times, want 2 to %d", deaths, maxDeaths)
		}
		for _, b := range h.close() {
			t.Error(b)
		}
		if text, _ := os.ReadFile(p.log); t.Failed() {
			t.Logf("%s", text)
		}
	}()
	b := r.poisonBatch(t, 40, 12)
	id, err := r.submit(ctx, 0, b)
	if err != nil {
		id = r.await(t, b) // it killed before the answer was out
	}
	j := r.job(t, id)
	if j.Completed != 39 || j.Failed != 1 || j.Images[12].ErrorCode != "processing_failed" {
		t.Errorf("job ended with %d completed and %d failed, the poison as %+v", j.Completed, j.Failed, j.Images[12])
	}
}

// await finds the job of a batch once somebody answers.
func (r *run) await(t *testing.T, b *batch) (id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, poll(ctx, 50*time.Millisecond, func() (bool, error) {
		list, err := r.list(ctx, 0)
		if err != nil {
			return false, nil
		}
		for _, j := range list {
			if owner, _ := r.ledger.owner(&j); owner == b {
				id = j.JobID
			}
		}
		return id != "", nil
	}))
	return id
}
