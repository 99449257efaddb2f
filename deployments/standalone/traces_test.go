package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// tracedSubmit posts a batch as part of a client's trace.
func (s *system) tracedSubmit(t *testing.T, traceparent string, images ...map[string]string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"images": images})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url("/api/v1/batch"), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", traceparent)
	req.Header.Set("Tracestate", "othervendor=text")
	req.Header.Set("Authorization", "Bearer hush")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var created jobResponse
	if err := json.NewDecoder(resp.Body).Decode(&created); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("POST: %d, %v", resp.StatusCode, err)
	}
	return created.JobID
}

// The client's own trace.
const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	clientSpan  = "b7ad6b7169203331"
)

// The spans of an image that passes the whole pipeline: each row is a path from the root.
var wholeTrace = [][]string{
	{"image", "intake", "PUT originals"},
	{"image", "publish image_upload", "queue image_upload"},
	{"image", "publish image_upload", "analysis", "GET originals"},
	{"image", "publish image_upload", "analysis", "publish metadata_generated", "queue metadata_generated"},
	{"image", "publish image_upload", "analysis", "publish metadata_generated", "processing", "GET originals"},
	{"image", "publish image_upload", "analysis", "publish metadata_generated", "processing", "PUT processed"},
	{"image", "publish image_upload", "analysis", "publish metadata_generated", "processing", "publish image_processed", "queue image_processed"},
	{"image", "publish image_upload", "analysis", "publish metadata_generated", "processing", "publish image_processed", "settle", "broadcast job_events"},
}

// owner returns the service that records a span of that name.
func owner(name string) string {
	switch name {
	case "analysis", "publish metadata_generated", "queue image_upload":
		return "analyzer"
	case "processing", "PUT processed", "publish image_processed", "queue metadata_generated":
		return "processor"
	}
	return "gateway"
}

const requestFile = "GET /api/v1/batch/:job_id/images/:index/file"

