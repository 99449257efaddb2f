package analyzer_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/analyzer/visiontest"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/stage/stagetest"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a running analyzer with an in-memory broker and a folder as its store.
type rig struct {
	broker    *membroker.Broker
	originals *dirstore.Store
	analyses  chan pipeline.Analysis
	results   chan pipeline.Result
}

func start(t *testing.T) *rig {
	t.Helper()
	return startWith(t, func(*analyzer.Config, *analyzer.Deps) {}, func(*analyzer.Service) {})
}

// startWith calls parts before the analyzer is created, and made before it runs.
func startWith(t *testing.T, parts func(*analyzer.Config, *analyzer.Deps), made func(*analyzer.Service)) *rig {
	t.Helper()
	originals, err := dirstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		broker:    membroker.New(pipeline.WorkQueues()...),
		originals: originals, analyses: make(chan pipeline.Analysis, 10), results: make(chan pipeline.Result, 10),
	}
	c, err := analyzer.Config{MaxPixelBytes: 64 << 20}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	d := analyzer.Deps{Broker: r.broker, Originals: originals, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry()}
	parts(&c, &d)
	s, err := analyzer.New(t.Context(), c, d)
	if err != nil {
		t.Fatal(err)
	}
	made(s)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	go func() { ended <- s.Run(ctx) }()
	go func() { ended <- stagetest.Collect(ctx, r.broker, pipeline.MetadataGenerated, r.analyses) }()
	go func() { ended <- stagetest.Collect(ctx, r.broker, pipeline.ImageProcessed, r.results) }()
	t.Cleanup(func() {
		stop()
		for range 3 {
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

// upload reads the golden Upload of a release and changes it to one of the stored photo.
func (r *rig) upload(t *testing.T, release string, data []byte) map[string]any {
	t.Helper()
	return stagetest.Golden(t, release+"/upload.json", data, r.originals)
}

func (r *rig) publish(t *testing.T, m any) {
	t.Helper()
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.broker.Publish(t.Context(), pipeline.ImageUpload.Name, broker.Message{Body: body}); err != nil {
		t.Fatal(err)
	}
}

func photo(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("../docs/sunrise.jpg")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestReadsEveryRelease verifies that an analyzer understands the Upload of every gateway release that may
// still run with it.
func TestReadsEveryRelease(t *testing.T) {
	releases, err := os.ReadDir("../shared/pipeline/testdata")
	if err != nil || len(releases) == 0 {
		t.Fatalf("golden messages: %v, %v", releases, err)
	}
	for _, release := range releases {
		t.Run(release.Name(), func(t *testing.T) {
			r := start(t)
			m := r.upload(t, release.Name(), photo(t))
			r.publish(t, m)
			a := <-r.analyses
			if a.TraceID != pipeline.TraceID(m["trace_id"].(string)) || a.Index != 7 || a.OriginalFilename != m["original_filename"] {
				t.Errorf("envelope %+v", a.Upload)
			}
			if a.Metadata.Width != 1024 || a.Metadata.Height != 640 || a.Metadata.SHA256 != m["sha256"] || a.Metadata.Exif.CameraModel != "PENTAX K-3 II" {
				t.Errorf("metadata %+v", a.Metadata)
			}
			if len(a.Thumbnail) == 0 || len(a.Thumbnail) > pipeline.MaxThumbnailBytes {
				t.Errorf("thumbnail of %d bytes", len(a.Thumbnail))
			}
		})
	}
}

func TestFailedImages(t *testing.T) {
	r := start(t)
	t.Run("original missing", func(t *testing.T) {
		m := r.upload(t, "v1", photo(t))
		if err := r.originals.Delete(t.Context(), m["original_path"].(string)); err != nil {
			t.Fatal(err)
		}
		m["attempt"] = pipeline.MaxAttempts
		r.publish(t, m)
		if got := r.failure(t); got.Status != pipeline.Failed || got.ErrorCode != pipeline.CodeOriginalLost || !got.Retryable || got.Index != 7 {
			t.Errorf("result %+v", got)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		r.publish(t, r.upload(t, "v1", photo(t)[:60_000]))
		if got := r.failure(t); got.Status != pipeline.Failed || got.ErrorCode != pipeline.CodeDamaged || got.Retryable {
			t.Errorf("result %+v", got)
		}
	})
	t.Run("other bytes than were stored", func(t *testing.T) {
		for name, data := range map[string][]byte{"sound": photo(t), "damaged": photo(t)[:60_000]} {
			m := r.upload(t, "v1", data)
			m["sha256"], m["attempt"] = "00", pipeline.MaxAttempts
			r.publish(t, m)
			if got := r.failure(t); got.Status != pipeline.Failed || got.ErrorCode != pipeline.CodeProcessingFailed || !got.Retryable {
				t.Errorf("%s: result %+v", name, got)
			}
		}
	})
	if n := len(r.analyses); n != 0 {
		t.Errorf("%d analyses were published for failed images", n)
	}
}

// TestWrongCaptionsInReadyz verifies that /readyz names a wrong configuration of captions and stays 200.
func TestWrongCaptionsInReadyz(t *testing.T) {
	for want, reply := range map[string]visiontest.Reply{
		"wrong configuration: status 401: Incorrect API key": visiontest.Error(http.StatusUnauthorized, "Incorrect API key", "", "", ""),
		"wrong configuration: the model answers texts":       visiontest.NoPictures,
	} {
		t.Run(want, func(t *testing.T) {
			server := visiontest.Start(t, "")
			server.Play(reply)
			config, err := service.Load([]string{"HTTP_ADDR=127.0.0.1:0", "CAPTION_URL=" + server.URL, "CAPTION_MODEL=m"}, func(c *analyzer.Config) (err error) {
				*c, err = c.Complete()
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			var s *analyzer.Service
			startWith(t, func(c *analyzer.Config, d *analyzer.Deps) { *c, d.Processed = config, d.Originals }, func(made *analyzer.Service) { s = made })
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			for body := ""; !strings.Contains(body, want); {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr().String()+"/readyz", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatalf("%v, want %q in /readyz, which returns %s", err, want, body)
				}
				data, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if body = string(data); err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("/readyz returns %d %s, %v, want 200", resp.StatusCode, body, err)
				}
			}
			http.DefaultClient.CloseIdleConnections()
		})
	}
}
