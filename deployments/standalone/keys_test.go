package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestAPIKeysExamples runs the transcript about API keys on a gateway that starts with one
// key and loads the one that the transcript creates.
func TestAPIKeysExamples(t *testing.T) {
	t.Parallel()
	programs, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first := execute(t, "", filepath.Join(programs, "standalone"), "api-keys", "new", "ops")
	_, line, _ := strings.Cut(first, "line: ")
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte(strings.TrimSpace(line)+" operator\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: filepath.Join(programs, "standalone"), addr: freeAddr(t), env: []string{"DATA_DIR=" + t.TempDir(), "API_KEYS_FILE=" + keys}}
	t.Cleanup(func() { _ = p.end(syscall.SIGKILL) }) // The error reports the kill.
	p.start()

	// get returns the status of the response to a request with a key, or 0 without a response.
	get := func(path, key string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	find := func(text string) string { return regexp.MustCompile(`ib_[\w-]{43}`).FindString(text) }
	await(t, func() (bool, string) { return get("/healthz", "") == http.StatusOK, "not alive" })

	s := &system{process: p}
	s.described(t)
	n := s.follow(t, dir, pick(t, examples(t, extensions), keysSection, "console"), func(command string) string {
		if strings.Contains(command, "Bearer") { // A person types more slowly than the file is loaded.
			await(t, func() (bool, string) {
				return get("/api/v1/batch", find(string(readFile(t, filepath.Join(dir, "new.txt"))))) == http.StatusOK, "key unknown"
			})
		}
		return strings.Replace(command, "gateway api-keys", filepath.Join(programs, "gateway")+" api-keys", 1)
	})
	if n < 6 {
		t.Errorf("the transcript has only %d commands", n)
	}
	for path, want := range map[string]int{"/readyz": http.StatusUnauthorized, "/metrics": http.StatusUnauthorized, "/": http.StatusOK} {
		if got := get(path, ""); got != want {
			t.Errorf("%s without a key: %d", path, got)
		}
	}
	if got := get("/metrics", find(first)); got != http.StatusOK {
		t.Errorf("/metrics with a key: %d", got)
	}
}
