package rabbitmq_test

import (
	"log/slog"
	"os"
	"os/exec"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serverURL is the server of this run, else the test is skipped.
func serverURL(t *testing.T) string {
	t.Helper()
	u := os.Getenv("TEST_RABBITMQ_URL")
	if u == "" {
		t.Skip("TEST_RABBITMQ_URL is not set")
	}
	return u
}

// rabbitmqctl runs the operator's tool on the server, else the test is skipped.
func rabbitmqctl(t *testing.T, args ...string) string {
	t.Helper()
	tool := os.Getenv("TEST_RABBITMQCTL")
	if tool == "" {
		t.Skip("TEST_RABBITMQCTL is not set")
	}
	out, err := exec.Command(tool, args...).CombinedOutput() //nolint:gosec,noctx // the operator of the test names the tool
	if err != nil {
		t.Fatalf("rabbitmqctl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// open starts a Broker that declares, and forgets its queues after the test.
func open(t *testing.T, workQueues ...string) broker.Broker {
	t.Helper()
	return openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: workQueues})
}

func openWith(t *testing.T, config rabbitmq.Config) *rabbitmq.Broker {
	t.Helper()
	config.Name = t.Name()
	b, err := rabbitmq.Open(config, logger(t))
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		forget(t, config.WorkQueues...)
	})
	return b
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// admin gives a channel beside the Broker's own.
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

func forget(t *testing.T, workQueues ...string) {
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
			if spec.Name != broker.DeadResults {
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
	serverURL(t)
	brokertest.Run(t, open)
}
