package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// Sizes of the scenario leaderless.
const (
	killWithin  = 1500 * time.Millisecond // from the chosen step to the kill, at most
	respondTime = 60 * time.Second        // for every queue to respond after the restart
	seedsOfData = 5                       // number of seeds that use the same data of the broker
)

// runLeaderless kills a RabbitMQ with signal 9 while it creates queues, or just after,
// once for each seed. Such a broker can lose the leader (RabbitMQ 4.0) or the content
// (4.3) of the queues that it created last. After the restart, every queue must respond.
// Either the session hook reports a fresh broker, so that a gateway sends all work
// again, or every confirmed message must be there.
func runLeaderless(ctx context.Context, first, seeds uint64) (err error) {
	dir, err := os.MkdirTemp("", "imagebatch-chaos-")
	if err != nil {
		return err
	}
	s, err := startServers(ctx, dir, "rabbitmq")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.call(ctx, "stop"), os.RemoveAll(dir)) }()
	total, breached := map[string]int{}, 0
	for seed := first; seed < first+seeds && ctx.Err() == nil; seed++ {
		if (seed-first)%seedsOfData == 0 {
			if err := s.call(ctx, "wipe rabbitmq"); err != nil {
				return err
			}
		}
		k := &brokerKill{servers: s, seed: seed, confirmed: map[string]bool{}}
		if err := k.run(ctx); err != nil {
			return fmt.Errorf("seed %d could not be run: %w", seed, err)
		}
		fmt.Println(k)
		total["runs"]++
		total["confirmed messages"] += len(k.confirmed)
		for name, happened := range map[string]bool{
			"fresh after the restart": k.fresh, "with lost messages": k.lost > 0 && !k.fresh, "with silent queues": len(k.silent) > 0,
			"with dead-letter queues for the operator": k.dead != "",
		} {
			if happened {
				total[name]++
			}
		}
		if len(k.silent) > 0 || k.lost > 0 && !k.fresh {
			breached++
		}
	}
	fmt.Printf("%v\n%d runs, %d breached\n", total, total["runs"], breached)
	if breached > 0 {
		return errors.New("the promise was broken")
	}
	return ctx.Err()
}

// brokerKill is one seed of the scenario leaderless.
type brokerKill struct {
	servers *servers
	seed    uint64
	after   time.Duration // from the chosen step to the kill

	fresh  bool     // whether the hook reported a fresh broker after the restart
	lost   int      // number of confirmed messages that are on no queue
	silent []string // queues that do not respond after the restart
	dead   string   // dead-letter queues without a leader, which are left to the operator

	mu        sync.Mutex // guards the field below
	confirmed map[string]bool
}

func (k *brokerKill) String() string {
	return fmt.Sprintf("seed-%d killed after %s: %d confirmed, fresh %t, %d lost, silent %q, dead-letter queues %q",
		k.seed, k.after, len(k.confirmed), k.fresh, k.lost, k.silent, k.dead)
}

// queues returns the work queues, which are new for each seed.
func (k *brokerKill) queues() (names []string) {
	for i := range 3 {
		names = append(names, fmt.Sprintf("kill-%d-%d", k.seed, i))
	}
	return names
}

// open connects like a gateway.
func (k *brokerKill) open(hook func(ctx context.Context, b *rabbitmq.Broker, fresh bool) error) (*rabbitmq.Broker, error) {
	b, err := rabbitmq.Open(rabbitmq.Config{
		URLs: []string{k.servers.brokers[0].String()}, Name: "chaos", Declare: true, WorkQueues: k.queues(),
	}, slog.New(slog.DiscardHandler))
	if err == nil {
		b.OnSession(fmt.Sprintf("imagebatch.epoch.%d", k.seed), "", func(ctx context.Context, fresh bool) error { return hook(ctx, b, fresh) })
	}
	return b, err
}

// publish publishes a unique message, and remembers it when it is confirmed.
func (k *brokerKill) publish(ctx context.Context, b *rabbitmq.Broker, queue string, n int) error {
	body := fmt.Sprintf("%s %d", queue, n)
	err := b.Publish(ctx, queue, broker.Message{Body: []byte(body)})
	if err == nil {
		k.mu.Lock()
		k.confirmed[body] = true
		k.mu.Unlock()
	}
	return err
}

