package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/imagebatch/imagebatch/shared/tlstest"
)

// proxied is a system behind a proxy that terminates TLS and publishes it below a path.
type proxied struct {
	*testing.T
	*system
	origin string // https://localhost:port
	client *http.Client
}

const basePath = "/images"

// TestProxies runs the examples of docs/operations.md for nginx and Caddy. It verifies
// that the page, batches, WebSockets and event streams work through them below the path, and that a
// client can forge neither its address nor its host.
func TestProxies(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T, config, host, gateway string){"nginx": startNginx, "caddy": startCaddy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			need(t, name, map[string]string{"nginx": "-v", "caddy": "version"}[name])
			host := strings.Replace(freeAddr(t), "127.0.0.1", "localhost", 1)
			s := forms["standalone"](t, "BASE_PATH="+basePath, "TRUSTED_PROXIES=127.0.0.1", "ALLOWED_HOSTS="+host)
			language := map[string]string{"nginx": "nginx", "caddy": "caddyfile"}[name]
			start(t, pick(t, examples(t, "../../docs/operations.md"), "Behind a proxy", language), host, s.addr)
			p := &proxied{t, s, "https://" + host, &http.Client{
				// The address is the test's own.
				Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // See above.
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}}
			t.Cleanup(p.client.CloseIdleConnections)
			p.pages()
			p.batches()
			p.forgeries()
		})
	}
}

// send sends a request through the proxy and returns the response with its body.
func (p *proxied) send(method, path, body string, header ...string) (*http.Response, string) {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), method, p.origin+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return resp, string(data)
}

func (p *proxied) pages() {
	p.Helper()
	for path, want := range map[string]string{"/": "<title>Imagebatch</title>", "/app.js": "/*! Imagebatch", "/style.css": "color-scheme", "/docs": "<title>Imagebatch API</title>", "/api/v1/batch": `{"jobs":[`} {
		if resp, body := p.send(http.MethodGet, basePath+path, ""); resp.StatusCode != 200 || !strings.Contains(body, want) {
			p.Errorf("%s: got %d %.200s", path, resp.StatusCode, body)
		}
	}
	if resp, _ := p.send(http.MethodGet, basePath, ""); resp.StatusCode != 307 || resp.Header.Get("Location") != basePath+"/" {
		p.Errorf("without the last slash: got %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	for _, path := range []string{basePath + "/metrics", basePath + "/readyz", "/metrics", "/readyz"} {
		if _, body := p.send(http.MethodGet, path, ""); strings.Contains(body, "imagebatch_") || strings.Contains(body, "ready") {
			p.Errorf("the proxy publishes %s: %.200s", path, body)
		}
	}
}

// submitPhoto sends a batch with a photo of several megabytes, so that a proxy with a limit or
// a buffer would notice, and returns its Location.
func (p *proxied) submitPhoto(header ...string) (*http.Response, string) {
	p.Helper()
	padded := append(photo(p.T), make([]byte, 3<<20)...)
	body, err := json.Marshal(map[string]any{"images": []map[string]string{inline("photo.jpg", padded)}})
	if err != nil {
		p.Fatal(err)
	}
	return p.send(http.MethodPost, basePath+"/api/v1/batch", string(body), append([]string{"Content-Type", "application/json"}, header...)...)
}

func (p *proxied) batches() {
	p.Helper()
	resp, body := p.submitPhoto("Origin", p.origin)
	location := resp.Header.Get("Location")
	if resp.StatusCode != 201 || !strings.HasPrefix(location, basePath+"/api/v1/batch/") {
		p.Fatalf("POST of our own page: got %d %s, Location %q", resp.StatusCode, body, location)
	}
	frames := p.watch(location)
	var end jobResponse
	if _, body := p.send(http.MethodGet, location, ""); json.Unmarshal([]byte(body), &end) != nil || end.Status != "completed" {
		p.Fatalf("the job is %s", body)
	}
	checkFrames(p.T, frames, end)
	if resp, body := p.send(http.MethodGet, location+"/events", ""); resp.StatusCode != 200 || strings.Count(body, "\ndata: {") != len(frames) {
		p.Errorf("events of a job that has ended: got %d %s, want %d events", resp.StatusCode, body, len(frames))
	}
	p.live()
	if resp, body := p.send(http.MethodGet, location+"/images/0/thumbnail", ""); resp.StatusCode != 200 || http.DetectContentType([]byte(body)) != "image/jpeg" {
		p.Errorf("thumbnail: got %d %.100q", resp.StatusCode, body)
	}
}

// live verifies that the proxy passes each server-sent event on before the stream ends.
func (p *proxied) live() {
	p.Helper()
	site, _, open := gatedOrigin(p.T)
	resp, body := p.send(http.MethodPost, basePath+"/api/v1/batch", `{"images":[{"url":"`+site+`/slow.jpg"}]}`)
	if resp.StatusCode != 201 {
		p.Fatalf("POST: got %d %s", resp.StatusCode, body)
	}
	req, err := http.NewRequestWithContext(p.Context(), http.MethodGet, p.origin+resp.Header.Get("Location")+"/events", nil)
	if err != nil {
		p.Fatal(err)
	}
	stream, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer stream.Body.Close()
	var kinds []string
	for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
		if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kinds = append(kinds, kind)
			open() // the job waits for the first event to arrive here
		}
	}
	if len(kinds) < 3 || kinds[0] != "progress" || kinds[len(kinds)-1] != "job_complete" {
		p.Errorf("got the events %q", kinds)
	}
}

