package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// inspector runs the inspections of all callers, one at a time. The client library's requests
// cannot be given up, so a broker that does not respond keeps this goroutine, until rpcTimeout
// ends the session, and no caller.
type inspector chan func()

func (i inspector) run(ctx context.Context) {
	for {
		select {
		case do := <-i:
			do()
		case <-ctx.Done():
			return
		}
	}
}

// Inspect returns the states of the queues; see broker.Browser. It waits up to PublishTimeout
// for a session.
func (b *Broker) Inspect(ctx context.Context, queues ...string) (map[string]broker.QueueState, error) {
	type reply struct {
		states map[string]broker.QueueState
		err    error
	}
	replies := make(chan reply, 1)
	inspect := func() {
		states, err := b.states(ctx, queues)
		replies <- reply{states, err}
	}
	var got reply
	select {
	case b.inspector <- inspect:
		select {
		case got = <-replies:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	case <-b.consuming.closed:
		got.err = errClosed
	}
	switch err := got.err; {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("inspect queues: %w", ctx.Err())
	case err == nil:
		return got.states, nil
	case errors.Is(err, broker.ErrUnavailable):
		return nil, fmt.Errorf("inspect queues: %w", err)
	default:
		return nil, fmt.Errorf("inspect queues: %w: %w", broker.ErrUnavailable, err)
	}
}

// states requests the state of each queue.
func (b *Broker) states(ctx context.Context, queues []string) (map[string]broker.QueueState, error) {
	b.routine.use()
	waiting, cancel := context.WithTimeout(ctx, b.config.PublishTimeout)
	defer cancel()
	s, err := b.consuming.await(waiting, true)
	if err != nil {
		return nil, err
	}
	v := &survey{session: s}
	defer v.close()
	states := map[string]broker.QueueState{}
	for _, name := range queues {
		found, q, err := v.inspect(name)
		switch {
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case found:
			states[name] = broker.QueueState{Waiting: q.Messages, Consumers: q.Consumers}
		}
	}
	return states, nil
}
