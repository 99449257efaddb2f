package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	_ "github.com/standard-webhooks/standard-webhooks/libraries/go" // of the receiver in the document
)

const webhooksPage = "../../docs/webhooks.md"

// TestWebhooksExamples builds the receiver of docs/webhooks.md and runs the transcript, whose
// messages it must receive.
func TestWebhooksExamples(t *testing.T) {
	t.Parallel()
	programs, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir, to := t.TempDir(), freeAddr(t)
	created := execute(t, "", filepath.Join(programs, "standalone"), "api-keys", "new", "anna")
	key, line, _ := strings.Cut(strings.TrimPrefix(created, "key:"), "line: ")
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: filepath.Join(programs, "standalone"), addr: freeAddr(t), env: []string{
		"DATA_DIR=" + t.TempDir(), "API_KEYS_FILE=" + keys, "WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8",
	}}
	t.Cleanup(func() { _ = p.end(syscall.SIGKILL) }) // The error reports the kill.
	p.start()
	await(t, func() (bool, string) {
		resp, err := http.Get(p.url("/healthz")) //nolint:noctx // It is polled.
		if err != nil {
			return false, "not alive"
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK, "not alive"
	})

	transcript := "$ key=" + strings.TrimSpace(key) + "\n"
	var receiver string
	for _, e := range examples(t, webhooksPage) {
		switch e.language {
		case "console":
			transcript += e.text
		case "go":
			receiver = e.text
		}
	}
	var log lockedLog
	s := &system{process: p}
	s.described(t)
	n := s.follow(t, dir, strings.ReplaceAll(transcript, "https://example.com/hook", "http://"+to+"/hook"), func(command string) string {
		switch {
		case strings.HasPrefix(command, "webhook="):
			startReceiver(t, strings.Replace(receiver, "localhost:9000", to, 1), readFile(t, filepath.Join(dir, "webhook.json")), &log)
		case strings.Contains(command, "/deliveries"): // A person types more slowly than messages are delivered.
			await(t, func() (bool, string) {
				return strings.Contains(log.String(), "webhook.test") && strings.Contains(log.String(), `"status":"failed","total_images":1,"completed":0,"failed":1,"metadata":{"album":"summer"}`), log.String()
			})
			await(t, func() (bool, string) {
				text, err := exec.CommandContext(t.Context(), "curl", "-s", "-H", "Authorization: Bearer "+strings.TrimSpace(key), p.url("/metrics")).Output() //nolint:gosec // The key is the test's.
				return err == nil && strings.Contains(string(text), "imagebatch_webhook_pending_deliveries 0\n"), "not all delivered"
			})
		}
		return command
	})
	if n < 8 {
		t.Errorf("the transcript has only %d commands", n)
	}
}

// startReceiver builds and starts the receiver with the secret of the webhook.
func startReceiver(t *testing.T, source string, created []byte, log *lockedLog) {
	t.Helper()
	var w struct{ URL, Secret string }
	if err := json.Unmarshal(created, &w); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "receiver.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	// It is built in this module, which has the library.
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "receiver"), filepath.Join(dir, "receiver.go")) //nolint:gosec // The document is ours.
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "receiver")) //nolint:gosec // The document is ours.
	cmd.Env, cmd.Stderr = append(os.Environ(), "WEBHOOK_SECRET="+w.Secret), log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // The error reports the kill.
	await(t, func() (bool, string) {
		resp, err := http.Get(w.URL) //nolint:noctx // It is polled.
		if err != nil {
			return false, "the receiver does not listen"
		}
		return resp.Body.Close() == nil, ""
	})
}

// lockedLog is the log of a process that still runs.
type lockedLog struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
