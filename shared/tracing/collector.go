package tracing

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Bounds of one batch.
const (
	postTime = 10 * time.Second // of one request
	holdTime = 30 * time.Second // from the first try to the last; meanwhile others queue
	maxReply = 64 << 10         // bytes of an answer that are read
)

// collector posts spans to a collector by OTLP over HTTP, in protobuf
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp). It belongs to one
// goroutine.
type collector struct {
	url      string
	header   http.Header
	client   *http.Client
	exporter *otlptrace.Exporter // makes messages of spans; we carry them
	log      *slog.Logger
	silent   bool // it did not take the last batch
}

var _ otlptrace.Client = (*collector)(nil)

func newCollector(c parsed, p Process) *collector {
	header := http.Header{"Content-Type": {"application/x-protobuf"}, "User-Agent": {"Imagebatch/" + p.Version}}
	for _, h := range c.headers {
		header.Set(h[0], h[1])
	}
	to := &collector{
		url: c.url, header: header, log: p.Log,
		client: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: p.Roots, MinVersion: tls.VersionTLS12},
				MaxIdleConns:      1,
				IdleConnTimeout:   time.Minute,
				ForceAttemptHTTP2: true,
			},
			// Elsewhere the headers, which may hold a key, are nobody's business.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	to.exporter = otlptrace.NewUnstarted(to)
	return to
}

// Start implements otlptrace.Client.
func (c *collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *collector) Stop(context.Context) error { return nil }

func (c *collector) close() { c.client.CloseIdleConnections() }

// take gives a batch to the collector, in as many tries as holdTime has room for.
// Once hurry is closed it tries once.
func (c *collector) take(ctx context.Context, batch []sdktrace.ReadOnlySpan, hurry <-chan struct{}) error {
	until := time.Now().Add(holdTime)
	pauses := backoff.ExponentialBackOff{InitialInterval: 50 * time.Millisecond, Multiplier: 2, MaxInterval: 3300 * time.Millisecond, RandomizationFactor: 0.5}
	for {
		err := c.exporter.ExportSpans(ctx, batch)
		switch {
		case err == nil && c.silent:
			c.log.InfoContext(ctx, "the collector takes traces again")
		case err != nil && !c.silent:
			c.log.WarnContext(ctx, "the collector does not take traces, work goes on without", "error", bounded(err))
		}
		c.silent = err != nil
		if err == nil || ctx.Err() != nil || !mends(err) {
			return err
		}
		pause := max(pauses.NextBackOff(), waits(err))
		if time.Now().Add(pause).After(until) {
			return err
		}
		if !wait(pause, hurry) {
			return err
		}
	}
}

// wait returns true after a while, or false when there is none.
func wait(d time.Duration, hurry <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-hurry:
		return false
	}
}

// refused is an answer that is not yes.
type refused struct {
	status int
	after  time.Duration // that the collector asks to be left alone
}

func (e *refused) Error() string { return "it answers with status " + strconv.Itoa(e.status) }

// mends reports whether the same batch may be taken another time, by the rules of
// the protocol.
func mends(err error) bool {
	r, ok := errors.AsType[*refused](err)
	if !ok {
		return true // no answer
	}
	switch r.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func waits(err error) time.Duration {
	if r, ok := errors.AsType[*refused](err); ok {
		return r.after
	}
	return 0
}

// bounded is the text of an error as a log line may hold it.
func bounded(err error) string {
	// The URL's own error repeats it, and it may have a password in front.
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	text := err.Error()
	return text[:min(len(text), maxValueBytes)]
}

// UploadTraces implements otlptrace.Client: it posts once.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire this is an ExportTraceServiceRequest, whose package needs gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post spans: %w", err)
	}
	req.Header = c.header.Clone()
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("post spans: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxReply) // so that the connection can be used again
	if resp.StatusCode/100 == 2 {
		return nil
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return &refused{resp.StatusCode, time.Duration(min(max(seconds, 0), 60)) * time.Second}
}