// watch returns the frames of a job, as its page receives them.
func (p *proxied) watch(location string) (frames []frame) {
	p.Helper()
	conn, resp, err := p.dial(location, p.origin)
	if err != nil {
		p.Fatalf("WebSocket: %v, %v", err, resp)
	}
	defer conn.CloseNow() //nolint:errcheck // Only if it is not closed yet.
	for {
		_, text, err := conn.Read(p.Context())
		if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			return frames
		}
		var f frame
		if err := errors.Join(err, json.Unmarshal(text, &f)); err != nil {
			p.Fatalf("frame %d: %v", len(frames), err)
		}
		frames = append(frames, f)
	}
}

func (p *proxied) dial(location, origin string) (*websocket.Conn, *http.Response, error) {
	conn, resp, err := websocket.Dial(p.Context(), strings.Replace(p.origin, "https", "wss", 1)+location+"/ws",
		&websocket.DialOptions{HTTPClient: p.client, HTTPHeader: http.Header{"Origin": {origin}}})
	if resp != nil && resp.Body != nil {
		p.Cleanup(func() { _ = resp.Body.Close() })
	}
	return conn, resp, err
}

func (p *proxied) forgeries() {
	p.Helper()
	const evil, forgedClient = "evil.example", "198.51.100.66"
	for _, forged := range [][]string{
		nil,
		{"X-Forwarded-Host", evil, "X-Forwarded-For", forgedClient, "X-Forwarded-Proto", "http"},
		{"Forwarded", "for=" + forgedClient + ";host=" + evil + ";proto=http"},
	} {
		if resp, body := p.submitPhoto(append(forged, "Origin", "https://"+evil)...); resp.StatusCode != 403 {
			p.Errorf("POST of another page with %q: got %d %s", forged, resp.StatusCode, body)
		}
		if resp, body := p.send(http.MethodGet, basePath+"/api/v1/batch", "", forged...); resp.StatusCode != 200 {
			p.Errorf("GET with %q: got %d %s", forged, resp.StatusCode, body)
		}
	}
	if _, resp, err := p.dial(basePath+"/api/v1/batch/"+docsJobID, "https://"+evil); err == nil || resp == nil || resp.StatusCode != 403 {
		p.Errorf("WebSocket of another page: got %v, %v", resp, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if log := p.log.String(); strings.Contains(log, forgedClient) || !strings.Contains(log, "client=127.0.0.1") {
		p.Errorf("the log has no client, or a forged one:\n%s", log)
	}
}

// startNginx runs nginx with an example configuration for the given host, in front of the
// gateway.
func startNginx(t *testing.T, config, host, gateway string) {
	dir := t.TempDir()
	certificate, key := tlstest.NewAuthority(t).Issue()
	cert, private := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	_, port, err := net.SplitHostPort(host)
	if err := errors.Join(err, os.WriteFile(cert, certificate, 0o600), os.WriteFile(private, key, 0o600)); err != nil {
		t.Fatal(err)
	}
	config = replaced(t, config, "127.0.0.1:8080", gateway, "listen 443 ssl", "listen 127.0.0.1:"+port+" ssl",
		"images.example.com;", "localhost;", "/etc/ssl/images.example.com.pem", cert, "/etc/ssl/images.example.com.key", private)
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	file := filepath.Join(dir, "nginx.conf")
	whole := "daemon off;\nmaster_process off;\npid " + dir + "/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n" + temporary + config + "}\n"
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, host, "nginx", "-p", dir, "-c", file, "-e", "stderr")
}

// startCaddy runs Caddy with an example configuration for the given host, in front of the
// gateway. Its certificate is from an authority of its own.
func startCaddy(t *testing.T, config, host, gateway string) {
	dir := t.TempDir()
	config = replaced(t, config, "127.0.0.1:8080", gateway, "images.example.com", "https://"+host)
	options := "{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n\tstorage file_system " + dir + "\n}\n"
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(options+config), 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, host, "caddy", "run", "--config", file)
}

// replaced replaces texts, each of which the example must contain.
func replaced(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%q is missing in:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// background runs a proxy until the end of the test. It returns when the proxy accepts
// connections.
func background(t *testing.T, host, name string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...) //nolint:gosec // The proxies of the examples.
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 10*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // The end of the context kills it.
	}()
	t.Cleanup(func() {
		<-ended
		if t.Failed() {
			t.Logf("%s:\n%s", name, out.Bytes())
		}
	})
	await(t, func() (bool, string) {
		select {
		case <-ended:
			t.Fatalf("%s has ended:\n%s", name, out.Bytes())
		default:
		}
		conn, err := tls.Dial("tcp", host, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec,noctx // The address is the test's own.
		if err != nil {
			return false, err.Error()
		}
		return conn.Close() == nil, ""
	})
}
