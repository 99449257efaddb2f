package tracing

import (
	"context"
	"log/slog"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/imagebatch/imagebatch/shared/metrics"
)

// Bounds of the queue.
const (
	queueSpans = 8192            // that wait, about 1 kB each
	batchSpans = 512             // in one request to the collector
	gather     = time.Second     // that a span waits for others
	flushTime  = 2 * time.Second // for what waits when the process ends, all of it
)

// queue hands spans that have ended to the collector, in batches. It is a span
// processor of our own, because the SDK's does not tell how many it has dropped and
// reports its errors to a handler that is global.
type queue struct {
	collector *collector
	log       *slog.Logger
	spans     *metrics.Counter
	waiting   chan sdktrace.ReadOnlySpan
	closing   chan struct{}
	done      chan struct{}
	giveUp    context.CancelFunc // ends the request under way
}

var _ sdktrace.SpanProcessor = (*queue)(nil)

func newQueue(ctx context.Context, c *collector, log *slog.Logger, spans *metrics.Counter) *queue {
	ctx, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	q := &queue{
		collector: c, log: log, spans: spans, giveUp: giveUp,
		waiting: make(chan sdktrace.ReadOnlySpan, queueSpans),
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	for _, outcome := range []string{"exported", "dropped", "lost"} {
		spans.Add(0, outcome)
	}
	go q.run(ctx)
	return q
}

// OnStart implements sdktrace.SpanProcessor.
func (q *queue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor. It never waits.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	select {
	case <-q.closing:
		q.spans.Inc("dropped")
		return
	default:
	}
	select {
	case q.waiting <- s:
	default:
		q.spans.Inc("dropped")
	}
}

// Shutdown implements sdktrace.SpanProcessor. It is never called: close does it.
func (q *queue) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor. It is never called either.
func (q *queue) ForceFlush(context.Context) error { return nil }

// close sends what waits, for flushTime at most. It is called once.
func (q *queue) close() {
	close(q.closing)
	late := time.AfterFunc(flushTime, q.giveUp)
	<-q.done
	late.Stop()
	q.giveUp()
	q.collector.close()
}

// run sends until close.
func (q *queue) run(ctx context.Context) {
	defer close(q.done)
	for {
		select {
		case first := <-q.waiting:
			q.send(ctx, q.fill(first))
		case <-q.closing:
			for {
				select {
				case first := <-q.waiting:
					q.send(ctx, q.fill(first))
				default:
					return
				}
			}
		}
	}
}

// fill waits for the spans that go along with the first.
func (q *queue) fill(first sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	batch := append(make([]sdktrace.ReadOnlySpan, 0, batchSpans), first)
	enough := time.NewTimer(gather)
	defer enough.Stop()
	for len(batch) < batchSpans {
		select {
		case s := <-q.waiting:
			batch = append(batch, s)
		case <-enough.C:
			return batch
		case <-q.closing:
			select { // what waits already goes along, and nothing is waited for
			case s := <-q.waiting:
				batch = append(batch, s)
			default:
				return batch
			}
		}
	}
	return batch
}

// send sends a batch, until the collector has it or will not have it.
func (q *queue) send(ctx context.Context, batch []sdktrace.ReadOnlySpan) {
	err := q.collector.take(ctx, batch, q.closing)
	outcome := "exported"
	if err != nil {
		outcome = "lost"
	}
	q.spans.Add(float64(len(batch)), outcome)
}
