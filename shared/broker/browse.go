package broker

import (
	"context"
	"errors"
	"time"
)

// ErrInUse says that a queue has a consumer already, so that looking through it
// would show a part of it only.
var ErrInUse = errors.New("somebody else is reading the queue")

// MaxBrowse is how many messages one Browse shows at most.
const MaxBrowse = 65535

// Letter is a message as an operator finds it.
type Letter struct {
	Delivery
	Deaths []Death // the latest first; none when it was put where it is
}

// Death tells how a message left a queue that did not want it any more.
type Death struct {
	Queue  string    // that it left
	Reason string    // in RabbitMQ's words: delivery_limit, expired, rejected or maxlen
	Count  int64     // how often it left this queue for this reason
	At     time.Time // the first time, in whole seconds
}

// Browser looks through queues that nobody consumes. It is for operators and
// apart from [Broker], which services are given.
type Browser interface {
	// Browse hands the messages that the queue holds now to handle, in their order
	// and one after the other, and returns nil when it has handed out all of them.
	// What handle acks is gone; everything else is back at its place, in the old
	// order, when Browse returns, or when this process dies. Messages that come
	// meanwhile are not shown.
	//
	// An error of handle ends Browse, which returns it. Other errors: ErrInUse,
	// ErrUnavailable, ErrNoRoute for a queue that is not there, or ctx's.
	Browse(ctx context.Context, queue string, handle func(context.Context, Letter) error) error
}
