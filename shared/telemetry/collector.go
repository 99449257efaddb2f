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

// Limits for the export to the collector.
const (
	queueSpans     = 8192             // waiting spans, about 1 kB each
	batchSpans     = 512              // spans in one request
	batchDelay     = time.Second      // longest wait of a span for further spans
	requestTimeout = 10 * time.Second // one request
	exportTimeout  = 30 * time.Second // one batch, from the first request to the last retry
	flushTimeout   = 2 * time.Second  // all waiting spans when the process ends
	maxReplyBytes  = 64 << 10         // one response
)

// queue is the SDK's batch processor with a count of dropped spans, which the SDK does
// not report.
type queue struct {
	sdktrace.SpanProcessor // the SDK's
	exporter               *exporter
	client                 *http.Client
}

// exporter is the SDK's exporter with a count of exported and lost spans. It logs errors instead of returning
// them, because the batch processor would write them to stderr.
type exporter struct {
	sdktrace.SpanExporter // the SDK's
	spans                 *Counter
	log                   *slog.Logger
	waiting               atomic.Int64 // spans in the queue or in a batch
}

var (
	_ sdktrace.SpanProcessor = (*queue)(nil)
	_ sdktrace.SpanExporter  = (*exporter)(nil)
)

func newQueue(ctx context.Context, c parsed, p Process, spans *Counter) (*queue, error) {
	transport := &collectorTransport{log: p.Log, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: p.Roots, MinVersion: tls.VersionTLS12},
		MaxIdleConns:      1,
		IdleConnTimeout:   time.Minute,
		ForceAttemptHTTP2: true,
	}}
	client := &http.Client{
		Transport: transport,
		Timeout:   requestTimeout,
		// A redirect could send the headers, which may contain a key, to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	headers := map[string]string{"User-Agent": "Imagebatch/" + p.Version}
	if user := c.url.User; user != nil { // the exporter ignores credentials in the URL
		password, _ := user.Password()
		headers["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
	}
	for _, h := range c.headers {
		headers[http.CanonicalHeaderKey(h[0])] = h[1]
	}
	otlp, err := otlptracehttp.New(context.WithoutCancel(ctx),
		otlptracehttp.WithEndpointURL(c.url.String()),
		otlptracehttp.WithHeaders(headers),
		otlptracehttp.WithHTTPClient(client),
		otlptracehttp.WithTLSClientConfig(nil), // client has the TLS configuration
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
	e := &exporter{SpanExporter: otlp, log: p.Log, spans: spans.From0("exported", "dropped", "lost")}
	return &queue{exporter: e, client: client, SpanProcessor: sdktrace.NewBatchSpanProcessor(e,
		sdktrace.WithMaxQueueSize(queueSpans),
		sdktrace.WithMaxExportBatchSize(batchSpans),
		sdktrace.WithBatchTimeout(batchDelay),
		sdktrace.WithExportTimeout(exportTimeout),
	)}, nil
}

// OnEnd implements sdktrace.SpanProcessor. It never blocks.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.exporter.waiting.Add(1) > queueSpans {
		q.exporter.waiting.Add(-1)
		q.exporter.spans.Inc("dropped")
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// ExportSpans implements sdktrace.SpanExporter. It always returns nil.
func (e *exporter) ExportSpans(ctx context.Context, batch []sdktrace.ReadOnlySpan) error {
	outcome := "exported"
	if err := e.SpanExporter.ExportSpans(ctx, batch); err != nil {
		outcome = "lost"
		e.log.DebugContext(ctx, "spans lost", "spans", len(batch), "error", err)
	}
	e.waiting.Add(-int64(len(batch)))
	e.spans.Add(float64(len(batch)), outcome)
	return nil
}

// close sends the waiting spans, for at most flushTimeout. Then the exporter gives up
// the remaining spans, so that the batch processor ends.
func (q *queue) close() error {
	q.exporter.waiting.Add(queueSpans) // OnEnd drops later spans
	giveUp := time.AfterFunc(flushTimeout, func() { _ = q.exporter.Shutdown(context.Background()) })
	defer giveUp.Stop()
	defer q.client.CloseIdleConnections()
	return q.Shutdown(context.Background())
}

// collectorTransport logs when the collector starts and stops accepting spans. It also makes the exporter retry
// after every network error: by itself, the exporter would not retry a refused connection.
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
