package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/tracing/tracingtest"
)

// tracedSubmit posts a batch as a part of a client's trace.
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
	req.Header.Set("Tracestate", "stranger=text")
	req.Header.Set("Authorization", "Bearer hush")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var created answer
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

// The spans of an image that goes down the whole line, each under the one that
// stands before it in its row.
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

// owner is the service that records a span of that name.
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

// trace is the spans of one image.
type trace struct {
	t     *testing.T
	all   []tracingtest.Span
	known map[string]tracingtest.Span // by id
}

// never is the time of a kill that there was not.
var never time.Time

// traceOf picks the spans of an image and holds that they are one whole tree in
// which nothing begins before what it is a part of. A span that was in hand at a kill
// before the time is lost, and its parts have no parent.
func traceOf(t *testing.T, spans []tracingtest.Span, id string, killed time.Time) trace {
	t.Helper()
	tr := trace{t: t, known: map[string]tracingtest.Span{}}
	for _, s := range spans {
		if s.TraceID == id {
			tr.all = append(tr.all, s)
			if _, twice := tr.known[s.SpanID]; twice {
				t.Errorf("two spans have one id: %s", tracingtest.List([]tracingtest.Span{s}))
			}
			tr.known[s.SpanID] = s
		}
	}
	if roots := tracingtest.Named(tr.all, "image"); len(roots) != 1 || roots[0].Parent != "" || roots[0].SpanID != pipeline.RootSpan(pipeline.TraceID(id)) {
		t.Errorf("roots of %s: %s", id, tracingtest.List(roots))
	}
	for _, s := range tr.all {
		parent, ok := tr.known[s.Parent]
		switch {
		case s.Name != "image" && !ok && s.Start.After(killed):
			t.Errorf("its parent is not known: %s", tracingtest.List([]tracingtest.Span{s}))
		case ok && s.Start.Before(parent.Start), s.End.Before(s.Start):
			t.Errorf("it begins before its parent, or ends before it begins: %s", tracingtest.List([]tracingtest.Span{parent, s}))
		}
	}
	return tr
}

// complete reports whether all of the trace has arrived, less what was lost by a
// kill before the time.
func complete(spans []tracingtest.Span, id string, killed time.Time) bool {
	names, known := map[string]bool{}, map[string]bool{}
	for _, s := range spans {
		if s.TraceID == id {
			names[s.Name], known[s.SpanID] = true, true
		}
	}
	for _, s := range spans {
		if s.TraceID == id && s.Name != "image" && !known[s.Parent] && s.Start.After(killed) {
			return false
		}
	}
	return names["image"] && (names["settle"] || !names["publish image_upload"])
}

// path is the names from the root to a span.
func (tr trace) path(s tracingtest.Span) []string {
	names := []string{s.Name}
	for s.Parent != "" && len(names) < 20 {
		s = tr.known[s.Parent] // nothing, with no parent, where it is lost
		names = append([]string{s.Name}, names...)
	}
	return names
}

// has returns the only span at a path from the root.
func (tr trace) has(path ...string) tracingtest.Span {
	tr.t.Helper()
	for _, s := range tr.all {
		if slices.Equal(tr.path(s), path) {
			return s
		}
	}
	tr.t.Errorf("nothing is recorded at %q:\n%s", path, tracingtest.List(tr.all))
	return tracingtest.Span{}
}

