// Package broker moves messages between the services: work queues that lose
// nothing, with delayed retries, and fan-out topics that promise nothing.
//
// # The contract
//
// Publish returns nil only when the message is on the queue for good: it was
// routed, and the broker confirmed it. Any error means "perhaps": the message
// may still arrive, and the caller publishes again; consumers bear duplicates.
//
// A delivery belongs to the handler until the handler calls Ack. A handler acks
// only after what the message asked for is durable elsewhere. An ack that comes
// after the session of the delivery has ended fails with [ErrStale] inside this
// process and never reaches the broker. A delivery that is never acked goes back
// to the queue when its consumer closes, marked Redelivered. There is no nack.
//
// Losing the broker ends no call for good: Consume and Subscribe come back by
// themselves, for ever, with a back-off of at most 5 s; Publish fails with
// [ErrUnavailable] within its bound.
//
// A queue that is lost, or that answers nothing for minutes while the broker serves
// others, is declared anew by the one who declares, and the hook of
// [Broker.OnSession] is told, as fresh.
//
// Every suite that a broker must pass is in the package brokertest.
package broker

import (
	"context"
	"errors"
)

// ErrUnavailable says that the broker cannot be reached, has blocked publishers,
// or did not confirm in time. The message may or may not have arrived.
var ErrUnavailable = errors.New("broker unavailable")

// ErrNoRoute says that no queue took the message: it is certainly not stored.
// It is an [ErrUnavailable] too: the queue comes back when it is declared again.
var ErrNoRoute error = noRouteError{}

type noRouteError struct{}

func (noRouteError) Error() string        { return "no queue of that name" }
func (noRouteError) Is(target error) bool { return target == ErrUnavailable }

// ErrStale says that a delivery's session is over, so that its ack was dropped.
var ErrStale = errors.New("delivery of an ended session")

// Message is what a work queue carries.
type Message struct {
	Body    []byte
	Headers map[string]string // W3C trace context and the like; may be nil
}

// Delivery is a message in the hands of one handler.
type Delivery struct {
	Message
	// Redelivered says that the message was delivered before and not acked: the
	// process that had it, or one that had prefetched it, went away.
	Redelivered bool
	// Ack removes the message from its queue. It is called at most once.
	Ack func() error
}

// Broker is one service's connection to the broker. All methods may be called
// from many goroutines at once.
type Broker interface {
	// Publish puts a message on the queue, persistent, and waits for the broker's
	// confirm. Errors: ErrNoRoute, ErrUnavailable, or ctx's. It returns within
	// PublishTimeout + 1 s whatever the broker and the network do. Many goroutines
	// publish side by side; their confirms are awaited together.
	Publish(ctx context.Context, queue string, m Message) error

	// Consume hands deliveries of the queue to handle, each in its own goroutine,
	// at most prefetch at once. It blocks until ctx ends (it returns nil) or a
	// handler returns an error (it returns that error), through any number of
	// reconnects. In both cases it takes no new deliveries, waits for the handlers
	// that run, and then closes its channel: what was not acked goes back to the
	// queue. The context given to handle keeps ctx's values but is not ended with
	// ctx: a drain lets running work finish.
	Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, Delivery) error) error

	// Broadcast sends body to whoever is subscribed to the topic now, unconfirmed
	// and transient. It may be lost.
	Broadcast(ctx context.Context, topic string, body []byte) error

	// Subscribe hands every broadcast of the topic to handle, one at a time,
	// until ctx ends (it returns nil). resumed, when it is not nil, is called at the
	// start and after every reconnect, once the subscription stands: what was
	// broadcast meanwhile is lost.
	Subscribe(ctx context.Context, topic string, resumed func(), handle func([]byte)) error

	// OnSession sets the hook that is run at the start of every session with the
	// broker, before anything is consumed through this Broker. fresh says that the
	// broker has forgotten what it held: the marker (a durable, empty queue of
	// that name, written only after the hook has returned nil with fresh true) or
	// one of the work queues was missing, or answered nothing. A hook that fails is run again, after a
	// back-off. It is called once, before the first Consume.
	OnSession(marker string, hook func(ctx context.Context, fresh bool) error)

	// Depth is how many messages wait on the queues together. Those that are in hand
	// or prefetched are not among them: not every broker tells of these. Errors:
	// ErrNoRoute for a queue that is not there, ErrUnavailable, or ctx's.
	Depth(ctx context.Context, queues ...string) (int, error)

	// Ready is nil while there is a session that can publish and consume, else it
	// says what is missing, for an operator.
	Ready() error
}
