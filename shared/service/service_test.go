package service

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if used := os.Getenv("TEST_USED_MIB"); used != "" { // this is the program of TestGarbageIsLeft
		printGoal(used)
		return
	}
	goleak.VerifyTestMain(m)
}

type sample struct {
	Base
	Server struct {
		Secret string `env:"SECRET"`
	}
	Count int           `env:"COUNT" envDefault:"3"`
	Wait  time.Duration `env:"WAIT" envDefault:"1s"`
}

func accept(*sample) error { return nil }

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load([]string{"SECRET_FILE=" + file, "HTTP_ADDR=:1", "WAIT=2s", "UNKNOWN=x"}, accept)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Secret != "hush" || c.HTTPAddr != ":1" || c.Count != 3 || c.Wait != 2*time.Second || c.LogLevel != "info" {
		t.Errorf("configuration %+v, want the secret hush, :1, 3, 2s and info", c)
	}
	// An orchestrator may set the other variable to an empty value.
	if c, err := Load([]string{"SECRET_FILE=", "SECRET=given"}, accept); err != nil || c.Server.Secret != "given" {
		t.Errorf("secret %q, %v, want \"given\" and nil", c.Server.Secret, err)
	}
	if c, err := Load([]string{"SECRET_FILE=" + file, "SECRET="}, accept); err != nil || c.Server.Secret != "hush" {
		t.Errorf("secret %q, %v, want \"hush\" and nil", c.Server.Secret, err)
	}
}

// TestSecretFiles verifies how a file's content is read, and that setting both a value
// and a file is an error.
func TestSecretFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for text, want := range map[string]string{"hush\r\n": "hush", " a b \n\n": " a b ", "x": "x", "": "", "a\nb": "a\nb", "\ufeffhush\r\n": "hush"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := Load([]string{"SECRET_FILE=" + file}, accept); err != nil || c.Server.Secret != want {
			t.Errorf("%q is read as %q, %v, want %q and nil", text, c.Server.Secret, err, want)
		}
	}
	for _, environ := range [][]string{
		{"SECRET_FILE=" + file, "SECRET=hunter2"},
		{"SECRET_FILE=" + file + "x"},
		{"SECRET_FILE=" + filepath.Dir(file)},
	} {
		_, err := Load(environ, accept)
		if err == nil || !strings.Contains(err.Error(), "SECRET_FILE: ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want an error for SECRET_FILE without the secret", environ, err)
		}
	}
}

// TestAddressFromFile verifies that HTTP_ADDR_FILE takes precedence over the default of
// HTTP_ADDR.
func TestAddressFromFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "address")
	if err := os.WriteFile(file, []byte("127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HTTP_ADDR", "")
	t.Setenv("HTTP_ADDR_FILE", file)
	c, err := Load(Program{DefaultAddr: ":8080"}.environ(), accept)
	if err != nil || c.HTTPAddr != "127.0.0.1:1" {
		t.Errorf("HTTP_ADDR is %q, %v, want \"127.0.0.1:1\" and nil", c.HTTPAddr, err)
	}
	t.Setenv("HTTP_ADDR_FILE", "")
	if c, err := Load(Program{DefaultAddr: ":8080"}.environ(), accept); err != nil || c.HTTPAddr != ":8080" {
		t.Errorf("HTTP_ADDR is %q, %v, want \":8080\" and nil", c.HTTPAddr, err)
	}
}

// TestAllMistakesReported verifies that one error lists every mistake of a configuration.
func TestAllMistakesReported(t *testing.T) {
	_, err := Load([]string{"COUNT=many", "WAIT=long", "SECRET_FILE=/does/not/exist"}, func(*sample) error {
		return errors.Join(errors.New("HTTP_ADDR: want host:port"), errors.New("WAIT 0s: want at least 1s"))
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`COUNT "many": want a whole number`, `WAIT "long": want a duration such as 90s or 24h`, "SECRET_FILE: ", "HTTP_ADDR: want",
	} {
		if !strings.Contains(err.Error(), "\n"+want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "WAIT 0s") {
		t.Errorf("one mistake is reported twice:\n%v", err)
	}
}

func TestUsage(t *testing.T) {
	p := Program{Name: "gateway", DefaultAddr: ":8080", Run: func(context.Context, []string) error {
		t.Error("Run was called although there is an argument")
		return nil
	}, Commands: []Command{{Name: "repair", Summary: "repair it", Run: func(_ context.Context, args, environ []string) int {
		if !slices.Equal(args, []string{"-all"}) || !slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, "HTTP_ADDR=") }) {
			t.Errorf("the command received the arguments %q and the environment %q", args, environ)
		}
		return 7
	}}}, Config: func(environ []string) (any, error) { return Load(environ, accept) }}
	if code := p.Main([]string{"repair", "-all"}); code != 7 {
		t.Errorf("repair: exit code %d, want 7", code)
	}
	for argument, want := range map[string]int{"help": 0, "-h": 0, "--help": 0, "version": 0, "config": 0, "helth": 2} {
		if code := p.Main([]string{argument}); code != want {
			t.Errorf("%s: exit code %d, want %d", argument, code, want)
		}
	}
	if code := p.Main([]string{"version", "now"}); code != 2 {
		t.Errorf("an extra argument: exit code %d, want 2", code)
	}
	t.Setenv("COUNT", "many")
	if code := p.Main([]string{"config"}); code != 2 {
		t.Errorf("an invalid configuration: exit code %d, want 2", code)
	}
	var text strings.Builder
	p.usage(&text)
	for _, want := range []string{"gateway health", "gateway config", "gateway version", "gateway repair", "repair it", "docs/configuration.md", ":8080"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, text.String())
		}
	}
}