// TestTraces sends one batch of several kinds of images down the whole line, in both
// forms of the system, and looks at everything that the collector gets.
func TestTraces(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		collector := tracingtest.Start(t)
		s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test", "LOG_FORMAT=json")
		site := origin(t, map[string][]byte{"a/My photo.jpg": photo(t)})
		id := s.tracedSubmit(t, "00-"+clientTrace+"-"+clientSpan+"-01",
			inline("sunrise.jpg", photo(t)),
			map[string]string{"url": site + "/a/My%20photo.jpg?token=hush#hush"},
			map[string]string{"url": site + "/missing.jpg?token=hush"},
			map[string]string{"base64": "data:image/jpeg;base64,/9j/4AAQ*", "name": "bad.jpg"},
			inline("cut.jpg", append(photo(t)[:50_000], 0xff, 0xd9)), // sound for all that the intake looks at
		)
		frames := watch(t, s, id)
		got := s.ended(t, id)
		checkFrames(t, frames, got)
		if status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+id+"/images/0/file", nil, nil); status != http.StatusOK {
			t.Errorf("GET file: %d", status)
		}
		spans := collector.Await("five traces", func(spans []tracingtest.Span) bool {
			for _, img := range got.Images {
				if !complete(spans, img.TraceID, never) {
					return false
				}
			}
			return len(tracingtest.Named(spans, "POST /api/v1/batch")) == 1 && len(tracingtest.Named(spans, requestFile)) == 1
		})

		request := tracingtest.Named(spans, "POST /api/v1/batch")[0]
		if request.TraceID != clientTrace || request.Parent != clientSpan || request.Attributes["http.response.status_code"] != "201" || request.Attributes["job_id"] != id {
			t.Errorf("request %+v", request)
		}
		file := tracingtest.Named(spans, requestFile)[0]
		if parts := tracingtest.Named(spans, "GET processed"); len(parts) != 1 || parts[0].Parent != file.SpanID || file.Parent != "" || file.Failed {
			t.Errorf("the request for a file is %+v, its parts are %+v", file, parts)
		}
		if sockets := tracingtest.Named(spans, "GET /api/v1/batch/:job_id/ws"); len(sockets) != 1 || sockets[0].Attributes["http.response.status_code"] != "101" {
			t.Errorf("WebSockets %+v", sockets)
		}
		link := []tracingtest.Link{{TraceID: request.TraceID, SpanID: request.SpanID}}
		var traces []trace
		for i, img := range got.Images {
			tr := traceOf(t, spans, img.TraceID, never)
			traces = append(traces, tr)
			root, in := tr.has("image"), tr.has("image", "intake")
			for _, s := range []tracingtest.Span{root, in} {
				if !slices.Equal(s.Links, link) {
					t.Errorf("%s of image %d is linked to %v, want the request %v", s.Name, i, s.Links, link)
				}
			}
			if root.Attributes["job_id"] != id || root.Attributes["index"] != fmt.Sprint(i) || root.Attributes["status"] != img.Status ||
				root.Attributes["error_code"] != img.ErrorCode || root.Message != img.Error || root.Failed != (img.Status == "failed") {
				t.Errorf("root of image %d: %+v; the API says %+v", i, root, img)
			}
			if root.Start.After(got.CreatedAt.Add(time.Second)) || root.End.Sub(img.EndTime).Abs() > time.Second {
				t.Errorf("the root of image %d is from %v to %v, the image to %v", i, root.Start, root.End, img.EndTime)
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
		if missing := traces[2].has("image", "intake", "download"); !missing.Failed || missing.Message != got.Images[2].Error || len(tracingtest.Named(traces[2].all, "publish image_upload")) != 0 {
			t.Errorf("download %+v", missing)
		}
		if bad := traces[3].has("image", "intake"); !bad.Failed || bad.Attributes["error_code"] != "invalid_base64" {
			t.Errorf("intake %+v", bad)
		}
		if cut := traces[4].has("image", "publish image_upload", "analysis"); !cut.Failed || cut.Attributes["error_code"] != "damaged_image" || cut.Attributes["attempt"] != "1" {
			t.Errorf("analysis %+v", cut)
		}
		traces[4].has("image", "publish image_upload", "analysis", "publish image_processed", "settle")
		for _, secret := range []string{"hush", "token", "photo", "sunrise", "stranger", "Bearer", site} {
			if text := fmt.Sprintf("%+v", spans); strings.Contains(text, secret) {
				t.Errorf("the traces tell of %q", secret)
			}
		}
		s.checkLogIDs(t, traces, request)
		checkSpansTable(t, spans)
	})
}

// checkSpansTable holds the table of spans in docs/operations.md to what there is.
func checkSpansTable(t *testing.T, spans []tracingtest.Span) {
	t.Helper()
	_, table, ok := strings.Cut(string(readFile(t, operations)), "\n| Span | Recorded by | What it is |\n|---|---|---|\n")
	table, _, closed := strings.Cut(table, "\n\n")
	if !ok || !closed {
		t.Fatalf("%s has no table of spans", operations)
	}
	explained := map[string]bool{} // by span id
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
			t.Errorf("nothing is recorded of %s", cell)
		}
	}
	for _, s := range spans {
		if !explained[s.SpanID] {
			t.Errorf("%s does not tell of %q", operations, s.Name)
		}
	}
}

// checkLogIDs holds that log lines and traces lead to each other.
func (s *system) checkLogIDs(t *testing.T, traces []trace, request tracingtest.Span) {
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
		t.Errorf("the log leads to the request's trace: %t, to the analysis that failed: %t", access, failed)
	}
}

// TestTracesSurviveTheGateway kills the gateway while it has an image in hand, after
// others have ended. The image's trace goes on below the same root, leads to the
// same request, and no image has two roots.
func TestTracesSurviveTheGateway(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		collector := tracingtest.Start(t)
		s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
		site, asked, open := gatedOrigin(t)
		id := s.tracedSubmit(t, "00-"+clientTrace+"-"+clientSpan+"-01", inline("a.jpg", photo(t)), map[string]string{"url": site + "/slow.jpg"})
		await(t, func() (bool, string) { return asked() == 1, "the image is not asked for" })
		collector.Await("the first image and the request", func(spans []tracingtest.Span) bool {
			return complete(spans, string(pipeline.NewTraceID(id, 0)), never) && len(tracingtest.Named(spans, "POST /api/v1/batch")) == 1
		})
		_ = s.end(syscall.SIGKILL)
		killed := time.Now()
		await(t, func() (bool, string) { return asked() == 0, "the killed gateway still asks" })
		open()
		s.start()
		s.awaitReady()
		got := s.ended(t, id)
		if got.Completed != 2 {
			t.Fatalf("job %+v", got)
		}
		spans := collector.Await("the second image", func(spans []tracingtest.Span) bool { return complete(spans, got.Images[1].TraceID, killed) })
		request := tracingtest.Named(spans, "POST /api/v1/batch")[0]
		for _, img := range got.Images {
			tr := traceOf(t, spans, img.TraceID, killed)
			for _, path := range wholeTrace {
				tr.has(path...)
			}
			for _, name := range []string{"image", "intake"} {
				for _, s := range tracingtest.Named(tr.all, name) {
					if !slices.Equal(s.Links, []tracingtest.Link{{TraceID: request.TraceID, SpanID: request.SpanID}}) {
						t.Errorf("%s is linked to %v", s.Name, s.Links)
					}
				}
			}
		}
	})
}

