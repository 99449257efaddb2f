package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
	"github.com/imagebatch/imagebatch/shared/tlstest"
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
	brokertest.Await(t, "Ready tells of both connections", func() bool {
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
		t.Errorf("Close = %v after %s, want nil and at most %v", err, time.Since(began), 2*time.Second)
	}
}

// The nodes of a cluster are tried in turn.
func TestSecondURL(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{"amqp://127.0.0.1:1", serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	brokertest.Publish(t, b, q, brokertest.Text("x"))
}

// A node that is lost is left for the next, and that one for the first again.
func TestNodesFailOver(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	first, firstURL := startProxy(t)
	second, secondURL := startProxy(t)
	b := openWith(t, rabbitmq.Config{URLs: []string{firstURL, secondURL}, Declare: true, WorkQueues: []string{q}})
	got := make(chan string, 64)
	brokertest.Start(t, b, q, 1, func(_ context.Context, d broker.Delivery) error {
		err := d.Ack()
		got <- string(d.Body)
		return err
	})
	for i, lost := range []*proxy{nil, first, second, first} {
		if lost != nil {
			for _, p := range []*proxy{first, second} {
				if p != lost {
					p.open(t)
				}
			}
			lost.down()
		}
		body := fmt.Sprint("message ", i)
		brokertest.Publish(t, b, q, brokertest.Text(body))
		for brokertest.Receive(t, got, body) != body { //nolint:revive // One whose ack was lost comes again.
		}
		brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
	}
}

// What no frame can carry is refused before it costs the connection.
func TestUnfitMessages(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	u, err := url.Parse(serverURL(t))
	if err != nil {
		t.Fatal(err)
	}
	authority := tlstest.NewAuthority(t)
	u.Scheme, u.Host = "amqps", authority.Front(u.Host)
	works := func(t *testing.T, c rabbitmq.Config) {
		q := brokertest.Name()
		c.URLs, c.Declare, c.WorkQueues = []string{u.String()}, true, []string{q}
		b := openWith(t, c)
		brokertest.Publish(t, b, q, brokertest.Text("x"))
		got := make(chan broker.Delivery, 1)
		brokertest.Start(t, b, q, 1, brokertest.Into(got))
		brokertest.Ack(t, brokertest.Receive(t, got, "a delivery over TLS"))
	}
	t.Run("authority of the configuration", func(t *testing.T) {
		works(t, rabbitmq.Config{Roots: authority.Pool()})
	})
	t.Run("authority of the URL", func(t *testing.T) { // It wins.
		u.RawQuery = url.Values{"cacertfile": {authority.File()}}.Encode()
		works(t, rabbitmq.Config{Roots: tlstest.NewAuthority(t).Pool()})
	})
	for name, c := range map[string]rabbitmq.Config{
		"of a stranger": {Roots: tlstest.NewAuthority(t).Pool()}, "unknown to the system": {},
	} {
		t.Run(name, func(t *testing.T) {
			u.RawQuery = ""
			c.URLs = []string{u.String()}
			stranger := openWith(t, c)
			brokertest.Await(t, "the certificate is refused", func() bool {
				err := stranger.Ready()
				return err != nil && strings.Contains(err.Error(), "certificate signed by unknown authority")
			})
		})
	}
}
