package main

import (
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestTwoInstallations verifies that two gateways with different job stores cannot use one
// RabbitMQ at the same time: the second one is not ready, says why, and takes no results of the
// first one. After a take-over, the images of both end.
func TestTwoInstallations(t *testing.T) {
	t.Parallel()
	broker := ownVhost(t)
	env := serverEnv(t, broker)
	firstEnv, secondEnv := append(slices.Clone(env), "DATA_DIR="+t.TempDir()), append(slices.Clone(env), "DATA_DIR="+t.TempDir())
	first := &system{launch(t, "gateway", firstEnv...), nil}
	first.awaitReady()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	second := &system{startFrom(t, dir, "gateway", secondEnv...), nil}
	second.awaitReadyz(http.StatusServiceUnavailable, "this broker belongs to the job store")
	waiting := second.submit(t, inline("second.jpg", photo(t)))
	launch(t, "analyzer", env...)
	launch(t, "processor", env...)
	var ids []string
	for range 4 {
		ids = append(ids, first.submit(t, inline("a.jpg", photo(t)), inline("b.jpg", photo(t)), inline("c.jpg", photo(t))))
	}
	first.allComplete(t, ids)
	var job jobResponse
	if second.call(t, http.MethodGet, "/api/v1/batch/"+waiting, nil, &job); job.Completed+job.Failed != 0 {
		t.Errorf("the job of the second store is %s, want it to wait", job.Status)
	}

	out, errOut, code := command(t, secondEnv, "gateway", "take-over")
	if code != 0 || !strings.Contains(out, "it belonged to the job store") {
		t.Fatalf("take-over: %d, %s%s", code, out, errOut)
	}
	second.awaitReady()
	second.allComplete(t, []string{waiting})
	if status, _ := first.call(t, http.MethodGet, "/readyz", nil, nil); status != http.StatusServiceUnavailable {
		t.Errorf("the first gateway answers %d after the take-over, want %d", status, http.StatusServiceUnavailable)
	}

	left := first.submit(t, inline("left.jpg", photo(t)))
	if out, errOut, code := command(t, firstEnv, "gateway", "take-over"); code != 0 {
		t.Fatalf("taking it back: %d, %s%s", code, out, errOut)
	}
	first.allComplete(t, []string{left})

	// A copy must get an ID of its own, while no gateway uses it.
	if out, errOut, code := command(t, secondEnv, "gateway", "new-store-id"); code != 1 || !strings.Contains(errOut, "in use by another gateway") {
		t.Errorf("new-store-id while the gateway runs: %d, %s%s", code, out, errOut)
	}
	out, errOut, code = command(t, append(slices.Clone(env), "DATA_DIR="+t.TempDir()), "gateway", "take-over")
	if code != 1 || !strings.Contains(errOut, "no such file") {
		t.Errorf("take-over without a job store: %d, %s%s", code, out, errOut)
	}
	if err := second.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if out, errOut, code := command(t, secondEnv, "gateway", "new-store-id"); code != 0 || !strings.Contains(out, "the job store has the ID") {
		t.Errorf("new-store-id: %d, %s%s", code, out, errOut)
	}
}
