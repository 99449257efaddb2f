package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/tlstest"
)

func TestMain(m *testing.M) {
	if !gateway.ServeScale() {
		goleak.VerifyTestMain(m)
	}
}

// logBuffer collects a log and can be read while the log is written.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (d *logBuffer) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.Write(p)
}

func (d *logBuffer) count(text string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Count(d.b.String(), text)
}

// start runs a gateway with in-process dependencies until the test ends.
func start(t *testing.T, environ ...string) (*gateway.Service, *logBuffer) {
	t.Helper()
	s, log, err := newGateway(t, environ...)
	must(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, log
}

func newGateway(t *testing.T, environ ...string) (*gateway.Service, *logBuffer, error) {
	t.Helper()
	environ = append([]string{"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir()}, environ...)
	c, err := service.Load(environ, func(c *gateway.Config) (err error) {
		*c, err = c.Complete()
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	originals, err := dirstore.Open(t.TempDir())
	must(t, err)
	processed, err := dirstore.Open(t.TempDir())
	must(t, err)
	broker := membroker.New(pipeline.WorkQueues()...)
	t.Cleanup(func() { must(t, broker.Close()) })
	log := &logBuffer{}
	s, err := gateway.New(t.Context(), c, gateway.Deps{
		Broker: broker, Browser: broker, Originals: originals, Processed: processed, Log: slog.New(slog.NewJSONHandler(log, nil)), Metrics: telemetry.NewRegistry(),
	})
	return s, log, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair is a certificate file and its key file.
type pair struct{ cert, key string }

func newPair(t *testing.T, a *tlstest.Authority) pair {
	t.Helper()
	dir := t.TempDir()
	p := pair{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	certificate, key := a.Issue()
	p.put(t, p.cert, certificate)
	p.put(t, p.key, key)
	return p
}

// put replaces a file atomically, by renaming a new one.
func (p pair) put(t *testing.T, file string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(file+".new", data, 0o600))
	must(t, os.Rename(file+".new", file))
}

func (p pair) environ() []string {
	return []string{"TLS_CERT_FILE=" + p.cert, "TLS_KEY_FILE=" + p.key}
}

// secure returns a client with the TLS configuration c that opens a connection for each
// request.
func secure(t *testing.T, c *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// ask sends a request and returns the response and its body.
func ask(t *testing.T, client *http.Client, method, url, body string) (resp *http.Response, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must(t, err)
	resp, err = client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(data)
}

func TestHTTPS(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	files := newPair(t, authority)
	s, _ := start(t, files.environ()...)
	url := "https://" + s.Addr().String()
	client := secure(t, &tls.Config{RootCAs: authority.Pool()})

	var b bytes.Buffer
	must(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))))
	resp, text := ask(t, client, "POST", url+"/api/v1/batch", fmt.Sprintf(`{"images":[{"base64":%q}]}`, base64.StdEncoding.EncodeToString(b.Bytes())))
	if resp.StatusCode != 201 || resp.Proto != "HTTP/1.1" {
		t.Fatalf("POST: got %s %s %s, want HTTP/1.1 and 201", resp.Proto, resp.Status, text)
	}
	var created struct {
		JobID string `json:"job_id"`
	}
	must(t, json.Unmarshal([]byte(text), &created))
	if resp, text := ask(t, client, "GET", url+"/api/v1/batch/"+created.JobID, ""); resp.StatusCode != 200 || !strings.Contains(text, created.JobID) {
		t.Errorf("GET: got %s %s, want 200", resp.Status, text)
	}

	t.Run("wss", func(t *testing.T) {
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: authority.Pool()}}).DialContext(t.Context(), "tcp", s.Addr().String())
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = fmt.Fprintf(conn, "GET /api/v1/batch/%s/ws HTTP/1.1\r\nHost: %[2]s\r\nOrigin: https://%[2]s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", created.JobID, s.Addr())
		must(t, err)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		must(t, err)
		_ = resp.Body.Close() // a 101 has no body
		frame := make([]byte, 100)
		_, err = io.ReadFull(in, frame)
		must(t, err)
		if resp.StatusCode != 101 || !bytes.Contains(frame, []byte(`"type":"progress"`)) {
			t.Errorf("got %s, then %q; want 101 and a progress frame", resp.Status, frame)
		}
	})
	t.Run("old TLS", func(t *testing.T) {
		_, err := (&tls.Dialer{Config: &tls.Config{RootCAs: authority.Pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}}). //nolint:gosec // The test verifies that it is rejected.
																			DialContext(t.Context(), "tcp", s.Addr().String())
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("TLS 1.1: got %v, want an error about the protocol version", err)
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		resp, text := ask(t, secure(t, nil), "GET", "http://"+s.Addr().String()+"/", "")
		if want := `{"error":"This address speaks HTTPS only","status":400}` + "\n"; resp.StatusCode != 400 || text != want {
			t.Errorf("got %s %s, want 400 and %s", resp.Status, text, want)
		}
	})
	t.Run("health", func(t *testing.T) {
		t.Setenv("HTTP_ADDR", s.Addr().String())
		t.Setenv("TLS_CERT_FILE", files.cert)
		if code := (service.Program{Name: "gateway", SpeaksTLS: true}).Main([]string{"health"}); code != 0 {
			t.Errorf("health: exit code %d, want 0", code)
		}
	})
}

// A client that has started a handshake and does not finish it must block no other client.
func TestAHandshakeThatStands(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	s, _ := start(t, newPair(t, authority).environ()...)
	for range 10 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
		must(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte{22, 3, 1}) // the first bytes of a ClientHello
		must(t, err)
	}
	resp, _ := ask(t, secure(t, &tls.Config{RootCAs: authority.Pool()}), "GET", "https://"+s.Addr().String()+"/healthz", "")
	if resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestARenewedCertificate(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	files := newPair(t, authority)
	s, log := start(t, files.environ()...)
	client := secure(t, &tls.Config{RootCAs: authority.Pool()})
	shown := func() string {
		resp, _ := ask(t, client, "GET", "https://"+s.Addr().String()+"/healthz", "")
		return resp.TLS.PeerCertificates[0].SerialNumber.String()
	}
	first := shown()
	if shown() != first {
		t.Error("the certificate changed although the files did not")
	}
	certificate, key := authority.Issue()
	files.put(t, files.cert, certificate) // The key is not replaced yet.
	for range 2 {
		if shown() != first {
			t.Error("a certificate without its key was used")
		}
	}
	if n := log.count("certificate not loaded"); n != 1 {
		t.Errorf("one error was logged %d times, want 1", n)
	}
	files.put(t, files.key, key)
	second := shown()
	if second == first {
		t.Error("the new pair is not used")
	}
	must(t, os.Remove(files.cert))
	if shown() != second {
		t.Error("the certificate changed when the file was deleted")
	}
	if n := log.count("certificate not loaded"); n != 2 {
		t.Errorf("two errors were logged %d times, want 2", n)
	}
	files.put(t, files.cert, certificate)
	if shown() != second {
		t.Error("the restored pair is not used")
	}
}

func TestACertificateThatIsNone(t *testing.T) {
	files := newPair(t, tlstest.NewAuthority(t))
	other := newPair(t, tlstest.NewAuthority(t))
	for _, c := range []struct{ cert, key, want string }{
		{files.cert, "", "TLS_CERT_FILE and TLS_KEY_FILE: set both, or neither"},
		{"", files.key, "TLS_CERT_FILE and TLS_KEY_FILE: set both, or neither"},
		{files.cert, other.key, "private key does not match"},
		{files.cert + "x", files.key, "no such file"},
	} {
		_, _, err := newGateway(t, "TLS_CERT_FILE="+c.cert, "TLS_KEY_FILE="+c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: got %v, want %q", c.cert, c.key, err, c.want)
		}
	}
}
