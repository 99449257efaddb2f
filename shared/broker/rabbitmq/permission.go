package rabbitmq

import (
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// lacks adds the permission that the user lacks for a request, on the queue or the
// exchange that the broker names. lacks returns other errors unchanged.
func lacks(err error, onQueue, onExchange string) error {
	refusal, ok := refused(err)
	if !ok {
		return err
	}
	permission, what := onQueue, "queue"
	if strings.Contains(refusal.Reason, "exchange '") {
		permission, what = onExchange, "exchange"
	}
	_, name, _ := strings.Cut(refusal.Reason, what+" '")
	name, _, _ = strings.Cut(name, "'")
	return fmt.Errorf("the user has no %s permission on %s %s: %w", permission, what, name, err)
}

// refused reports whether the broker has denied the user access.
func refused(err error) (*amqp.Error, bool) {
	refusal, ok := errors.AsType[*amqp.Error](err)
	return refusal, ok && refusal.Code == amqp.AccessRefused
}

// The permissions that each kind of request needs, on a queue and on an exchange.
func lacksToCheck(err error) error {
	return lacks(err, "configure, write or read", "configure, write or read")
}                                      // since 4.3
func lacksToDeclare(err error) error   { return lacks(err, "configure or read", "write") }
func lacksToConfigure(err error) error { return lacks(err, "configure", "configure") }
func lacksToBind(err error) error      { return lacks(err, "write", "read") }
func lacksToConsume(err error) error   { return lacks(err, "read", "read") }
func lacksToPublish(err error) error   { return lacks(err, "write", "write") }
