package broker

import (
	"context"
	"errors"
	"time"
)

// ErrInUse means that a queue already has a consumer, so that Browse would show only
// part of its messages.
var ErrInUse = errors.New("queue is in use by another reader")

// MaxBrowse is the maximum number of messages that one Browse shows.
const MaxBrowse = 65535

// Letter is a message that Browse found.
type Letter struct {
	Delivery
	Deaths []Death // the latest first; empty for a message that was published to this queue
}

// Death describes why a message left a queue.
type Death struct {
	Queue  string    // the queue that it left
	Reason string    // RabbitMQ's term: delivery_limit, expired, rejected or maxlen
	Count  int64     // how often it left this queue for this reason
	At     time.Time // time of the first death, in whole seconds
}

// QueueState is the state of a queue at one moment.
type QueueState struct {
	Waiting   int // messages on the queue, without those that are in flight or prefetched
	Consumers int
}

// Browser inspects queues, and reads those that have no consumer. It is for operators, and
// separate from [Broker], which is for services.
type Browser interface {
	// Inspect returns the states of those of the queues that exist, by name. It returns when
	// ctx ends, whatever the broker and the network do. Errors: ErrUnavailable, or the error
	// of ctx.
	Inspect(ctx context.Context, queues ...string) (map[string]QueueState, error)

	// Browse calls handle for the messages that are on the queue now, in order and one
	// at a time, and returns nil after the last one, or after the first most, of which
	// it may hold all in memory. A message that handle acks is removed. All others are
	// back when Browse returns, or when this process dies, and in the old order if each
	// Browse has the same most. Browse does not show messages that arrive in the meantime.
	//
	// An error of handle ends Browse, which returns it. Other errors: ErrInUse,
	// ErrUnavailable, ErrNoRoute for a queue that does not exist, or the error of ctx.
	Browse(ctx context.Context, queue string, most int, handle func(context.Context, Letter) error) error
}
