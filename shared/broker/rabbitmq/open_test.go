package rabbitmq_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

func TestMalformedConfiguration(t *testing.T) {
	for name, config := range map[string]rabbitmq.Config{
		"no URL":             {},
		"another scheme":     {URLs: []string{"http://localhost"}},
		"a bad port":         {URLs: []string{"amqp://user:secret@localhost:port/"}},
		"a bad second URL":   {URLs: []string{"amqp://localhost", "amqp://user:secret@%zz/"}},
		"an empty queue":     {URLs: []string{"amqp://localhost"}, WorkQueues: []string{""}},
		"too long a queue":   {URLs: []string{"amqp://localhost"}, WorkQueues: []string{strings.Repeat("q", 201)}},
		"a negative timeout": {URLs: []string{"amqp://localhost"}, PublishTimeout: -1},
		"a negative bound":   {URLs: []string{"amqp://localhost"}, MaxInFlight: -1},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := rabbitmq.Open(config, logger(t))
			if err == nil {
				_ = b.Close()
				t.Fatal("Open took it")
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// An absent broker is no error of Open: calls are bounded, Ready says what is
// wrong, and Close ends it.
func TestAbsentBroker(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	absent := "amqp://user:secret@" + listener.Addr().String()
	_ = listener.Close()
	b, err := rabbitmq.Open(rabbitmq.Config{URLs: []string{absent}, WorkQueues: []string{"q"}, PublishTimeout: 200 * time.Millisecond}, logger(t))
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	eventually(t, "Ready tells of both connections", func() bool {
		err := b.Ready()
		return isRefused(err) && strings.Contains(err.Error(), "publishing") && strings.Contains(err.Error(), "consuming")
	})
	if strings.Contains(b.Ready().Error(), "secret") {
		t.Errorf("Ready tells the password: %v", b.Ready())
	}
	began := time.Now()
	err = b.Publish(t.Context(), "q", brokertest.Text("x"))
	if !errors.Is(err, broker.ErrUnavailable) || !isRefused(err) || time.Since(began) > 1200*time.Millisecond {
		t.Errorf("Publish = %v after %s; want ErrUnavailable and its reason within 200ms", err, time.Since(began))
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Publish(ctx, "q", brokertest.Text("x")) }()
	cancel()
	if err := brokertest.Receive(t, ended, "Publish"); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish = %v, want context.Canceled", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// A silent listener is as good as none: the handshake is bounded by Close.
func TestSilentListener(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	b, err := rabbitmq.Open(rabbitmq.Config{URLs: []string{"amqp://" + listener.Addr().String()}}, logger(t))
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	if err := b.Close(); err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("Close = %v after %s", err, time.Since(began))
	}
}

// The nodes of a cluster are tried in turn.
func TestSecondURL(t *testing.T) {
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{"amqp://127.0.0.1:1", serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	brokertest.Publish(t, b, q, brokertest.Text("x"))
}

// What no frame can carry is refused before it costs the connection.
func TestUnfitMessages(t *testing.T) {
	q := brokertest.Name()
	b := open(t, q)
	brokertest.Publish(t, b, q, brokertest.Text("x"))
	long := strings.Repeat("x", 300)
	for name, publish := range map[string]func() error{
		"no name":     func() error { return b.Publish(t.Context(), "", brokertest.Text("x")) },
		"a long name": func() error { return b.Publish(t.Context(), long, brokertest.Text("x")) },
		"a long key":  func() error { return b.Publish(t.Context(), q, broker.Message{Headers: map[string]string{long: "v"}}) },
		"long headers": func() error {
			return b.Publish(t.Context(), q, broker.Message{Headers: map[string]string{"k": strings.Repeat(long, 200)}})
		},
		"a huge body":   func() error { return b.Publish(t.Context(), q, broker.Message{Body: make([]byte, 9<<20)}) },
		"a long topic":  func() error { return b.Broadcast(t.Context(), long, nil) },
		"a huge notice": func() error { return b.Broadcast(t.Context(), brokertest.Topic(q), make([]byte, 9<<20)) },
	} {
		if err := publish(); err == nil || errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("%s: %v, want an error that is not ErrUnavailable", name, err)
		}
	}
	if err := b.Publish(t.Context(), q, brokertest.Text("x")); err != nil {
		t.Errorf("Publish after that = %v", err)
	}
}

// A server that takes nothing but TLS, and shows a certificate of its own.
func TestTLS(t *testing.T) {
	u, err := url.Parse(serverURL(t))
	if err != nil {
		t.Fatal(err)
	}
	certificate, authority := selfSigned(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	plain := u.Host
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer client.Close()
				server, err := net.Dial("tcp", plain) //nolint:noctx // ended by closing it
				if err != nil {
					return
				}
				running.Go(func() {
					defer server.Close()
					_, _ = io.Copy(server, client)
				})
				_, _ = io.Copy(client, server)
			})
		}
	})
	u.Scheme, u.Host = "amqps", listener.Addr().String()
	q := brokertest.Name()

	u.RawQuery = url.Values{"cacertfile": {authority}}.Encode()
	b := openWith(t, rabbitmq.Config{URLs: []string{u.String()}, Declare: true, WorkQueues: []string{q}})
	brokertest.Publish(t, b, q, brokertest.Text("x"))
	got := make(chan broker.Delivery, 1)
	brokertest.Start(t, b, q, 1, brokertest.Into(got))
	brokertest.Ack(t, brokertest.Receive(t, got, "a delivery over TLS"))

	u.RawQuery = ""
	stranger := openWith(t, rabbitmq.Config{URLs: []string{u.String()}})
	eventually(t, "an unknown certificate is refused", func() bool {
		err := stranger.Ready()
		return err != nil && strings.Contains(err.Error(), "certificate")
	})
}

// selfSigned makes a certificate for 127.0.0.1 and writes it to a file.
func selfSigned(t *testing.T) (certificate tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
