package rabbitmq_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// server is the URL of the server under test, or "" if there is none.
var server = os.Getenv("TEST_RABBITMQ_URL")

// TestMain creates a vhost for the tests if rabbitmqctl is available, because the dead
// letters of all work queues share one queue of a vhost.
func TestMain(m *testing.M) {
	vhost, cleanUp := "rabbitmq-test-"+rand.Text(), func() error { return nil }
	if u, err := url.Parse(server); err == nil && server != "" && os.Getenv("TEST_RABBITMQCTL") != "" {
		for _, command := range [][]string{
			{"add_vhost", vhost}, {"set_permissions", "--vhost", vhost, u.User.Username(), ".*", ".*", ".*"},
		} {
			if out, err := operate(context.Background(), command...); err != nil {
				fmt.Fprintf(os.Stderr, "rabbitmqctl %v: %v\n%s", command, err, out)
				os.Exit(1)
			}
		}
		u.Path = "/" + vhost
		server = u.String()
		cleanUp = func() error {
			_, err := operate(context.Background(), "delete_vhost", vhost)
			return err
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := cleanUp(); err != nil {
			fmt.Fprintf(os.Stderr, "delete vhost %s: %v\n", vhost, err)
			code = 1
		}
		os.Exit(code)
	}))
}

// serverURL returns the URL of the server, or skips the test if there is none.
func serverURL(t testing.TB) string {
	t.Helper()
	if server == "" {
		t.Skip("TEST_RABBITMQ_URL is not set")
	}
	return server
}

func operate(ctx context.Context, args ...string) ([]byte, error) {
	//nolint:gosec // G204: The tool is set by the user who runs the tests.
	return exec.CommandContext(ctx, os.Getenv("TEST_RABBITMQCTL"), args...).CombinedOutput()
}

// needTool skips the test if rabbitmqctl is not available.
func needTool(t *testing.T) {
	t.Helper()
	if os.Getenv("TEST_RABBITMQCTL") == "" {
		t.Skip("TEST_RABBITMQCTL is not set")
	}
}

// rabbitmqctl runs rabbitmqctl on the server, or skips the test if it is not available.
func rabbitmqctl(t *testing.T, args ...string) string {
	t.Helper()
	needTool(t)
	out, err := operate(context.WithoutCancel(t.Context()), args...)
	if err != nil {
		t.Fatalf("rabbitmqctl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// opened has all work queues that tests have opened.
var opened sync.Map

// open starts a Broker that declares, and deletes its queues after the test.
func open(t testing.TB, workQueues ...string) broker.Broker {
	t.Helper()
	return openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: workQueues})
}

// openWith starts a Broker, and deletes its queues after the test has closed all Brokers that use them. If a queue is deleted while it is
// declared, RabbitMQ before 4.3.3 can lose the process that starts all its dead-letter workers, and with it all our queues.
func openWith(t testing.TB, config rabbitmq.Config) *rabbitmq.Broker {
	t.Helper()
	config.Name = t.Name()
	var first []string // cleanups run in reverse order
	for _, q := range config.WorkQueues {
		if _, again := opened.LoadOrStore(q, nil); !again {
			first = append(first, q)
		}
	}
	b, err := rabbitmq.Open(config, logger(t))
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		forget(t, first...)
	})
	return b
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// admin returns a channel that is independent of the Broker.
func admin(t *testing.T) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(serverURL(t))
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatalf("open channel: %v", err)
	}
	return ch
}

func forget(t testing.TB, workQueues ...string) {
	t.Helper()
	conn, err := amqp.Dial(serverURL(t))
	if err != nil {
		t.Errorf("dial: %v", err)
		return
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Errorf("open channel: %v", err)
		return
	}
	for _, q := range workQueues {
		for _, spec := range broker.Topology(q) {
			if spec.Work == q {
				_, _ = ch.QueueDelete(spec.Name, false, false, false)
			}
		}
		_, _ = ch.QueueDelete("marker-"+q, false, false, false)
		for _, exchange := range []string{broker.DeadQueue(q), brokertest.Topic(q), brokertest.Topic(q) + ".other"} {
			_ = ch.ExchangeDelete(exchange, false, false)
		}
	}
}

func TestSuite(t *testing.T) {
	t.Parallel()
	serverURL(t)
	brokertest.Run(t, func(t *testing.T, workQueues ...string) broker.Broker { return open(t, workQueues...) })
}
