package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// Limits of a seed of the scenario leaderless.
const (
	killWithin  = 1500 * time.Millisecond // from the first declaration to the kill, at most
	respondTime = 60 * time.Second        // for every queue to respond after the restart
	seedsPerRun = 5                       // seeds between two wipes of the broker
)

// runLeaderless kills a broker with signal 9 while, or just after, it creates queues and confirms
// messages, once for each seed. RabbitMQ does not flush everything that it knows about a new queue
// immediately: 3.10.8 left such a queue without a leader. After the restart, every queue must respond,
// and either every confirmed message must be there, or the session hook must report that the broker
// is fresh, so that the gateway sends all open images again.
func runLeaderless(ctx context.Context, first, seeds uint64) (err error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("imagebatch-chaos-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's folder in the other runs is the same.
		return fmt.Errorf("create a folder for the broker: %w", err)
	}
	s, err := startServers(ctx, dir, "rabbitmq")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.call(ctx, "stop"), os.RemoveAll(dir)) }()
	total, breached := map[string]int{}, 0
	for seed := first; seed < first+seeds && ctx.Err() == nil; seed++ {
		if (seed-first)%seedsPerRun == 0 && seed > first {
			if err := s.call(ctx, "wipe rabbitmq"); err != nil {
				return err
			}
		}
		k := &brokerKill{servers: s, seed: seed, confirmed: map[string]bool{}}
		if err := k.run(ctx); err != nil {
			return fmt.Errorf("seed %d could not be run: %w", seed, err)
		}
		fmt.Printf("seed-%d killed after %v: %d confirmed, fresh %v, %d lost, silent %q and %s\n", seed, k.after, len(k.confirmed), k.fresh, k.lost, k.silent, k.dead)
		total["runs"]++
		if k.fresh {
			total["fresh"]++
		}
		total["confirmed"] += len(k.confirmed)
		if len(k.silent) > 0 {
			total["without a leader"]++
		}
		if len(k.dead) > 0 {
			total["dead letters without a leader"]++
		}
		if k.lost > 0 && !k.fresh {
			total["lost"]++
		}
		if k.lost > 0 {
			total["emptied"]++
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
	after   time.Duration // from the first declaration to the kill

	fresh  bool     // whether the hook reported a fresh broker after the restart
	lost   int      // number of confirmed messages that are on no queue
	silent []string // queues that do not respond after the restart
	dead   string   // dead-letter queues without a leader, which are left to the operator

	mu        sync.Mutex // guards the field below
	confirmed map[string]bool
}

func (k *brokerKill) open(hook func(ctx context.Context, b *rabbitmq.Broker, fresh bool) error) (*rabbitmq.Broker, error) {
	b, err := rabbitmq.Open(rabbitmq.Config{
		URLs: []string{k.servers.broker.String()}, Name: "chaos", Declare: true, WorkQueues: k.queues(), UnresponsiveAfter: time.Hour,
	}, slog.New(slog.DiscardHandler))
	if err == nil {
		b.OnSession(fmt.Sprintf("imagebatch.epoch.%d", k.seed), func(ctx context.Context, fresh bool) error { return hook(ctx, b, fresh) })
	}
	return b, err
}

// kill kills the broker with signal 9, without the time that a script takes to start.
func (s *servers) kill(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(s.dir, "run/rabbitmq.pid"))
	if err != nil {
		return err
	}
	pid, _, _ := strings.Cut(string(text), " ")
	number, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Kill(number, syscall.SIGKILL), s.call(ctx, "kill rabbitmq"))
}

func (k *brokerKill) queues() (names []string) {
	for i := range 3 {
		names = append(names, fmt.Sprintf("kill-%d-%d", k.seed, i))
	}
	return names
}

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

