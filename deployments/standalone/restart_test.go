package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledAfter201 kills parts of the system with signal 9 during batches, directly after
// the response 201 and at random, and starts them again. It verifies that every accepted job
// ends with every image completed.
func TestKilledAfter201(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t)
		site := origin(t, map[string][]byte{"photo.jpg": photo(t)})
		random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // Repeatable.
		var ids []string
		// An image that was in flight at five deaths of the same part counts as their cause and fails.
		for round := range max(4, 2*len(s.parts)) {
			var batch []map[string]string
			for i := range 10 {
				batch = append(batch, inline(fmt.Sprintf("%d.jpg", i), goImage(t, "video-001.jpeg")), map[string]string{"url": site + "/photo.jpg"})
			}
			ids = append(ids, s.submit(t, batch...))
			victim := s.parts[round%len(s.parts)]
			if round >= len(s.parts) {
				wait := time.NewTimer(time.Duration(random.IntN(300)) * time.Millisecond)
				<-wait.C
			}
			_ = victim.end(syscall.SIGKILL)
			victim.start()
			victim.awaitReady()
		}
		for _, id := range ids {
			if got := s.ended(t, id); got.Status != "completed" || got.Completed != 20 {
				t.Errorf("job after the kills: %+v", got)
			}
		}
	})
}

// TestGracefulStop verifies that SIGTERM stops every part soon and without an error, and that
// accepted jobs continue at the next start.
func TestGracefulStop(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t)
		var batch []map[string]string
		for range 40 {
			batch = append(batch, inline("photo.jpg", photo(t)))
		}
		id := s.submit(t, batch...)
		for _, p := range s.parts {
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Errorf("%s after SIGTERM: %v", p.name, err)
			}
		}
		for _, p := range s.parts {
			p.start()
			p.awaitReady()
		}
		if got := s.ended(t, id); got.Completed != 40 {
			t.Errorf("job after the restart: %+v", got)
		}
	})
}

// TestDrainDelay verifies that /readyz reports that the gateway is stopping, that the gateway
// still accepts a batch in the meantime, and that this batch completes after the next start.
func TestDrainDelay(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t, "DRAIN_DELAY=3s")
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		await(t, func() (bool, string) {
			var ready struct{ Error string }
			status, _ := s.call(t, http.MethodGet, "/readyz", nil, &ready)
			return status == http.StatusServiceUnavailable && ready.Error == "Not ready: stopping", fmt.Sprint(status, ready)
		})
		id := s.submit(t, inline("photo.jpg", photo(t)))
		if err := s.end(syscall.Signal(0)); err != nil { // It only waits.
			t.Errorf("after the delay: %v", err)
		}
		s.start()
		s.awaitReady()
		if got := s.ended(t, id); got.Completed != 1 {
			t.Errorf("job after the restart: %+v", got)
		}
	})
}

// TestRetention verifies that with a retention of two seconds, an ended job is deleted and
// disappears from the list.
func TestRetention(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t, "JOB_RETENTION=2s")
		id := s.submit(t, inline("photo.jpg", photo(t)))
		if got := s.ended(t, id); got.Completed != 1 {
			t.Fatalf("job %+v", got)
		}
		await(t, func() (bool, string) {
			status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, nil)
			return status == http.StatusNotFound, fmt.Sprint(status)
		})
		var list struct {
			Jobs  []jobResponse `json:"jobs"`
			Total int           `json:"total"`
		}
		if s.call(t, http.MethodGet, "/api/v1/batch", nil, &list); list.Total != 0 || len(list.Jobs) != 0 {
			t.Errorf("list %+v", list)
		}
	})
}

// TestInvalidConfiguration verifies that the program exits with an invalid configuration and
// reports all errors.
func TestInvalidConfiguration(t *testing.T) {
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: dir + "/gateway", addr: "127.0.0.1:0", env: []string{
		"MAX_BATCH_IMAGES=101", "JOB_RETENTION=soon", "S3_BUCKET_ORIGINAL=x", "S3_BUCKET_PROCESSED=x", "API_KEYS_FILE=/keys", "DATA_DIR=" + t.TempDir(),
		"DATABASE_URL=postgres://user:s3cr3t@host/jobs?synchronous_commit=off",
	}}
	p.start()
	if err := <-p.done; err == nil {
		t.Error("the program exited with 0")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range []string{"MAX_BATCH_IMAGES", "JOB_RETENTION", "S3_BUCKET_PROCESSED", "API_KEYS_FILE", "DATABASE_URL"} {
		if !strings.Contains(p.log.String(), name) {
			t.Errorf("%s is missing in:\n%s", name, p.log.String())
		}
	}
	if strings.Contains(p.log.String(), "s3cr3t") {
		t.Errorf("the log contains the password:\n%s", p.log.String())
	}
}
