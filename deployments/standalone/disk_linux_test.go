package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiskFull fills the disk while a job is open. It verifies that batches are rejected as
// temporarily unavailable, that existing jobs can be read and watched, that no work is lost,
// and that the service recovers by itself when there is space.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	site, _, open := gatedOrigin(t)
	s := forms["standalone"](t, "DATA_DIR="+filepath.Join(dir, "data"))
	// The process must release the disk before it is unmounted.
	t.Cleanup(func() { _ = s.end(syscall.SIGKILL) })
	done := s.submit(t, inline("photo.jpg", photo(t)))
	s.ended(t, done)
	waiting := s.submit(t, map[string]string{"url": site + "/slow.jpg"}, inline("photo.jpg", photo(t)))
	await(t, func() (bool, string) {
		var now jobResponse
		s.call(t, http.MethodGet, "/api/v1/batch/"+waiting, nil, &now)
		return now.Completed == 1, fmt.Sprintf("%+v", now)
	})
	watched := make(chan []frame, 1)
	go func() { watched <- watch(t, s, waiting) }()

	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	body, err := json.Marshal(map[string]any{"images": []any{inline("photo.jpg", photo(t))}})
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range []string{string(body), `{"images":[{"url":"` + site + `/fast.jpg"}]}`} {
		// A small write may still fit, so the disk is filled again before each attempt.
		await(t, func() (bool, string) {
			fill(t, filler+"s")
			var refused struct {
				Error  string
				Status int
			}
			status, header := s.call(t, http.MethodPost, "/api/v1/batch", strings.NewReader(batch), &refused)
			return status == http.StatusServiceUnavailable && refused.Status == status && header.Get("Retry-After") != "", fmt.Sprint(status, refused)
		})
	}
	var ready struct{ Error string }
	if status, _ := s.call(t, http.MethodGet, "/readyz", nil, &ready); status != http.StatusServiceUnavailable || !strings.Contains(ready.Error, "store") {
		t.Errorf("/readyz on a full disk: %d %s", status, ready.Error)
	}
	if status, _ := s.call(t, http.MethodGet, "/healthz", nil, nil); status != http.StatusOK {
		t.Errorf("/healthz on a full disk: %d", status)
	}
	var now jobResponse
	if status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+done, nil, &now); status != http.StatusOK || now.Completed != 1 {
		t.Errorf("GET on a full disk: %d %+v", status, now)
	}
	var file []byte
	if status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+done+"/images/0/file", nil, &file); status != http.StatusOK || len(file) == 0 {
		t.Errorf("result file on a full disk: %d, %d bytes", status, len(file))
	}
	checkFrames(t, watch(t, s, done), now)
	open() // The download of the open job finishes, and there is no space for it.

	for _, name := range []string{filler, filler + "s"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	end := s.ended(t, waiting)
	if end.Completed != 2 {
		t.Errorf("the open job: %+v", end)
	}
	checkFrames(t, <-watched, end)
	s.awaitReady()
	var created jobResponse
	await(t, func() (bool, string) {
		status, _ := s.call(t, http.MethodPost, "/api/v1/batch", bytes.NewReader(body), &created)
		return status == http.StatusCreated, fmt.Sprint(status)
	})
	if got := s.ended(t, created.JobID); got.Completed != 1 {
		t.Errorf("the job after the recovery: %+v", got)
	}
}

// fill writes until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}