// run declares the queues, publishes, kills the broker, starts it again and checks it. A
// third of the seeds kill at any moment, a third after the first messages are confirmed,
// and a third when the broker is ready, half of these after a queue was lost and declared
// again.
func (k *brokerKill) run(ctx context.Context) error {
	step := k.seed % 3
	k.after = time.Duration(rand.New(rand.NewPCG(k.seed, 0)).Int64N(int64(killWithin)))
	if step != 0 {
		k.after /= 4
	}
	hooked := make(chan struct{}, 64)
	b, err := k.open(func(ctx context.Context, b *rabbitmq.Broker, _ bool) error { //nolint:contextcheck // The hook gets the context of the session.
		k.mu.Lock()
		clear(k.confirmed) // The hook sends all work again, so older messages may be lost.
		k.mu.Unlock()
		for i, queue := range k.queues() {
			for n := range 3 {
				if err := k.publish(ctx, b, queue, 10*i+n); err != nil {
					return err
				}
			}
		}
		hooked <- struct{}{}
		return nil
	})
	if err != nil {
		return err
	}
	load, end := context.WithCancel(ctx)
	defer end()
	var publishing sync.WaitGroup
	publishing.Go(func() {
		names := k.queues()
		for _, queue := range k.queues() {
			names = append(names, broker.QuarantineQueue(queue))
		}
		for n := 100; load.Err() == nil; n++ {
			_ = k.publish(load, b, names[n%len(names)], n) // The queue may not exist yet.
			pause(load, 10*time.Millisecond)
		}
	})
	if step != 0 {
		<-hooked
	}
	if k.seed%6 == 5 {
		if err := k.servers.call(ctx, "rabbitmqctl delete_queue "+k.queues()[k.seed%3]); err != nil {
			return err
		}
		<-hooked
	}
	for step == 2 && b.Ready() != nil {
		pause(ctx, time.Millisecond)
	}
	pause(ctx, k.after)
	err = k.servers.kill(ctx)
	end()
	publishing.Wait()
	if err := errors.Join(err, b.Close(), k.servers.call(ctx, "start rabbitmq")); err != nil {
		return err
	}
	return k.check(ctx)
}

// check connects like the next gateway, and looks for the queues and the messages.
func (k *brokerKill) check(ctx context.Context) (err error) {
	hooked := make(chan bool, 64)
	b, err := k.open(func(_ context.Context, _ *rabbitmq.Broker, fresh bool) error { //nolint:contextcheck // As above.
		hooked <- fresh
		return nil
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	limited, cancel := context.WithTimeout(ctx, respondTime)
	defer cancel()
	select {
	case k.fresh = <-hooked:
	case <-limited.Done():
		return fmt.Errorf("broker is not ready: %w", b.Ready())
	}
	expected := map[string]bool{} // Each body and whether it was received.
	for body := range k.confirmed {
		expected[body] = false
	}
	found := make(chan string, 1024)
	var consuming sync.WaitGroup
	defer consuming.Wait()
	defer cancel()
	for _, queue := range broker.Backlog(k.queues()...) { // Services publish to these queues, but not to dead-letter queues.
		expected[queue] = false
		consuming.Go(func() {
			for b.Publish(limited, queue, broker.Message{Body: []byte(queue)}) != nil && limited.Err() == nil {
				pause(limited, 100*time.Millisecond)
			}
			_ = b.Consume(limited, queue, 64, func(_ context.Context, d broker.Delivery) error {
				select {
				case found <- string(d.Body):
				case <-limited.Done():
				}
				return d.Ack()
			})
		})
	}
	quiet := time.NewTimer(respondTime)
	for left := len(expected); left > 0 && limited.Err() == nil; {
		select {
		case body := <-found:
			if received, known := expected[body]; known && !received {
				expected[body] = true
				left--
			}
			if quiet.Reset(respondTime); k.fresh {
				quiet.Reset(3 * time.Second) // Lost messages are expected.
			}
		case <-quiet.C:
			cancel()
		case <-limited.Done():
		}
	}
	for body, received := range expected {
		switch {
		case received:
		case strings.Contains(body, " "):
			k.lost++
		default:
			k.silent = append(k.silent, body)
		}
	}
	if k.fresh {
		k.dead, err = k.servers.leaderless(ctx)
	}
	return err
}

// kill kills the broker with signal 9, before a script has started, which then only waits
// for its end.
func (s *servers) kill(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(s.dir, "run/rabbitmq.pid"))
	if err != nil {
		return err
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		return fmt.Errorf("read the process ID of the broker: %w", err)
	}
	return errors.Join(syscall.Kill(pid, syscall.SIGKILL), s.call(ctx, "kill rabbitmq"))
}
