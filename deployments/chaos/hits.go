package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// maxTampered limits the messages that one injection takes: a message that was published
// again may be taken again.
const maxTampered = 16

// tamper consumes messages of a work queue, keeps each of them for a different time, so
// that they arrive late and in another order, and publishes each one once, twice or five
// times. It acks only after the confirms, so it loses no message.
func tamper(ctx context.Context, r *run, b injection) (func() error, error) {
	queues := r.workQueues()
	queue := queues[b.draw.IntN(len(queues))]
	client, err := r.servers.open(queue) //nolint:contextcheck // Close ends it.
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // The broker may be unavailable.
	taking, stop := context.WithTimeout(ctx, b.lasts)
	defer stop()
	var mu sync.Mutex // guards taken and b.draw
	taken := 0
	err = client.Consume(taking, queue, maxTampered, func(ctx context.Context, d broker.Delivery) error {
		mu.Lock()
		if taken == maxTampered {
			mu.Unlock()
			stop()
			return nil // The message returns to the queue when the consumer ends.
		}
		taken++
		late, copies := time.Duration(b.draw.Int64N(int64(b.lasts))), []int{1, 1, 2, 2, 5}[b.draw.IntN(5)]
		mu.Unlock()
		pause(ctx, late)
		for range copies {
			if err := client.Publish(ctx, queue, d.Message); err != nil {
				return nil //nolint:nilerr // The broker is unavailable and still has the message.
			}
		}
		_ = d.Ack() // If the session has ended, there is one more copy.
		return nil
	})
	r.note("fault", b.String(), "messages of", queue, taken)
	if err == nil && taken == 0 {
		err = fmt.Errorf("no message arrived in %s", queue)
	}
	return nil, err
}

// open connects to the broker like a service that uses the queue.
func (s *servers) open(queue string) (*rabbitmq.Broker, error) {
	return rabbitmq.Open(rabbitmq.Config{
		URLs: urls(s.brokers), Name: "chaos", WorkQueues: []string{queue},
	}, slog.New(slog.DiscardHandler))
}

// fullDisk fills the disk of the job store, whatever the victim is, and checks the
// responses: batches get 503, existing jobs can be read, and the gateway recovers by
// itself. No other fault hits the gateway at the same time.
func fullDisk(ctx context.Context, r *run, b injection) (func() error, error) {
	gateway := r.gateway(0)
	if err := gateway.await(ctx, "/healthz", startTime); err != nil {
		return nil, err
	}
	ballast := filepath.Join(r.dir, "data", "ballast")
	defer func() { _ = os.Remove(ballast) }() // Usually it is removed below.
	for until := time.Now().Add(b.lasts); time.Now().Before(until) && ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
		_, err := command(ctx, "dd", "if=/dev/zero", "of="+ballast, "bs=1M", "oflag=append", "conv=notrunc")
		if err == nil || !strings.Contains(err.Error(), "No space left") {
			return nil, fmt.Errorf("fill the disk: %w", err)
		}
		if a, err := get(ctx, gateway.url("/api/v1/batch?limit=3")); err != nil || a.status != http.StatusOK {
			r.breach("GET with a full disk: %v (%v)", a, err)
		}
		refused, err := r.probe(ctx)
		if err != nil {
			r.breach("POST with a full disk got no response: %v", err)
		}
		if refused {
			r.count("refused", 1)
		}
	}
	if err := os.Remove(ballast); err != nil {
		return nil, err
	}
	healing, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := poll(healing, 200*time.Millisecond, func() bool {
		refused, err := r.probe(healing)
		return !refused && err == nil
	}); err != nil && ctx.Err() == nil {
		r.breach("no batch is accepted 15 s after the disk has space again")
	}
	return nil, nil
}

// probe posts a small batch and reports whether it was rejected.
func (r *run) probe(ctx context.Context) (refused bool, err error) {
	b := &batch{images: []source{r.site.absent(fmt.Sprintf("probe-%d.jpg", time.Now().UnixNano()))}}
	a, err := r.postBatch(ctx, 0, b)
	return err == nil && a.job == "", err
}
