package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// scaleVariable is set in the process of a gateway: the number of jobs in its store.
const scaleWait = 3 * time.Minute

const scaleVariable = "SCALE_JOBS"

// scaleGateway is a gateway in a process of its own, with its client and a pipeline that holds
// all images until the test settles them.
type scaleGateway struct {
	*Service
	jobs, swept   int
	operator, key string // API keys of ops and of anna
	broker        *membroker.Broker
	client        http.Client
	body          string // of a batch

	mu   sync.Mutex // guards held
	held []pipeline.Upload
	pass bool // the images are not held
}

// scaleReply is the response to one command.
type scaleReply struct {
	Took     []time.Duration
	RSS, Top int // bytes: resident memory, and its peak
	Left     int // open images
	Err      string
}

// ServeScale runs a gateway as TestScale commands it, if this process was started for that.
func ServeScale() bool {
	jobs, err := strconv.Atoi(os.Getenv(scaleVariable))
	if err != nil {
		return false
	}
	replies := json.NewEncoder(os.Stdout)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	g, ended, started, err := startScale(ctx, jobs)
	if err != nil {
		_ = replies.Encode(scaleReply{Err: err.Error()})
		return true
	}
	_ = replies.Encode(g.reply([]time.Duration{started}, nil))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		name, count, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.Atoi(count)
		took, err := g.do(ctx, name, n)
		_ = replies.Encode(g.reply(took, err))
	}
	stop()
	if err := <-ended; err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return true
}

// startScale starts the gateway and returns the time until it is ready.
func startScale(ctx context.Context, jobs int) (_ *scaleGateway, ended chan error, _ time.Duration, err error) {
	g := &scaleGateway{jobs: jobs, pass: os.Getenv("SCALE_PASS") != ""}
	folder := os.Getenv("DATA_DIR")
	var lines [2]string
	if g.operator, lines[0], err = apikey.New("ops"); err == nil {
		g.key, lines[1], err = apikey.New("anna")
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "keys"), []byte(lines[0]+" operator\n"+lines[1]+"\n"), 0o600)
	}
	if err != nil {
		return nil, nil, 0, err
	}
	originals, err := dirstore.Open(filepath.Join(folder, "original"))
	if err != nil {
		return nil, nil, 0, err
	}
	processed, err := dirstore.Open(filepath.Join(folder, "processed"))
	if err != nil {
		return nil, nil, 0, err
	}
	environ := append(os.Environ(), "HTTP_ADDR=127.0.0.1:0", "API_KEYS_FILE="+filepath.Join(folder, "keys"), "KEY_REQUESTS_PER_MINUTE=0",
		"JOB_RETENTION="+scaleKept.String(), "MAX_OPEN_IMAGES=200000")
	c, err := service.Load(environ, func(c *Config) (err error) {
		*c, err = c.Complete()
		return err
	})
	if err != nil {
		return nil, nil, 0, err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		return nil, nil, 0, err
	}
	one := `{"base64":"` + base64.StdEncoding.EncodeToString(b.Bytes()) + `"}`
	g.body = `{"images":[` + strings.Repeat(one+",", scaleImages-1) + one + `]}`
	g.broker = membroker.New(pipeline.WorkQueues()...)
	start := time.Now()
	g.Service, err = New(ctx, c, Deps{
		Broker: g.broker, Browser: g.broker, Originals: originals, Processed: processed, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(),
	})
	if err != nil {
		return nil, nil, 0, err
	}
	ended = make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	go g.consume(ctx)
	for {
		_, err := g.request(ctx, http.MethodGet, "/readyz", g.operator, "")
		if err == nil {
			return g, ended, time.Since(start), nil
		}
		if time.Since(start) > scaleWait {
			return nil, nil, 0, fmt.Errorf("not ready: %w", err)
		}
		select {
		case err := <-ended:
			return nil, nil, 0, fmt.Errorf("the gateway has ended: %w", err)
		case <-time.After(time.Millisecond):
		}
	}
}

