package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// messageFaults happen to the messages themselves.
var messageFaults = []fault{
	{"messages meddled with", 5, 2 * time.Second, func(ctx context.Context, r *run, b blow) error {
		return r.meddle(ctx, workQueues[b.draw.IntN(len(workQueues))], b)
	}},
}

// workQueues are those on the straight line.
var workQueues = []string{"image_upload", "metadata_generated", "image_processed"}

// meddled bounds the messages that one blow takes, and with it what they become:
// a message that was put back may be taken again.
const meddled = 16

// meddle takes some messages out of a work queue as one of its consumers does,
// keeps each for a time of its own, so that they come late and in another order,
// and publishes it once, twice or five times. As everybody here it acks only what
// was confirmed; whatever goes wrong, the broker still has the message.
func (r *run) meddle(ctx context.Context, queue string, b blow) error {
	r.history.note("fault", b.String(), "in "+queue, nil)
	meddler, err := r.open(queue) //nolint:contextcheck // Close ends it.
	if err != nil {
		return err
	}
	defer func() { _ = meddler.Close() }() // the broker may be away
	taking, stop := context.WithTimeout(ctx, b.lasts)
	defer stop()
	hands := &hands{random: b.draw, stop: stop}
	err = meddler.Consume(taking, queue, meddled, func(ctx context.Context, d broker.Delivery) error {
		late, copies, ok := hands.take(b.lasts)
		if !ok {
			return nil // back to the queue when the consumer closes
		}
		pause(ctx, late)
		for range copies {
			if err := meddler.Publish(ctx, queue, d.Message); err != nil {
				return nil //nolint:nilerr // The broker is away, and has the message.
			}
		}
		_ = d.Ack() // of a session that may be over: then there is one message more
		return nil
	})
	r.history.note("fault", b.String(), "meddled", hands.taken)
	if err == nil && hands.taken == 0 {
		return fmt.Errorf("no message came by in %s", queue)
	}
	return err
}

// open connects to the broker as a service does that uses the queue, past all
// wires.
func (r *run) open(queue string) (*rabbitmq.Broker, error) {
	return rabbitmq.Open(rabbitmq.Config{
		URLs: []string{r.servers.broker.String()}, Name: "meddler", WorkQueues: []string{queue},
	}, slog.New(slog.DiscardHandler))
}

// hands are the meddler's.
type hands struct {
	stop func() // taking

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	taken  int
}

// take says what is to become of a message.
func (h *hands) take(longest time.Duration) (late time.Duration, copies int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taken == meddled {
		h.stop()
		return 0, 0, false
	}
	h.taken++
	return time.Duration(h.random.Int64N(int64(longest))), []int{1, 1, 2, 2, 5}[h.random.IntN(5)], true
}
