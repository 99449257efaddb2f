package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// repeating is a broker that delivers each message up to five times, in any order, and some
// copies only after late is closed.
type repeating struct {
	*membroker.Broker
	late chan struct{}

	mu      sync.Mutex // guards the fields below
	random  *rand.Rand
	count   int // number of copies
	pending int // number of copies that are not yet published
}

func (b *repeating) Publish(ctx context.Context, queue string, m broker.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range []int{0, 1, 4}[b.random.IntN(3)] {
		b.count++
		b.pending++
		delay, late := time.Duration(b.random.IntN(200))*time.Millisecond, b.random.IntN(3) == 0
		go func() {
			if late {
				<-b.late
			}
			wait := time.NewTimer(delay)
			<-wait.C
			// If publishing fails, there is one copy less.
			_ = b.Broker.Publish(context.WithoutCancel(ctx), queue, m)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.pending--
		}()
	}
	return b.Broker.Publish(ctx, queue, m)
}

// quiet reports whether the queues are empty and no copy is pending.
func (b *repeating) quiet(queues []broker.QueueSpec) (bool, string) {
	b.mu.Lock()
	left, n := "", b.pending
	b.mu.Unlock()
	for _, q := range queues {
		if n := b.Len(q.Name); n > 0 {
			left += fmt.Sprintf(" %d on %s", n, q.Name)
		}
	}
	return left == "" && n == 0, fmt.Sprintf("%d copies pending,%s", n, left)
}

// browsable is a broker with everything that the gateway needs.
type browsable interface {
	broker.Broker
	broker.Browser
}

// startServices starts the three services on the broker, with stores of their own.
func startServices(t *testing.T, b browsable) (s *system, processed objectstore.Store, stop func()) {
	t.Helper()
	dir := t.TempDir()
	c, err := service.Load([]string{"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + dir, "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8"}, func(c *config) error {
		var errs [3]error
		c.Gateway, errs[0] = c.Gateway.Complete()
		c.Analyzer.HTTPAddr, c.Processor.HTTPAddr = "", ""
		c.Analyzer, errs[1] = c.Analyzer.Complete()
		c.Processor, errs[2] = c.Processor.Complete()
		return errors.Join(errs[:]...)
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	open := func() objectstore.Store {
		s, err := dirstore.Open(t.TempDir())
		must(err)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	originals, processed := open(), open()
	log, m := slog.New(slog.DiscardHandler), telemetry.NewRegistry()
	g, err := gateway.New(t.Context(), c.Gateway, gateway.Deps{Broker: b, Browser: b, Originals: originals, Processed: processed, Log: log, Metrics: m})
	must(err)
	a, err := analyzer.New(t.Context(), c.Analyzer, analyzer.Deps{Broker: b, Originals: originals, Log: log, Metrics: m})
	must(err)
	p, err := processor.New(t.Context(), c.Processor, processor.Deps{Broker: b, Originals: originals, Processed: processed, Log: log, Metrics: m})
	must(err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{g.Run, a.Run, p.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		running.Wait()
	})
	t.Cleanup(stop)
	return &system{process: &process{t: t, addr: g.Addr().String()}}, processed, stop
}

// stored returns the stored objects of a job's images, by their key with the index instead of
// the trace ID.
func stored(t *testing.T, s objectstore.Store, a jobResponse) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, img := range a.Images {
		for info, err := range s.List(t.Context(), img.TraceID+"/") {
			if err != nil {
				t.Fatal(err)
			}
			data, err := objectstore.ReadAll(t.Context(), s, info.Key, 10<<20)
			if err != nil {
				t.Fatal(err)
			}
			all[fmt.Sprintf("%d%s", img.Index, info.Key[len(img.TraceID):])] = data
		}
	}
	return all
}

// TestRepeatedMessages compares a pipeline whose broker repeats, reorders and delays every
// message with one whose broker does not. It verifies the same counters, bytes and events,
// and that late copies have no effect.
func TestRepeatedMessages(t *testing.T) {
	site := origin(t, map[string][]byte{"photo.jpg": goImage(t, "video-005.gray.jpeg")})
	batch := []map[string]string{
		inline("a.jpg", goImage(t, "video-001.progressive.jpeg")), inline("b.png", goImage(t, "video-001.png")), inline("c.jpg", goImage(t, "video-001.jpeg")),
		inline("cut.jpg", photo(t)[:50_000]), inline("moving.gif", goImage(t, "video-001.gif")),
		{"url": site + "/photo.jpg"},
		{"url": site + "/missing.jpg"},
	}
	queues := broker.Topology(pipeline.WorkQueues()...)
	var want map[string][]byte
	for seed := range uint64(4) {
		memory := membroker.New(pipeline.WorkQueues()...)
		b := &repeating{Broker: memory, late: make(chan struct{}), random: rand.New(rand.NewPCG(seed, seed))} //nolint:gosec // Repeatable.
		var used browsable = b
		if seed == 0 { // The reference run: each message once.
			used = memory
		}
		s, processed, stop := startServices(t, used)
		id := s.submit(t, batch...)
		watched := make(chan []frame, 1)
		go func() { watched <- watch(t, s, id) }()
		end := s.ended(t, id)
		checkFrames(t, <-watched, end)
		if end.Status != "completed" || end.Completed != 4 || end.Failed != 3 {
			t.Errorf("seed %d: job %+v", seed, end)
		}

		close(b.late)
		await(t, func() (bool, string) { return b.quiet(queues) })
		if b.count == 0 && seed > 0 {
			t.Error("no message was repeated")
		}
		var after jobResponse
		if s.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, &after); fmt.Sprint(after) != fmt.Sprint(end) {
			t.Errorf("seed %d: late copies changed the job from\n%+v to\n%+v", seed, end, after)
		}
		checkFrames(t, watch(t, s, id), end)
		got := stored(t, processed, end)
		if want == nil {
			want = got
		}
		if len(got) != len(want) || len(got) != 4*3 {
			t.Errorf("seed %d: %d objects, want %d", seed, len(got), len(want))
		}
		for key, data := range want {
			if !bytes.Equal(got[key], data) {
				t.Errorf("seed %d: the bytes of %s differ", seed, key)
			}
		}
		stop()
		if err := memory.Close(); err != nil {
			t.Error(err)
		}
	}
}
