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

func TestInvalidConfiguration(t *testing.T) {
	for name, config := range map[string]rabbitmq.Config{
		"no URL":             {},
		"wrong scheme":       {URLs: []string{"http://localhost"}},
		"a bad port":         {URLs: []string{"amqp://user:secret@localhost:port/"}},
		"a bad second URL":   {URLs: []string{"amqp://localhost", "amqp://user:secret@%zz/"}},
		"empty queue name":   {URLs: []string{"amqp://localhost"}, WorkQueues: []string{""}},
		"long queue name":    {URLs: []string{"amqp://localhost"}, WorkQueues: []string{strings.Repeat("q", 201)}},
		"a negative timeout": {URLs: []string{"amqp://localhost"}, PublishTimeout: -1},
		"a negative bound":   {URLs: []string{"amqp://localhost"}, MaxInFlight: -1},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := rabbitmq.Open(config, logger(t))
			if err == nil {
				_ = b.Close()
				t.Fatal("Open returned no error")
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error contains the password: %v", err)
			}
		})
	}
}

// TestAbsentBroker verifies that Open succeeds without a broker: calls return in time,
// Ready reports the reason, and Close returns.
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
	brokertest.Await(t, "Ready reports both connections", func() bool {
		err := b.Ready()
		return isRefused(err) && strings.Contains(err.Error(), "publishing") && strings.Contains(err.Error(), "consuming")
	})
	if strings.Contains(b.Ready().Error(), "secret") {
		t.Errorf("Ready contains the password: %v", b.Ready())
	}
	start := time.Now()
	err = b.Publish(t.Context(), "q", brokertest.Text("x"))
	if !errors.Is(err, broker.ErrUnavailable) || !isRefused(err) || time.Since(start) > 1200*time.Millisecond {
		t.Errorf("Publish = %v after %s; want ErrUnavailable with its reason within 1.2s", err, time.Since(start))
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

// TestUnresponsiveListener verifies that Close ends a handshake with a server that
// sends no response.
func TestUnresponsiveListener(t *testing.T) {
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
	start := time.Now()
	if err := b.Close(); err != nil || time.Since(start) > 2*time.Second {
		t.Errorf("Close = %v after %s, want nil and at most %v", err, time.Since(start), 2*time.Second)
	}
}

// TestSecondURL verifies that the nodes of a cluster are tried in turn.
func TestSecondURL(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{"amqp://127.0.0.1:1", serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	brokertest.Publish(t, b, q, brokertest.Text("x"))
}

// TestNodesFailOver verifies that the Broker switches to the next node after a loss,
// and back to the first after the next loss.
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
		for brokertest.Receive(t, got, body) != body { //nolint:revive // Skips redelivered messages whose ack was lost.
		}
		brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
	}
}

// TestNodesSpread verifies that Brokers with the same URLs use all nodes.
func TestNodesSpread(t *testing.T) {
	t.Parallel()
	first, firstURL := startProxy(t)
	second, secondURL := startProxy(t)
	for range 24 { // All on one node would be a coincidence of 1 in 8 million.
		openWith(t, rabbitmq.Config{URLs: []string{firstURL, secondURL}})
	}
	for name, p := range map[string]*proxy{"first": first, "second": second} {
		brokertest.Await(t, "a connection to the "+name+" node", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.conns) > 0
		})
	}
}

// TestOversizedMessages verifies that messages that exceed the limits of AMQP frames are
// rejected before they break the connection.
func TestOversizedMessages(t *testing.T) {
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
		"a huge body":      func() error { return b.Publish(t.Context(), q, broker.Message{Body: make([]byte, 9<<20)}) },
		"a long topic":     func() error { return b.Broadcast(t.Context(), long, nil) },
		"a huge broadcast": func() error { return b.Broadcast(t.Context(), brokertest.Topic(q), make([]byte, 9<<20)) },
	} {
		if err := publish(); err == nil || errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("%s: %v, want an error that is not ErrUnavailable", name, err)
		}
	}
	if err := b.Publish(t.Context(), q, brokertest.Text("x")); err != nil {
		t.Errorf("Publish after that = %v", err)
	}
}

// TestTLS connects to a server that accepts only TLS and has its own certificate.
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
	t.Run("authority of the URL", func(t *testing.T) { // takes precedence
		u.RawQuery = url.Values{"cacertfile": {authority.File()}}.Encode()
		works(t, rabbitmq.Config{Roots: tlstest.NewAuthority(t).Pool()})
	})
	for name, c := range map[string]rabbitmq.Config{
		"unknown authority": {Roots: tlstest.NewAuthority(t).Pool()}, "system authorities": {},
	} {
		t.Run(name, func(t *testing.T) {
			u.RawQuery = ""
			c.URLs = []string{u.String()}
			untrusting := openWith(t, c)
			brokertest.Await(t, "the certificate is rejected", func() bool {
				err := untrusting.Ready()
				return err != nil && strings.Contains(err.Error(), "certificate signed by unknown authority")
			})
		})
	}
}