// consume takes the Uploads from the queue. It settles their images, or holds them.
func (g *scaleGateway) consume(ctx context.Context) {
	deps := stage.Deps{Broker: g.broker, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Now: time.Now, Concurrency: 64}
	_ = stage.Drain(ctx, deps, pipeline.ImageUpload, func(ctx context.Context, u pipeline.Upload) error {
		if g.pass {
			return g.settle(ctx, u)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.held = append(g.held, u)
		return nil
	})
}

func (g *scaleGateway) settle(ctx context.Context, u pipeline.Upload) error {
	u.TraceID = pipeline.NewTraceID(u.JobID, u.Index) // the filled rows have another
	return stage.Publish(ctx, g.broker, pipeline.ImageProcessed, pipeline.Ended(u.Envelope, pipeline.ProcessedKey(u.TraceID, u.OriginalPath), time.Now()))
}

// reply returns the response with the state of the process.
func (g *scaleGateway) reply(took []time.Duration, err error) scaleReply {
	r := scaleReply{Took: took}
	if err != nil {
		r.Err = err.Error()
	}
	debug.FreeOSMemory()
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
		switch name {
		case "VmRSS":
			r.RSS = kilobytes << 10
		case "VmHWM":
			r.Top = kilobytes << 10
		}
	}
	if counts, err := g.Service.jobs.Count(context.Background()); err == nil {
		r.Left = counts.OpenImages
	}
	return r
}

// scalePages are the queries of the pages that are measured, by their names in the table.
var scalePages = []struct{ name, query string }{
	{"newest first", ""},
	{"the same, with the images", "view=full"},
	{"the same, of a client with two thirds of the jobs", "anna"},
	{"oldest first", "order=oldest"},
	{"behind a cursor in the middle", "cursor"},
	{"`status=completed`", "status=completed"},
	{"`status=failed`", "status=failed"},
	{"`status=pending,processing`: none", "status=pending,processing"},
	{"all statuses", "status=pending,processing,completed,failed,cancelled"},
	{"`failed_images`", "failed_images=true"},
	{"`failed_images`, `status=failed`", "failed_images=true&status=failed"},
	{"`uncaptioned`", "uncaptioned=true"},
	{"created in the middle", "created_after=M"},
	{"`status=failed`, created in the middle", "status=failed&created_before=M"},
	{"`retry_of`", "retry_of=R"},
	{"`owner` of two thirds", "owner=anna"},
	{"`owner` of a fiftieth", "owner=dora"},
	{"`owner`, `status=failed`", "owner=bert&status=failed"},
	{"`owner`, `failed_images`", "owner=anna&failed_images=true"},
	{"`owner`, `uncaptioned`", "owner=bert&uncaptioned=true"},
	{"`upload`", "upload=U"},
	{"`upload`, `status=failed`", "upload=U&status=failed"},
	{"`q`, the start of an ID", "q=I"},
	{"`q`, in every name", "q=IMG"},
	{"`q`, in one of a thousand jobs", "q=beach"},
	{"`q`, in no name", "q=nothing"},
	{"`q`, in no name, `status=failed`", "q=nothing&status=failed"},
	{"`q`, in no name, of a client", "anna&q=nothing"},
}