// TestAddressInUse verifies that the error for an address in use explains how to fix
// it.
func TestAddressInUse(t *testing.T) {
	first, err := ListenTCP(t.Context(), "HTTP_ADDR", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = ListenTCP(t.Context(), "HTTP_ADDR", first.Addr().String())
	if err == nil || !strings.HasPrefix(err.Error(), "HTTP_ADDR: ") || !strings.Contains(err.Error(), "stop the program that listens there") {
		t.Errorf("got %v, want an error starting with %q and containing %q", err, "HTTP_ADDR: ", "stop the program that listens there")
	}
}

func TestLogger(t *testing.T) {
	var out strings.Builder
	log, err := Base{LogLevel: "warn", LogFormat: "json"}.Logger(&out)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("unheard")
	log.Warn("heard", "trace_id", "t")
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil || line["msg"] != "heard" || line["trace_id"] != "t" {
		t.Errorf("log %q, %v, want one JSON line with msg heard and trace_id t", out.String(), err)
	}
	for _, b := range []Base{{LogLevel: "loud", LogFormat: "json"}, {LogLevel: "info", LogFormat: "xml"}} {
		if _, err := b.Logger(io.Discard); err == nil {
			t.Errorf("%+v: got no error, want one", b)
		}
	}
}

// TestOps verifies what an orchestrator sees: the service is alive whatever is missing,
// it is ready only when nothing is missing, and every error has the shape of the API's.
func TestOps(t *testing.T) {
	var missing atomic.Pointer[error]
	refused := errors.New("connection refused")
	missing.Store(&refused)
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	s, err := Listen(t.Context(), "127.0.0.1:0", metrics,
		Check{"broker", func(context.Context) error { return *missing.Load() }},
		Check{"store", func(context.Context) error { return nil }},
	)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	drained := make(chan struct{})
	go func() {
		done <- RunParts(ctx, slog.New(slog.DiscardHandler), s, Part{"work", func(ctx context.Context) error {
			<-ctx.Done()
			<-drained
			return nil
		}})
	}()
	ask := func(method, path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, strings.TrimSpace(string(body))
	}
	cases := []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/healthz", 200, `{"status":"ok"}`},
		{"GET", "/readyz", 503, `{"error":"Not ready: broker: connection refused","status":503}`},
		{"GET", "/metrics", 200, "metrics"},
		{"HEAD", "/healthz", 200, ""},
		{"POST", "/healthz", 405, `{"error":"Method not allowed","status":405}`},
		{"GET", "/secret", 404, `{"error":"Not found","status":404}`},
	}
	for _, c := range cases {
		if status, body := ask(c.method, c.path); status != c.status || body != c.body {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, status, body, c.status, c.body)
		}
	}
	missing.Store(new(error))
	if status, body := ask("GET", "/readyz"); status != 200 || body != `{"status":"ready"}` {
		t.Errorf("ready: %d %s, want 200 and \"{\\\"status\\\":\\\"ready\\\"}\"", status, body)
	}
	if err := alive(t.Context(), s.Addr().String(), false); err != nil {
		t.Errorf("health subcommand: %v", err)
	}
	stop()
	for status := 200; status != 503; { // until the signal is handled
		var body string
		if status, body = ask("GET", "/readyz"); status == 503 && body != `{"error":"Not ready: stopping","status":503}` {
			t.Errorf("draining: %s", body)
		}
	}
	if status, _ := ask("GET", "/healthz"); status != 200 {
		t.Errorf("/healthz of a draining service: %d, want 200", status)
	}
	http.DefaultClient.CloseIdleConnections()
	close(drained)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := alive(t.Context(), s.Addr().String(), false); err == nil {
		t.Error("health subcommand: a stopped service is reported alive")
	}
}

func TestHealthReachesUnspecifiedAddresses(t *testing.T) {
	for addr, want := range map[string]string{":8080": "127.0.0.1:8080", "0.0.0.0:1": "127.0.0.1:1", "[::]:2": "127.0.0.1:2", "[::1]:3": "[::1]:3", "host:4": "host:4"} {
		host, port, err := splitListen(addr)
		if err != nil || host+":"+port != want {
			t.Errorf("%s: %s:%s, %v; want %s", addr, host, port, err, want)
		}
	}
}

func TestCloserClosesAllInReverse(t *testing.T) {
	var order []string
	var c Closer
	c.Add("store", func() error { order = append(order, "store"); return errors.New("busy") })
	c.Add("broker", func() error { order = append(order, "broker"); return errors.New("gone") })
	err := c.Close(t.Context(), slog.New(slog.DiscardHandler))
	if strings.Join(order, " ") != "broker store" || err == nil || err.Error() != "close broker: gone\nclose store: busy" {
		t.Errorf("closed %v with %v, want the broker, then the store, and both errors", order, err)
	}
}

func TestPartsStopInReverse(t *testing.T) {
	errBroken := errors.New("broken")
	for _, early := range []bool{false, true} {
		var mu sync.Mutex
		var order []string
		part := func(name string) Part {
			return Part{name, func(ctx context.Context) error {
				if early && name == "consumers" {
					return errBroken
				}
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
				return nil
			}}
		}
		ctx, stop := context.WithCancel(t.Context())
		if !early {
			stop()
		}
		ops, err := Listen(t.Context(), "", http.NotFoundHandler())
		if err != nil {
			t.Fatal(err)
		}
		err = RunParts(ctx, slog.New(slog.DiscardHandler), ops, part("hub"), part("consumers"), part("http"))
		stop()
		want := "http consumers hub"
		if early {
			want = "http hub"
		}
		if strings.Join(order, " ") != want || early != errors.Is(err, errBroken) {
			t.Errorf("stopped %v with %v, want %s", order, err, want)
		}
	}
}
