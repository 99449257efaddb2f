// Package broker moves messages between the services. Work queues lose no message and
// have delayed retries. Fan-out topics have no delivery guarantee.
//
// # The contract
//
// Publish returns nil only when the message is durably on the queue: it was routed, and
// the broker confirmed it. After any error the message may still arrive. The caller
// publishes it again, and consumers must handle duplicates.
//
// A delivery belongs to the handler until the handler calls Ack. A handler acks only
// after the result of the message is durable elsewhere. An ack after the end of the
// delivery's session fails with [ErrStale] inside this process and never reaches the
// broker. A delivery that is not acked returns to the queue when its consumer closes,
// marked Redelivered. There is no nack.
//
// The loss of the broker ends no call permanently. Consume and Subscribe reconnect by
// themselves, without limit, with a backoff of at most 5 s. Publish fails with
// [ErrUnavailable] within its time limit.
//
// A queue that was lost is declared again by the Broker that declares queues. The hook of
// [Broker.OnSession] then runs with fresh true.
//
// The contract tests for every broker are in the package brokertest.
package broker

import (
	"context"
	"errors"
)

// ErrUnavailable means that the broker cannot be reached, has blocked publishers, or
// did not confirm in time. The message may or may not have arrived.
var ErrUnavailable = errors.New("broker unavailable")

// ErrNoRoute means that there is no such queue: the message is certainly not stored. It
// is also an [ErrUnavailable], because the queue exists again once it is declared.
var ErrNoRoute error = noRouteError{}

type noRouteError struct{}

func (noRouteError) Error() string        { return "no queue of that name" }
func (noRouteError) Is(target error) bool { return target == ErrUnavailable }

// ErrStale means that the delivery's session has ended and that its ack was dropped.
var ErrStale = errors.New("delivery of an ended session")

// Message is a message on a work queue.
type Message struct {
	Body    []byte
	Headers map[string]string // W3C trace context and the like; may be nil
}

// Delivery is a message that one handler processes.
type Delivery struct {
	Message
	// Redelivered reports whether the message was delivered before and not acked: the
	// process that had received or prefetched it ended or lost its session.
	Redelivered bool
	// Ack removes the message from its queue. Call it at most once.
	Ack func() error
}

// Broker is one service's connection to the broker. All methods are safe for concurrent
// use.
type Broker interface {
	// Publish publishes a persistent message to the queue and waits for the broker's
	// confirm. Errors: ErrNoRoute, ErrUnavailable, or the error of ctx. It returns
	// within PublishTimeout + 1 s whatever the broker and the network do. Concurrent
	// publishes do not wait for each other's confirms.
	Publish(ctx context.Context, queue string, m Message) error

	// Consume calls handle for the deliveries of the queue, each in its own goroutine,
	// at most prefetch concurrently. It blocks, through any number of reconnects, until
	// ctx ends, when it returns nil, or until a handler returns an error, which it
	// returns. In both cases it takes no new deliveries, waits for the running
	// handlers, and then closes its channel, so that all unacked messages return to the
	// queue. The context passed to handle has the values of ctx but does not end with
	// it, so that running work can finish during a drain.
	Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, Delivery) error) error

	// Broadcast sends body to all current subscribers of the topic, unconfirmed and
	// transient. It may be lost.
	Broadcast(ctx context.Context, topic string, body []byte) error

	// Subscribe calls handle for every broadcast of the topic, one at a time, until ctx
	// ends; then it returns nil. resumed, if not nil, is called at the start and after
	// every reconnect, as soon as the subscription is active: broadcasts since the loss
	// of the connection are lost.
	Subscribe(ctx context.Context, topic string, resumed func(), handle func([]byte)) error

	// OnSession sets the hook that runs at the start of every session with the broker,
	// before any message is consumed through this Broker. fresh reports that the broker
	// has lost its messages: a work queue or the marker was missing. The marker is a durable, empty queue of that name, declared only after
	// the hook has returned nil with fresh true. A hook that fails runs again after a
	// backoff. Call OnSession once, before the first Consume.
	//
	// owner, if not empty, is the ID of the job store that the messages of this process
	// belong to. The first owner keeps the broker until [OwnerQueue] is deleted. A process
	// with another owner neither publishes nor consumes, and Ready says so.
	OnSession(marker, owner string, hook func(ctx context.Context, fresh bool) error)

	// Depth returns the total number of messages that wait on the queues. It does not
	// count messages that are in flight or prefetched, because not every broker reports
	// them. Errors: ErrNoRoute for a queue that does not exist, ErrUnavailable, or the
	// error of ctx.
	Depth(ctx context.Context, queues ...string) (int, error)

	// Ready returns nil while there is a session that can publish and consume.
	// Otherwise its error describes the problem for an operator.
	Ready() error
}