// do performs n operations and returns the time of each.
func (g *scaleGateway) do(ctx context.Context, name string, n int) (took []time.Duration, err error) {
	for range max(n, 1) {
		var one time.Duration
		switch name {
		case "status":
			one, err = g.get(ctx, g.operator, "/api/v1/batch/"+scaleJob(g.jobs-rand.N(min(g.jobs/10, 100))))
		case "any":
			one, err = g.get(ctx, g.operator, "/api/v1/batch/"+scaleJob(g.jobs-rand.N(g.jobs/2)))
		case "counts":
			one, err = g.get(ctx, g.operator, "/api/v1/counts")
		case "create":
			one, err = g.request(ctx, http.MethodPost, "/api/v1/batch", g.key, g.body)
		case "settle":
			one, err = g.settleHeld(ctx)
		case "sweep":
			one, err = g.sweep(ctx)
		case "drain":
			one, err = g.drain(ctx)
		default:
			i, failed := strconv.Atoi(strings.TrimPrefix(name, "page"))
			if failed != nil {
				return nil, failed
			}
			one, err = g.page(ctx, scalePages[i].query)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		took = append(took, one)
	}
	return took, nil
}

// page requests a page of ten jobs.
func (g *scaleGateway) page(ctx context.Context, query string) (time.Duration, error) {
	key, middle := g.operator, time.Now().Add(-scaleOldest/2)
	if strings.HasPrefix(query, "anna") {
		key = g.key
	}
	if query == "cursor" {
		at := binary.BigEndian.AppendUint64(nil, uint64(middle.UnixNano()))
		query = "page_token=" + base64.RawURLEncoding.EncodeToString(append(at, scaleJob(g.jobs/2)...))
	}
	n := g.jobs / 2
	query = strings.NewReplacer("=M", "="+url.QueryEscape(middle.UTC().Format(time.RFC3339)), "=R", "="+scaleJob(n-n%200+4), "=U", fmt.Sprintf("=upload-%d", n/20), "=I", "="+scaleJob(n)[:13]).Replace(query)
	if !strings.Contains(query, "view=") {
		query += "&view=summary"
	}
	return g.get(ctx, key, "/api/v1/batch?limit=10&"+query)
}

func (g *scaleGateway) get(ctx context.Context, key, path string) (time.Duration, error) {
	return g.request(ctx, http.MethodGet, path, key, "")
}

// request returns the time until the whole response has been read.
func (g *scaleGateway) request(ctx context.Context, method, path, key, body string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+g.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	start := time.Now()
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	took := time.Since(start)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, text)
	}
	return took, err
}

// settleHeld settles the held images concurrently and returns the mean time of one.
func (g *scaleGateway) settleHeld(ctx context.Context) (time.Duration, error) {
	if err := g.await(ctx, func() bool {
		counts, err := g.Service.jobs.Count(ctx)
		g.mu.Lock()
		defer g.mu.Unlock()
		return err == nil && len(g.held) > 0 && len(g.held) == counts.OpenImages
	}); err != nil {
		return 0, fmt.Errorf("wait for the uploads: %w", err)
	}
	g.mu.Lock()
	held := g.held
	g.held = nil
	g.mu.Unlock()
	start := time.Now()
	var all errgroup.Group
	for _, u := range held {
		all.Go(func() error { return g.settle(ctx, u) })
	}
	if err := all.Wait(); err != nil {
		return 0, err
	}
	_, err := g.drain(ctx)
	return time.Since(start) / time.Duration(len(held)), err
}

// drain waits until no image is open.
func (g *scaleGateway) drain(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	err := g.await(ctx, func() bool {
		counts, err := g.Service.jobs.Count(ctx)
		return err == nil && counts.OpenImages == 0
	})
	return time.Since(start), err
}

// await checks every millisecond whether the condition is met, for five minutes at most.
func (g *scaleGateway) await(ctx context.Context, met func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, scaleWait)
	defer cancel()
	for !met() {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// sweepJobs is the number of expired jobs that one sweep deletes.
const sweepJobs = 100

// sweep deletes the next expired jobs and returns the mean time of one.
func (g *scaleGateway) sweep(ctx context.Context) (time.Duration, error) {
	before, err := g.Service.jobs.Count(ctx)
	if err != nil {
		return 0, err
	}
	g.swept += sweepJobs
	filled, err := strconv.ParseInt(os.Getenv("SCALE_FILLED"), 10, 64)
	if err != nil {
		return 0, err
	}
	// The ends of the expired jobs are a second apart.
	end := time.UnixMicro(filled).Add(time.Minute - scaleExpired + time.Duration(g.swept)*time.Second)
	start := time.Now()
	if err := g.intake.Expire(ctx, end.Add(scaleKept+time.Second/2)); err != nil {
		return 0, err
	}
	took := time.Since(start)
	after, err := g.Service.jobs.Count(ctx)
	if deleted := before.Jobs - after.Jobs; err == nil && deleted != sweepJobs {
		err = fmt.Errorf("%d jobs were deleted, want %d", deleted, sweepJobs)
	}
	return took / sweepJobs, err
}