// TestTraces sends one batch with several kinds of images through the whole pipeline, in both
// forms of the system, and checks every span that the collector receives.
func TestTraces(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		collector := telemetrytest.Start(t)
		hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		t.Cleanup(hook.Close)
		webhooks := filepath.Join(t.TempDir(), "webhooks")
		if err := os.WriteFile(webhooks, []byte(hook.URL+"/?token=hush whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test", "LOG_FORMAT=json",
			"WEBHOOKS_FILE="+webhooks, "WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8")
		site := origin(t, map[string][]byte{"a/My photo.jpg": photo(t)})
		id := s.tracedSubmit(t, "00-"+clientTrace+"-"+clientSpan+"-01",
			inline("sunrise.jpg", photo(t)),
			map[string]string{"url": site + "/a/My%20photo.jpg?token=hush#hush"},
			map[string]string{"url": site + "/missing.jpg?token=hush"},
			map[string]string{"base64": "data:image/jpeg;base64,/9j/4AAQ*", "name": "bad.jpg"},
			inline("cut.jpg", append(photo(t)[:50_000], 0xff, 0xd9)), // valid as far as the intake checks
		)
		frames := watch(t, s, id)
		got := s.ended(t, id)
		checkFrames(t, frames, got)
		if status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+id+"/images/0/file", nil, nil); status != http.StatusOK {
			t.Errorf("GET file: %d", status)
		}
		spans := collector.Await("five traces", func(spans []telemetrytest.Span) bool {
			for _, img := range got.Images {
				if !complete(spans, img.TraceID, never) {
					return false
				}
			}
			for _, name := range []string{"POST /api/v1/batch", requestFile, "webhook"} {
				if len(telemetrytest.Named(spans, name)) != 1 {
					return false
				}
			}
			return true
		})

		request := telemetrytest.Named(spans, "POST /api/v1/batch")[0]
		if request.TraceID != clientTrace || request.Parent != clientSpan || request.Attributes["http.response.status_code"] != "201" || request.Attributes["job_id"] != id {
			t.Errorf("request %+v", request)
		}
		if hook := telemetrytest.Named(spans, "webhook")[0]; hook.TraceID != request.TraceID || hook.Failed || hook.Attributes["job_id"] != id || hook.Attributes["http.response.status_code"] != "200" {
			t.Errorf("webhook %+v", hook)
		}
		file := telemetrytest.Named(spans, requestFile)[0]
		if parts := telemetrytest.Named(spans, "GET processed"); len(parts) != 1 || parts[0].Parent != file.SpanID || file.Parent != "" || file.Failed {
			t.Errorf("the request for a file is %+v, its child spans are %+v", file, parts)
		}
		if sockets := telemetrytest.Named(spans, "GET /api/v1/batch/:job_id/ws"); len(sockets) != 1 || sockets[0].Attributes["http.response.status_code"] != "101" {
			t.Errorf("WebSockets %+v", sockets)
		}
		link := []telemetrytest.Link{{TraceID: request.TraceID, SpanID: request.SpanID}}
		var traces []trace
		for i, img := range got.Images {
			tr := traceOf(t, spans, img.TraceID, never)
			traces = append(traces, tr)
			root, in := tr.has("image"), tr.has("image", "intake")
			for _, s := range []telemetrytest.Span{root, in} {
				if !slices.Equal(s.Links, link) {
					t.Errorf("%s of image %d is linked to %v, want the request %v", s.Name, i, s.Links, link)
				}
			}
			if root.Attributes["job_id"] != id || root.Attributes["index"] != fmt.Sprint(i) || root.Attributes["status"] != img.Status ||
				root.Attributes["error_code"] != img.ErrorCode || root.Message != img.Error || root.Failed != (img.Status == "failed") {
				t.Errorf("root of image %d: %+v; the API returns %+v", i, root, img)
			}
			if root.Start.After(got.CreatedAt.Add(time.Second)) || root.End.Sub(img.EndTime).Abs() > time.Second {
				t.Errorf("the root of image %d lasts from %v to %v, but the image ended at %v", i, root.Start, root.End, img.EndTime)
			}
			for _, s := range tr.all {
				want := "standalone"
				if strings.HasSuffix(t.Name(), "/services") && i < 2 {
					want = owner(s.Name)
				} else if i >= 2 {
					want = s.Service
				}
				if s.Service != want && s.Name != "GET originals" || s.Resource["deployment.environment.name"] != "test" {
					t.Errorf("%s is recorded by %s, %v", s.Name, s.Service, s.Resource)
				}
			}
		}
		for i := range 2 {
			for _, path := range wholeTrace {
				traces[i].has(path...)
			}
		}
		fetched := traces[1].has("image", "intake", "download")
		if fetched.Attributes["server.address"] != "127.0.0.1" {
			t.Errorf("download %+v", fetched)
		}
		if missing := traces[2].has("image", "intake", "download"); !missing.Failed || missing.Message != got.Images[2].Error || len(telemetrytest.Named(traces[2].all, "publish image_upload")) != 0 {
			t.Errorf("download %+v", missing)
		}
		if bad := traces[3].has("image", "intake"); !bad.Failed || bad.Attributes["error_code"] != "invalid_base64" {
			t.Errorf("intake %+v", bad)
		}
		if cut := traces[4].has("image", "publish image_upload", "analysis"); !cut.Failed || cut.Attributes["error_code"] != "damaged_image" || cut.Attributes["attempt"] != "1" {
			t.Errorf("analysis %+v", cut)
		}
		traces[4].has("image", "publish image_upload", "analysis", "publish image_processed", "settle")
		for _, secret := range []string{"hush", "token", "photo", "sunrise", "othervendor", "Bearer", site} {
			if text := fmt.Sprintf("%+v", spans); strings.Contains(text, secret) {
				t.Errorf("the traces contain %q", secret)
			}
		}
		s.checkLogIDs(t, traces, request)
		checkSpansTable(t, spans)
	})
}

// checkSpansTable compares the table of spans in docs/operations.md with the recorded spans.
func checkSpansTable(t *testing.T, spans []telemetrytest.Span) {
	t.Helper()
	_, table, ok := strings.Cut(string(readFile(t, operations)), "\n| Span | Recorded by | What it is |\n|---|---|---|\n")
	table, _, closed := strings.Cut(table, "\n\n")
	if !ok || !closed {
		t.Fatalf("%s has no table of spans", operations)
	}
	explained := map[string]bool{} // by span ID
	for row := range strings.SplitSeq(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		before := len(explained)
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			prefix, open := strings.CutSuffix(name[1], "…")
			for _, s := range spans {
				if s.Name == prefix || open && strings.HasPrefix(s.Name, prefix) {
					explained[s.SpanID] = true
				}
			}
		}
		if len(explained) == before {
			t.Errorf("no span matches %s", cell)
		}
	}
	for _, s := range spans {
		if !explained[s.SpanID] {
			t.Errorf("%s does not describe the span %q", operations, s.Name)
		}
	}
}