func (k *brokerKill) run(ctx context.Context) error {
	random := rand.New(rand.NewPCG(k.seed, 0))
	k.after = time.Duration(random.Int64N(int64(killWithin)))
	// A third of the seeds kill at any moment, a third when the first messages are confirmed, and a
	// third when the broker is ready.
	moment := k.seed % 3
	if moment != 0 {
		k.after /= 4
	}
	hooked := make(chan struct{}, 8)
	before, err := k.open(func(ctx context.Context, b *rabbitmq.Broker, _ bool) error {
		k.mu.Lock()
		clear(k.confirmed) // The hook sends all work again, so older messages may be lost.
		k.mu.Unlock()
		for i, queue := range k.queues() {
			for n := range 3 {
				if err := k.publish(ctx, b, queue, 1000*i+n); err != nil {
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
		for n := 10_000; load.Err() == nil; n++ {
			_ = k.publish(load, before, names[n%len(names)], n)
			pause(load, 10*time.Millisecond)
		}
	})
	if moment != 0 {
		<-hooked
	}
	if k.seed%6 == 5 { // A queue is lost and declared again.
		if err := k.servers.call(ctx, "rabbitmqctl delete_queue "+k.queues()[k.seed%3]); err != nil {
			return err
		}
		<-hooked
	}
	for moment == 2 && before.Ready() != nil {
		pause(ctx, time.Millisecond)
	}
	pause(ctx, k.after)
	err = k.servers.kill(ctx)
	end()
	publishing.Wait()
	if err := errors.Join(err, before.Close(), k.servers.call(ctx, "start rabbitmq")); err != nil {
		return err
	}
	return k.check(ctx)
}

// check opens a broker as the next gateway does, and looks for the queues and the messages.
func (k *brokerKill) check(ctx context.Context) (err error) {
	var once sync.Once
	hooked := make(chan struct{})
	b, err := k.open(func(_ context.Context, _ *rabbitmq.Broker, fresh bool) error {
		once.Do(func() {
			k.fresh = fresh
			close(hooked)
		})
		return nil
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	limited, cancel := context.WithTimeout(ctx, respondTime)
	defer cancel()
	select {
	case <-hooked:
	case <-limited.Done():
		return fmt.Errorf("broker is not ready: %w", b.Ready())
	}
	var consuming sync.WaitGroup
	defer consuming.Wait()
	defer cancel()
	found := make(chan string, 1024)
	responded := map[string]bool{}
	for _, spec := range broker.Topology(k.queues()...) {
		if spec.Name == broker.DeadQueue(spec.Work) {
			continue // No service publishes to it.
		}
		responded[spec.Name] = false
		consuming.Go(func() {
			for limited.Err() == nil && b.Publish(limited, spec.Name, broker.Message{Body: []byte(spec.Name)}) != nil {
				pause(limited, 100*time.Millisecond)
			}
			if limited.Err() != nil {
				return
			}
			_ = b.Consume(limited, spec.Name, 64, func(_ context.Context, d broker.Delivery) error {
				select {
				case found <- string(d.Body):
				case <-limited.Done():
				}
				return d.Ack()
			})
		})
	}
	missing := len(k.confirmed)
	silent := len(responded)
	idle := time.NewTimer(respondTime)
	seen := map[string]bool{}
	for (missing > 0 || silent > 0) && limited.Err() == nil {
		select {
		case body := <-found:
			if done, queue := responded[body]; queue && !done {
				responded[body] = true
				silent--
				idle.Reset(5 * time.Second)
			}
			if k.confirmed[body] && !seen[body] {
				seen[body] = true
				missing--
				idle.Reset(5 * time.Second)
			}
		case <-idle.C:
			if silent == 0 {
				cancel()
			}
		case <-limited.Done():
		}
	}
	k.lost = missing
	for body := range k.confirmed {
		if !seen[body] {
			fmt.Println("  lost:", body)
		}
	}
	for queue, ok := range responded {
		if !ok {
			k.silent = append(k.silent, queue)
		}
	}
	if k.fresh {
		k.dead, err = k.servers.leaderless(ctx)
	}
	return err
}
