package telemetry

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Bounds of the way to the collector.
const (
	queueSpans     = 8192             // waiting spans, about 1 kB each
	batchSpans     = 512              // spans in one request
	batchDelay     = time.Second      // longest wait of a span for others
	requestTimeout = 10 * time.Second // of one request
	exportTimeout  = 30 * time.Second // of a batch, from the first request to the last retry
	flushTimeout   = 2 * time.Second  // of all waiting spans when the process ends
	maxReplyBytes  = 64 << 10         // of one response
)

// queue is the SDK's batch processor with two additions: it counts what became of
// each span, which the SDK does not report, and it keeps export errors from the SDK,
// whose error handler is global.
type queue struct {
	sdktrace.SpanProcessor // the SDK's
	exporter               sdktrace.SpanExporter
	client                 *http.Client
	spans                  *Counter
	waiting                atomic.Int64
	closed                 atomic.Bool
}

var (
	_ sdktrace.SpanProcessor = (*queue)(nil)
	_ sdktrace.SpanExporter  = (*counted)(nil)
)

// counted is the exporter of a queue, as the SDK's batch processor sees it.
type counted struct{ *queue }

func newQueue(ctx context.Context, c parsed, p Process, spans *Counter) (*queue, error) {
	transport := &collectorTransport{log: p.Log, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: p.Roots, MinVersion: tls.VersionTLS12},
		MaxIdleConns:      1,
		IdleConnTimeout:   time.Minute,
		ForceAttemptHTTP2: true,
	}}
	q := &queue{spans: spans.From0("exported", "dropped", "lost"), client: &http.Client{
		Transport: transport,
		Timeout:   requestTimeout,
		// A redirect could send the headers, which may contain a key, to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	headers := map[string]string{"User-Agent": "Imagebatch/" + p.Version}
	if user := c.url.User; user != nil { // the exporter ignores it
		password, _ := user.Password()
		headers["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
	}
	for _, h := range c.headers {
		headers[http.CanonicalHeaderKey(h[0])] = h[1]
	}
	exporter, err := otlptracehttp.New(context.WithoutCancel(ctx),
		otlptracehttp.WithEndpointURL(c.url.String()),
		otlptracehttp.WithHeaders(headers),
		otlptracehttp.WithHTTPClient(q.client),
		otlptracehttp.WithTLSClientConfig(nil), // the client has it
		otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf),
		otlptracehttp.WithCompression(otlptracehttp.NoCompression),
		otlptracehttp.WithMaxResponseSize(maxReplyBytes),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: 50 * time.Millisecond, MaxInterval: 5 * time.Second, MaxElapsedTime: exportTimeout,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("exporter of traces: %w", err)
	}
	q.exporter = exporter
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(counted{q},
		sdktrace.WithMaxQueueSize(queueSpans),
		sdktrace.WithMaxExportBatchSize(batchSpans),
		sdktrace.WithBatchTimeout(batchDelay),
		sdktrace.WithExportTimeout(exportTimeout),
	)
	return q, nil
}

// OnEnd implements sdktrace.SpanProcessor. It never blocks.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.closed.Load() {
		q.spans.Inc("dropped")
		return
	}
	if q.waiting.Add(1) > queueSpans {
		q.waiting.Add(-1)
		q.spans.Inc("dropped")
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// ExportSpans implements sdktrace.SpanExporter. It returns no error, because the SDK
// would write it to stderr.
func (c counted) ExportSpans(ctx context.Context, batch []sdktrace.ReadOnlySpan) error {
	outcome := "exported"
	if err := c.exporter.ExportSpans(ctx, batch); err != nil {
		outcome = "lost"
	}
	c.waiting.Add(-int64(len(batch)))
	c.spans.Add(float64(len(batch)), outcome)
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (c counted) Shutdown(ctx context.Context) error { return c.exporter.Shutdown(ctx) }

// close sends the waiting spans, for at most flushTimeout. Then the exporter gives up
// what is left, so that the batch processor ends.
func (q *queue) close() error {
	q.closed.Store(true)
	giveUp := time.AfterFunc(flushTimeout, func() { _ = q.exporter.Shutdown(context.Background()) })
	defer giveUp.Stop()
	defer q.client.CloseIdleConnections()
	return q.Shutdown(context.Background())
}

// collectorTransport logs when the collector starts and stops taking spans, and has
// the exporter retry after every network error: by itself it would not retry a
// refused connection.
type collectorTransport struct {
	*http.Transport
	log     *slog.Logger
	failing atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (t *collectorTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.Transport.RoundTrip(r)
	failure := err
	if err == nil && resp.StatusCode/100 != 2 {
		failure = fmt.Errorf("response status %d", resp.StatusCode)
	}
	switch was := t.failing.Swap(failure != nil); {
	case failure != nil && !was:
		t.log.WarnContext(r.Context(), "trace collector is unavailable; work continues without it", "error", failure)
	case failure == nil && was:
		t.log.InfoContext(r.Context(), "trace collector is available again")
	}
	if err != nil {
		return nil, temporaryError{err}
	}
	return resp, nil
}

// temporaryError is an error after which the exporter retries.
type temporaryError struct{ error }

// Temporary reports true to url.Error.
func (temporaryError) Temporary() bool { return true }