// checkLogIDs verifies that log lines contain the IDs of their traces and spans.
func (s *system) checkLogIDs(t *testing.T, traces []trace, request telemetrytest.Span) {
	t.Helper()
	access, failed := false, false
	for _, p := range s.parts {
		p.mu.Lock()
		text := p.log.String()
		p.mu.Unlock()
		for line := range strings.Lines(text) {
			var l struct {
				Msg, Route string
				TraceID    string `json:"trace_id"`
				SpanID     string `json:"span_id"`
				Method     string
			}
			if json.Unmarshal([]byte(line), &l) != nil {
				continue
			}
			access = access || l.Msg == "request" && l.Method == http.MethodPost && l.TraceID == request.TraceID && l.SpanID == request.SpanID
			failed = failed || l.Msg == "image failed" && traces[4].known[l.SpanID].Name == "analysis"
		}
	}
	if !access || !failed {
		t.Errorf("the log has the IDs of the request's trace: %t, of the failed analysis: %t", access, failed)
	}
}

// TestTracesSurviveGatewayCrash kills the gateway while it has an image in flight, after
// others have ended. It verifies that the image's trace continues below the same root, that it
// links to the same request, and that no image has two roots.
func TestTracesSurviveGatewayCrash(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		collector := telemetrytest.Start(t)
		s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
		site, blocked, open := gatedOrigin(t)
		id := s.tracedSubmit(t, "00-"+clientTrace+"-"+clientSpan+"-01", inline("a.jpg", photo(t)), map[string]string{"url": site + "/slow.jpg"})
		await(t, func() (bool, string) { return blocked() == 1, "the image is not requested" })
		collector.Await("the first image and the request", func(spans []telemetrytest.Span) bool {
			return complete(spans, string(pipeline.NewTraceID(id, 0)), never) && len(telemetrytest.Named(spans, "POST /api/v1/batch")) == 1
		})
		_ = s.end(syscall.SIGKILL)
		killed := time.Now()
		await(t, func() (bool, string) { return blocked() == 0, "the killed gateway still downloads" })
		open()
		s.start()
		s.awaitReady()
		got := s.ended(t, id)
		if got.Completed != 2 {
			t.Fatalf("job %+v", got)
		}
		spans := collector.Await("the second image", func(spans []telemetrytest.Span) bool { return complete(spans, got.Images[1].TraceID, killed) })
		request := telemetrytest.Named(spans, "POST /api/v1/batch")[0]
		for _, img := range got.Images {
			tr := traceOf(t, spans, img.TraceID, killed)
			for _, path := range wholeTrace {
				tr.has(path...)
			}
			for _, name := range []string{"image", "intake"} {
				for _, s := range telemetrytest.Named(tr.all, name) {
					if !slices.Equal(s.Links, []telemetrytest.Link{{TraceID: request.TraceID, SpanID: request.SpanID}}) {
						t.Errorf("%s is linked to %v", s.Name, s.Links)
					}
				}
			}
		}
	})
}

// TestSampledTraces verifies that either all services record an image or none, although each
// service decides by itself.
func TestSampledTraces(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		collector := telemetrytest.Start(t)
		s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.5")
		var batch []map[string]string
		for i := range 40 {
			batch = append(batch, inline(fmt.Sprintf("%d.jpg", i), goImage(t, "video-001.jpeg")))
		}
		got := s.ended(t, s.submit(t, batch...))
		for _, p := range s.parts {
			if err := p.end(syscall.SIGTERM); err != nil { // sends all remaining spans
				t.Errorf("stop %s: %v", p.name, err)
			}
		}
		spans, recorded := collector.Spans(), 0
		for _, img := range got.Images {
			if !slices.ContainsFunc(spans, func(s telemetrytest.Span) bool { return s.TraceID == img.TraceID }) {
				continue
			}
			recorded++
			tr := traceOf(t, spans, img.TraceID, never)
			for _, path := range wholeTrace {
				tr.has(path...)
			}
		}
		if recorded < 5 || recorded > 35 {
			t.Errorf("%d of 40 images are recorded, want about half", recorded)
		}
	})
}

// TestTracesThroughUntracedService runs an analyzer without a collector between services with
// one. It verifies that their spans still form one trace.
func TestTracesThroughUntracedService(t *testing.T) {
	t.Parallel()
	collector := telemetrytest.Start(t)
	env := serverEnv(t, lentVhost(t))
	traced := append(slices.Clone(env), "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	s := &system{process: launch(t, "gateway", traced...)}
	launch(t, "analyzer", env...)
	launch(t, "processor", traced...)
	got := s.ended(t, s.submit(t, inline("a.jpg", photo(t))))
	id := got.Images[0].TraceID
	tr := traceOf(t, collector.Await("the trace", func(spans []telemetrytest.Span) bool { return complete(spans, id, never) }), id, never)
	tr.has("image", "publish image_upload", "processing", "PUT processed")
	tr.has("image", "publish image_upload", "processing", "publish image_processed", "settle")
}
