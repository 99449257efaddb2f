package processor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage/stagetest"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a running processor with an in-memory broker and two folders as stores.
type rig struct {
	broker    *membroker.Broker
	originals *dirstore.Store
	processed *watched
	results   chan pipeline.Result
}

// watched is a store that can be unavailable, and that records what was put.
type watched struct {
	objectstore.Store

	mu     sync.Mutex // guards the fields below
	outage int        // number of puts that fail
	puts   map[string][][]byte
}

func (w *watched) Put(ctx context.Context, key string, c objectstore.Content) error {
	w.mu.Lock()
	if w.outage > 0 {
		w.outage--
		w.mu.Unlock()
		return objectstore.ErrUnavailable
	}
	w.puts[key] = append(w.puts[key], bytes.Clone(c.Data))
	w.mu.Unlock()
	return w.Store.Put(ctx, key, c)
}

func start(t *testing.T) *rig { return startWith(t, processor.Config{}) }

func startWith(t *testing.T, c processor.Config) *rig {
	t.Helper()
	return startLogged(t, c, slog.New(slog.DiscardHandler))
}

func startLogged(t *testing.T, c processor.Config, log *slog.Logger) *rig {
	t.Helper()
	open := func() *dirstore.Store {
		s, err := dirstore.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	r := &rig{
		broker:    membroker.New(pipeline.WorkQueues()...),
		originals: open(), processed: &watched{Store: open(), puts: map[string][][]byte{}}, results: make(chan pipeline.Result, 10),
	}
	c, err := c.Complete()
	if err != nil {
		t.Fatal(err)
	}
	s, err := processor.New(t.Context(), c, processor.Deps{
		Broker: r.broker, Originals: r.originals, Processed: r.processed, Log: log, Metrics: telemetry.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx) }()
	go func() { ended <- stagetest.Collect(ctx, r.broker, pipeline.ImageProcessed, r.results) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if err := r.broker.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// analysis reads the golden Analysis of a release and changes it to one of the stored photo.
func (r *rig) analysis(t *testing.T, release string) (m map[string]any, body []byte) {
	t.Helper()
	data, err := os.ReadFile("../docs/sunrise.jpg")
	if err != nil {
		t.Fatal(err)
	}
	m = stagetest.Golden(t, release+"/analysis.json", data, r.originals)
	body, err = json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return m, body
}

func (r *rig) publish(t *testing.T, body []byte) {
	t.Helper()
	if err := r.broker.Publish(t.Context(), pipeline.MetadataGenerated.Name, broker.Message{Body: body}); err != nil {
		t.Fatal(err)
	}
}

// TestReadsEveryRelease verifies that a processor understands the Analysis of every analyzer release that may
// still run with it, and that all outputs are complete before the result is published.
func TestReadsEveryRelease(t *testing.T) {
	releases, err := os.ReadDir("../shared/pipeline/testdata")
	if err != nil || len(releases) == 0 {
		t.Fatalf("golden messages: %v, %v", releases, err)
	}
	for _, release := range releases {
		t.Run(release.Name(), func(t *testing.T) {
			r := start(t)
			m, body := r.analysis(t, release.Name())
			r.publish(t, body)
			got := <-r.results
			if got.Status != pipeline.Completed || got.ProcessedPath != m["original_path"] || got.Index != 7 {
				t.Fatalf("result %+v", got)
			}
			if record := m["metadata"].(map[string]any); got.Appearance.PHash != record["phash"] || float64(got.Appearance.Width) != record["width"] || float64(got.Appearance.Height) != record["height"] {
				t.Errorf("got the appearance %+v", got.Appearance)
			}
			for _, key := range []string{got.ProcessedPath, pipeline.RecordKey(got.ProcessedPath), pipeline.ThumbnailKey(got.ProcessedPath)} {
				if data, err := objectstore.ReadAll(t.Context(), r.processed, key, 1<<20); err != nil || len(data) == 0 {
					t.Errorf("%s: %d bytes, %v", key, len(data), err)
				}
			}
		})
	}
}

// TestStoresASidecar verifies that a requested sidecar is stored before the result of the image is published.
func TestStoresASidecar(t *testing.T) {
	r := startWith(t, processor.Config{SidecarXMP: true})
	_, body := r.analysis(t, "v1")
	r.publish(t, body)
	got := <-r.results
	sidecar, err := objectstore.ReadAll(t.Context(), r.processed, pipeline.SidecarKey(got.ProcessedPath), 1<<20)
	if err != nil || !bytes.Contains(sidecar, []byte("imagebatch:PHash=")) {
		t.Errorf("sidecar %.80q, %v", sidecar, err)
	}
	image, err := objectstore.ReadAll(t.Context(), r.processed, got.ProcessedPath, 1<<20)
	if err != nil || !bytes.Contains(image, sidecar) {
		t.Errorf("the image does not contain the packet of its sidecar: %v", err)
	}
}

func TestConfigMistakes(t *testing.T) {
	_, err := processor.Config{Concurrency: 257, EmbedDescriptive: "sometimes", CaptionKeywordParent: "AI||dogs"}.Complete()
	for _, name := range []string{"CONCURRENCY", "EMBED_DESCRIPTIVE", "CAPTION_KEYWORD_PARENT"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is invalid, but the error is %v", name, err)
		}
	}
}

// TestEmbedDescriptive verifies which values write composed words into a file, and that the old name of a value is
// accepted with a warning.
func TestEmbedDescriptive(t *testing.T) {
	for value, want := range map[string]struct{ written, warned bool }{
		"": {}, "never": {}, "captions": {}, "all": {written: true}, "fill": {written: true, warned: true},
	} {
		t.Run(value, func(t *testing.T) {
			var log bytes.Buffer
			r := startLogged(t, processor.Config{EmbedDescriptive: value}, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
			if warned := strings.Contains(log.String(), "EMBED_DESCRIPTIVE"); warned != want.warned {
				t.Errorf("warned: %v", warned)
			}
			_, body := r.analysis(t, "v1")
			var a map[string]any
			if err := json.Unmarshal(body, &a); err != nil {
				t.Fatal(err)
			}
			metadata := a["metadata"].(map[string]any)
			metadata["description"], metadata["composed"] = "A composed description", []string{"description"}
			body, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			r.publish(t, body)
			got := <-r.results
			image, err := objectstore.ReadAll(t.Context(), r.processed, got.ProcessedPath, 1<<20)
			if written := bytes.Contains(image, []byte("A composed description")); err != nil || written != want.written {
				t.Errorf("written: %v, %v", written, err)
			}
			record, err := objectstore.ReadAll(t.Context(), r.processed, pipeline.RecordKey(got.ProcessedPath), 1<<20)
			if err != nil || !bytes.Contains(record, []byte("A composed description")) {
				t.Errorf("the record lacks the description: %v", err)
			}
		})
	}
}

// TestDuplicatesChangeNothing verifies that a message that is delivered a hundred times stores the same bytes
// each time.
func TestDuplicatesChangeNothing(t *testing.T) {
	r := start(t)
	_, body := r.analysis(t, "v1")
	for range 100 {
		r.publish(t, body)
	}
	for range 100 {
		if got := <-r.results; got.Status != pipeline.Completed {
			t.Fatalf("result %+v", got)
		}
	}
	r.processed.mu.Lock()
	defer r.processed.mu.Unlock()
	if len(r.processed.puts) != 3 {
		t.Errorf("%d keys, want 3", len(r.processed.puts))
	}
	for key, puts := range r.processed.puts {
		for _, data := range puts {
			if !bytes.Equal(data, puts[0]) {
				t.Errorf("%s was stored with other bytes", key)
				break
			}
		}
	}
}

// TestOutage verifies that no result is published while the store is unavailable, and that the outage does not
// count as an attempt.
func TestOutage(t *testing.T) {
	r := start(t)
	r.processed.outage = 4
	m, body := r.analysis(t, "v1")
	r.publish(t, body)
	got := <-r.results
	if got.Status != pipeline.Completed || got.ProcessedPath != m["original_path"] {
		t.Errorf("result %+v", got)
	}
}

func TestFailedImages(t *testing.T) {
	r := start(t)
	m, _ := r.analysis(t, "v1")
	if err := r.originals.Delete(t.Context(), m["original_path"].(string)); err != nil {
		t.Fatal(err)
	}
	m["attempt"] = pipeline.MaxAttempts
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r.publish(t, body)
	if got := <-r.results; got.Status != pipeline.Failed || got.ErrorCode != pipeline.CodeOriginalLost {
		t.Errorf("result %+v", got)
	}
}