// TestTracesOfAPart holds that an image is recorded by all or by none, though each
// decides by itself.
func TestTracesOfAPart(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		collector := tracingtest.Start(t)
		s := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.5")
		var batch []map[string]string
		for i := range 40 {
			batch = append(batch, inline(fmt.Sprintf("%d.jpg", i), goImage(t, "video-001.jpeg")))
		}
		got := s.ended(t, s.submit(t, batch...))
		for _, p := range s.parts {
			if err := p.end(syscall.SIGTERM); err != nil { // so that all is sent
				t.Errorf("%s ends with %v", p.name, err)
			}
		}
		spans, recorded := collector.Spans(), 0
		for _, img := range got.Images {
			if !slices.ContainsFunc(spans, func(s tracingtest.Span) bool { return s.TraceID == img.TraceID }) {
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

// TestCollectorIsNoDependency holds that a batch comes to its end and the process to
// its own, whatever the collector does.
func TestCollectorIsNoDependency(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"away":   nil,
		"broken": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"silent": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client goes
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := "http://" + freeAddr(t)
			if answer != nil {
				collector := tracingtest.Start(t)
				collector.Answer(answer)
				url = collector.URL
			}
			s := forms["standalone"](t, "OTEL_EXPORTER_OTLP_ENDPOINT="+url)
			var batch []map[string]string
			for i := range 20 {
				batch = append(batch, inline(fmt.Sprintf("%d.jpg", i), goImage(t, "video-001.jpeg")))
			}
			if got := s.ended(t, s.submit(t, batch...)); got.Completed != 20 {
				t.Errorf("job %+v", got)
			}
			began := time.Now()
			if err := s.end(syscall.SIGTERM); err != nil {
				t.Errorf("the process ends with %v", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it ends after %s", took)
			}
		})
	}
}

// TestSecuredCollector holds that TLS_CA_FILE counts for the collector, and headers
// come from a file, as other secrets do.
func TestSecuredCollector(t *testing.T) {
	collector := tracingtest.StartTLS(t)
	dir := t.TempDir()
	authority, headers := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "headers")
	for file, text := range map[string][]byte{
		authority: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: collector.Server().Certificate().Raw}),
		headers:   []byte("x-key=hunter2\n"),
	} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := forms["standalone"](t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "TLS_CA_FILE="+authority, "OTEL_EXPORTER_OTLP_HEADERS_FILE="+headers, "OTEL_SERVICE_NAME=pictures")
	got := s.ended(t, s.submit(t, inline("a.jpg", photo(t))))
	spans := collector.Await("the trace", func(spans []tracingtest.Span) bool { return complete(spans, got.Images[0].TraceID, never) })
	if spans[0].Service != "pictures" || collector.Header().Get("X-Key") != "hunter2" {
		t.Errorf("service %s, headers %v", spans[0].Service, collector.Header())
	}
}

// TestTracesOff holds that nothing of it is there without a collector, whatever else
// is set, and that a mistake is told with the others when there is one.
func TestTracesOff(t *testing.T) {
	environ := []string{
		"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir(), "LOG_LEVEL=error",
		"OTEL_TRACES_SAMPLER=nonsense", "OTEL_EXPORTER_OTLP_HEADERS=nonsense", "OTEL_EXPORTER_OTLP_ENDPOINT=",
	}
	s, err := newStandalone(t.Context(), environ, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, plain := s.log.Handler().(*slog.TextHandler); !plain {
		t.Errorf("log lines go through %T", s.log.Handler())
	}
	stacks := make([]byte, 1<<20)
	if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("shared/tracing")) {
		t.Errorf("there are goroutines:\n%s", stacks)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	_, err = newStandalone(t.Context(), append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318", "JOB_RETENTION=0s"), io.Discard)
	if err == nil {
		t.Fatal("mistakes are not told")
	}
	for _, want := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT: want", "OTEL_TRACES_SAMPLER", "OTEL_EXPORTER_OTLP_HEADERS: want", "JOB_RETENTION 0s"} {
		if !strings.Contains(err.Error(), "\n"+want) {
			t.Errorf("%s is missing in %v", want, err)
		}
	}
}
