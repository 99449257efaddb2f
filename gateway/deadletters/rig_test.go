package deadletters

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a gateway without analyzers: an uploaded image's message stays in image_upload
// until the test takes it. The gateway has two API keys: the client's, which owns the
// jobs and their retries, and the operator's, which the tool uses.
type rig struct {
	*testing.T
	broker *membroker.Broker
	url    string
	client string // API key of the client
	key    string // API key of the tool
}

func setup(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, broker: membroker.New(deadletter.Queues...)}
	client, clientLine, err := apikey.New("client")
	r.must(err)
	operator, operatorLine, err := apikey.New("operator")
	r.must(err)
	r.client, r.key = client, operator
	keys := filepath.Join(t.TempDir(), "keys")
	r.must(os.WriteFile(keys, []byte(clientLine+" requests_per_minute=0\n"+operatorLine+" operator\n"), 0o600))
	environ := []string{"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir(), "API_KEYS_FILE=" + keys}
	c, err := service.Load(environ, func(c *gateway.Config) (err error) {
		*c, err = c.Complete()
		return err
	})
	r.must(err)
	open := func() *dirstore.Store {
		s, err := dirstore.Open(t.TempDir())
		r.must(err)
		return s
	}
	g, err := gateway.New(t.Context(), c, gateway.Deps{
		Broker: r.broker, Browser: r.broker, Originals: open(), Processed: open(),
		Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(),
	})
	r.must(err)
	r.url = "http://" + g.Addr().String()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // It is one.
		stop()
		r.must(<-ended)
		r.must(r.broker.Close())
	})
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// submit posts a batch of inline images with these names.
func (r *rig) submit(names ...string) (id string) {
	r.Helper()
	var picture bytes.Buffer
	r.must(png.Encode(&picture, image.NewGray(image.Rect(0, 0, 8, 8))))
	var batch struct {
		Images []map[string]string `json:"images"`
	}
	for _, name := range names {
		batch.Images = append(batch.Images, map[string]string{"name": name, "base64": base64.StdEncoding.EncodeToString(picture.Bytes())})
	}
	body, err := json.Marshal(batch)
	r.must(err)
	var created struct {
		JobID string `json:"job_id"`
	}
	r.call(http.MethodPost, "/api/v1/batch", body, &created)
	return created.JobID
}

func (r *rig) call(method, path string, body []byte, out any) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, bytes.NewReader(body))
	r.must(err)
	req.Header.Set("Authorization", "Bearer "+r.client)
	resp, err := http.DefaultClient.Do(req)
	r.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	r.must(err)
	if resp.StatusCode > 299 {
		r.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	r.must(json.Unmarshal(text, out))
}

type jobAnswer struct {
	JobID   string `json:"job_id"`
	Status  string `json:"status"`
	Failed  int    `json:"failed"`
	RetryOf string `json:"retry_of"`
	Images  []struct {
		Name   string `json:"original_filename"`
		Status string `json:"status"`
	} `json:"images"`
}

// jobs returns all jobs, the newest first.
func (r *rig) jobs() []jobAnswer {
	r.Helper()
	var list struct{ Jobs []jobAnswer }
	r.call(http.MethodGet, "/api/v1/batch", nil, &list)
	return list.Jobs
}

// await polls the job until right reports true.
func (r *rig) await(id string, right func(jobAnswer) bool) {
	r.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(30 * time.Second); ; {
		var j jobAnswer
		r.call(http.MethodGet, "/api/v1/batch/"+id, nil, &j)
		if right(j) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			r.Fatalf("job is still %+v", j)
		}
	}
}

func failed(n int) func(jobAnswer) bool { return func(j jobAnswer) bool { return j.Failed == n } }

// uploads takes n messages from image_upload.
func (r *rig) uploads(n int) []broker.Message {
	r.Helper()
	var got []broker.Message
	ctx, stop := context.WithTimeout(r.Context(), 30*time.Second)
	defer stop()
	r.must(r.broker.Consume(ctx, pipeline.ImageUpload.Name, 1, func(_ context.Context, d broker.Delivery) error {
		if len(got) == n {
			return nil
		}
		if got = append(got, d.Message); len(got) == n {
			stop()
		}
		return d.Ack()
	}))
	if len(got) != n {
		r.Fatalf("got %d uploads, want %d", len(got), n)
	}
	return got
}

// kill makes a message a dead letter, as if its image had killed its analyzer.
func (r *rig) kill(m broker.Message) {
	r.Helper()
	suspects, crashed := broker.QuarantineQueue(pipeline.ImageUpload.Name), errors.New("crashed")
	r.must(r.broker.Publish(r.Context(), suspects, m))
	for r.broker.Len(suspects) > 0 {
		err := r.broker.Consume(r.Context(), suspects, 1, func(context.Context, broker.Delivery) error { return crashed })
		if !errors.Is(err, crashed) {
			r.Fatal(err)
		}
	}
}

// bury publishes a body to the dead-letter queue, which only the operator reads.
func (r *rig) bury(body string) {
	r.Helper()
	r.must(r.broker.Publish(r.Context(), broker.DeadQueue(pipeline.ImageUpload.Name), broker.Message{Body: []byte(body)}))
}

func (r *rig) dead() int { return r.broker.Len(broker.DeadQueue(pipeline.ImageUpload.Name)) }

// run runs the tool on the broker or on a substitute.
func (r *rig) run(b deadLetterBroker, args string) (code int, output string, err error) {
	r.Helper()
	o, err := parse(strings.Fields(args))
	r.must(err)
	var out strings.Builder
	code, err = newTool(o, b, r.url, r.key, &out).run(r.Context())
	return code, out.String(), err
}

// expect runs the tool and checks its exit code and output.
func (r *rig) expect(args string, code int, want ...string) {
	r.Helper()
	got, output, err := r.run(r.broker, args)
	if err != nil || got != code {
		r.Errorf("%s: exit code %d and %v, want %d:\n%s", args, got, err, code, output)
	}
	for _, text := range want {
		if !strings.Contains(output, text) {
			r.Errorf("%s: %q is missing:\n%s", args, text, output)
		}
	}
}

func message(jobID string, index int, more string) string {
	e := pipeline.NewEnvelope(jobID, index, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	return fmt.Sprintf(`{"version":1,"job_id":%q,"trace_id":%q,"index":%d,"attempt":5,"timestamp":"2026-01-02T03:04:05Z"%s}`, e.JobID, e.TraceID, index, more)
}
