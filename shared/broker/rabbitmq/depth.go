package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// Depth returns the number of waiting messages; see broker.Broker. It waits up to
// PublishTimeout for a session. Each request has the same time limit as all requests.
func (b *Broker) Depth(ctx context.Context, queues ...string) (int, error) {
	depth, err := b.depth(ctx, queues)
	switch {
	case err == nil:
		return depth, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case !errors.Is(err, broker.ErrUnavailable):
		err = fmt.Errorf("%w: %w", broker.ErrUnavailable, err)
	}
	return 0, fmt.Errorf("read depth of queues: %w", err)
}

func (b *Broker) depth(ctx context.Context, queues []string) (int, error) {
	b.routine.use()
	waiting, cancel := context.WithTimeout(ctx, b.config.PublishTimeout)
	defer cancel()
	s, err := b.consuming.await(waiting, true)
	if err != nil {
		return 0, err
	}
	v := &survey{session: s}
	defer v.close()
	depth := 0
	for _, name := range queues {
		found, ready, err := v.depth(name)
		switch {
		case err != nil:
			return 0, err
		case !found:
			return 0, fmt.Errorf("%s: %w", name, broker.ErrNoRoute)
		case ctx.Err() != nil:
			return 0, ctx.Err()
		}
		depth += ready
	}
	return depth, nil
}
