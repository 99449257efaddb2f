package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// lent contains the vhosts that lentVhost can lend.
var (
	lent     = make(chan string, 4)
	fillLent = sync.OnceValue(func() error {
		if os.Getenv("TEST_RABBITMQCTL") == "" { // Only one test at a time uses the broker.
			lent <- os.Getenv("TEST_RABBITMQ_URL")
			return nil
		}
		for range cap(lent) {
			broker, err := makeVhost(context.Background(), "standalone-"+strings.ToLower(rand.Text()))
			if err != nil {
				return err
			}
			lent <- broker
		}
		return nil
	})
)

// lentVhost returns the URL of a vhost that no other test uses at the same time.
// Queues and messages of earlier tests may be in it, but it belongs to no job store.
func lentVhost(t *testing.T) string {
	t.Helper()
	if os.Getenv("TEST_RABBITMQ_URL") == "" {
		t.Skip("TEST_RABBITMQ_URL is not set")
	}
	if err := fillLent(); err != nil {
		t.Fatal(err)
	}
	broker := <-lent // A test that uses it returns it at its end.
	t.Cleanup(func() { lent <- broker })
	if err := disown(broker); err != nil {
		t.Fatal(err)
	}
	return broker
}

// deleteVhosts deletes the vhosts that were lent.
func deleteVhosts() error {
	if os.Getenv("TEST_RABBITMQCTL") == "" {
		return nil
	}
	for range len(lent) {
		if err := deleteVhost(context.Background(), <-lent); err != nil {
			return err
		}
	}
	return nil
}

// ownVhost returns the URL of a new vhost, which is deleted after the test.
func ownVhost(t *testing.T) string {
	t.Helper()
	if os.Getenv("TEST_RABBITMQ_URL") == "" || os.Getenv("TEST_RABBITMQCTL") == "" {
		t.Skip("TEST_RABBITMQ_URL and TEST_RABBITMQCTL are not set")
	}
	broker, err := makeVhost(t.Context(), "standalone-"+strings.ToLower(rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deleteVhost(context.WithoutCancel(t.Context()), broker); err != nil {
			t.Error(err)
		}
	})
	return broker
}

// makeVhost creates a vhost for the user of TEST_RABBITMQ_URL with one call, because each call of the tool takes a second.
func makeVhost(ctx context.Context, name string) (broker string, err error) {
	u, err := url.Parse(os.Getenv("TEST_RABBITMQ_URL"))
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	all := `<<".*">>`
	return u.String(), evalErlang(ctx, fmt.Sprintf(`ok = rabbit_vhost:add(<<%q>>, <<"test">>), ok = rabbit_auth_backend_internal:set_permissions(<<%q>>, <<%q>>, %s, %s, %s, <<"test">>).`,
		name, u.User.Username(), name, all, all, all))
}

// disown deletes the queue that names the job store that the vhost belongs to.
func disown(address string) error {
	if os.Getenv("TEST_RABBITMQCTL") == "" {
		return nil
	}
	conn, err := amqp.Dial(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDelete(broker.OwnerQueue, false, false, false)
	return err
}

func deleteVhost(ctx context.Context, broker string) error {
	return evalErlang(ctx, fmt.Sprintf(`ok = rabbit_vhost:delete(<<%q>>, <<"test">>).`, vhostOf(broker)))
}

func vhostOf(broker string) string {
	_, name, _ := strings.Cut(strings.TrimPrefix(broker, "amqp://"), "/")
	return name
}

func evalErlang(ctx context.Context, expression string) error {
	if out, err := exec.CommandContext(ctx, os.Getenv("TEST_RABBITMQCTL"), "eval", expression).CombinedOutput(); err != nil { //nolint:gosec // The user who runs the tests chooses the tool.
		return fmt.Errorf("rabbitmqctl eval %s: %w\n%s", expression, err, out)
	}
	return nil
}
