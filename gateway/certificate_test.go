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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// diary is a log that is read while it is written.
type diary struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.Write(p)
}

func (d *diary) count(text string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Count(d.b.String(), text)
}

// start runs a gateway over parts in this process until the test ends.
func start(t *testing.T, environ ...string) (*gateway.Service, *diary) {
	t.Helper()
	s, log, err := begin(t, environ...)
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

func begin(t *testing.T, environ ...string) (*gateway.Service, *diary, error) {
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
	broker := membroker.New(pipeline.ImageUpload.Name, pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name)
	t.Cleanup(func() { must(t, broker.Close()) })
	log := &diary{}
	s, err := gateway.New(t.Context(), c, gateway.Deps{
		Broker: broker, Originals: originals, Processed: processed, Log: slog.New(slog.NewJSONHandler(log, nil)), Metrics: telemetry.NewRegistry(),
	})
	return s, log, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair is a certificate and its key in files.
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

// put replaces a file as a careful program does: by a new one.
func (p pair) put(t *testing.T, file string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(file+".new", data, 0o600))
	must(t, os.Rename(file+".new", file))
}

func (p pair) environ() []string {
	return []string{"TLS_CERT_FILE=" + p.cert, "TLS_KEY_FILE=" + p.key}
}

// secure is a client that trusts the authority; each request takes a connection of
// its own.
func secure(t *testing.T, c *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// ask returns what an answer said, and the certificate that was shown with it.
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
		t.Fatalf("POST: %s %s %s", resp.Proto, resp.Status, text)
	}
	var created struct {
		JobID string `json:"job_id"`
	}
	must(t, json.Unmarshal([]byte(text), &created))
	if resp, text := ask(t, client, "GET", url+"/api/v1/batch/"+created.JobID, ""); resp.StatusCode != 200 || !strings.Contains(text, created.JobID) {
		t.Errorf("GET: %s %s", resp.Status, text)
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
		_ = resp.Body.Close() // a 101 has none
		frame := make([]byte, 100)
		_, err = io.ReadFull(in, frame)
		must(t, err)
		if resp.StatusCode != 101 || !bytes.Contains(frame, []byte(`"type":"progress"`)) {
			t.Errorf("%s, then %q", resp.Status, frame)
		}
	})
	t.Run("old TLS", func(t *testing.T) {
		_, err := (&tls.Dialer{Config: &tls.Config{RootCAs: authority.Pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}}). //nolint:gosec // That is what is refused.
																			DialContext(t.Context(), "tcp", s.Addr().String())
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("TLS 1.1: %v", err)
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		resp, text := ask(t, secure(t, nil), "GET", "http://"+s.Addr().String()+"/", "")
		if want := `{"error":"This address speaks HTTPS only","status":400}` + "\n"; resp.StatusCode != 400 || text != want {
			t.Errorf("%s %s", resp.Status, text)
		}
	})
	t.Run("health", func(t *testing.T) {
		t.Setenv("HTTP_ADDR", s.Addr().String())
		t.Setenv("TLS_CERT_FILE", files.cert)
		if code := (service.Program{Name: "gateway", SpeaksTLS: true}).Main([]string{"health"}); code != 0 {
			t.Errorf("health ends with %d", code)
		}
	})
}

// A client that has begun a handshake and not ended it holds up nobody.
func TestAHandshakeThatStands(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	s, _ := start(t, newPair(t, authority).environ()...)
	for range 10 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
		must(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte{22, 3, 1}) // the beginning of a ClientHello
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
		t.Error("another certificate without a change")
	}
	certificate, key := authority.Issue()
	files.put(t, files.cert, certificate) // Its key is not there yet.
	for range 2 {
		if shown() != first {
			t.Error("half a pair was shown")
		}
	}
	if n := log.count("certificate not loaded"); n != 1 {
		t.Errorf("one fault was logged %d times", n)
	}
	files.put(t, files.key, key)
	second := shown()
	if second == first {
		t.Error("the new pair is not shown")
	}
	must(t, os.Remove(files.cert))
	if shown() != second {
		t.Error("what is shown changed when the file was gone")
	}
	if n := log.count("certificate not loaded"); n != 2 {
		t.Errorf("two faults were logged %d times", n)
	}
	files.put(t, files.cert, certificate)
	if shown() != second {
		t.Error("the pair that came back is not shown")
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
		_, _, err := begin(t, "TLS_CERT_FILE="+c.cert, "TLS_KEY_FILE="+c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: %v, want %s", c.cert, c.key, err, c.want)
		}
	}
}
