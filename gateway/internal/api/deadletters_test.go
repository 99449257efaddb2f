package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// bury publishes a message to the dead-letter queue of a work queue.
func (r *rig) bury(queue, body string) {
	r.Helper()
	r.must(r.broker.Publish(r.Context(), broker.DeadQueue(queue), broker.Message{Body: []byte(body)}))
}

func (r *rig) dead(queue string) int { return r.broker.Len(broker.DeadQueue(queue)) }

// deadMessage returns a message of an image, with more members.
func deadMessage(id string, index int, more string) string {
	return fmt.Sprintf(`{"version":1,"job_id":%q,"trace_id":%q,"index":%d,"attempt":5,"timestamp":"2026-01-02T03:04:05Z"%s}`, id, pipeline.NewTraceID(id, index), index, more)
}

type deadLetters struct {
	DeadLetters []struct {
		deadletter.Entry
		Action string `json:"action"`
		NewJob string `json:"new_job_id"`
		Detail string `json:"detail"`
	} `json:"dead_letters"`
	Truncated *bool `json:"truncated"`
}

func (r *rig) decodeDead(got response) (d deadLetters) {
	r.Helper()
	if got.status != 200 {
		r.Fatalf("got %d %s", got.status, got.body)
	}
	r.must(json.Unmarshal(got.body, &d))
	return d
}

func deadPath(queue, id string, index int) string {
	return "/api/v1/dead-letters/" + queue + "/" + string(pipeline.NewTraceID(id, index))
}

// TestListOfDeadLetters verifies what a list contains, that it is in order and bounded, and that it
// removes nothing.
func TestListOfDeadLetters(t *testing.T) {
	r := setup(t, options{})
	if got := r.get("/api/v1/dead-letters"); string(got.body) != `{"dead_letters":[],"truncated":false}`+"\n" {
		t.Errorf("without any: got %d %s", got.status, got.body)
	}
	r.bury("image_processed", "no \xff JSON")
	r.bury("image_upload", deadMessage(unknown, 7, `,"original_filename":"a.png"`))
	r.bury("image_upload", deadMessage(unknown, 8, `,"original_filename":"`+strings.Repeat("x", 100_000)+`"`))
	first := r.get("/api/v1/dead-letters")
	d := r.decodeDead(first)
	if len(d.DeadLetters) != 3 || d.Truncated == nil || *d.Truncated || len(first.body) > 2000 {
		t.Fatalf("got %d bytes: %.3000s", len(first.body), first.body)
	}
	want := deadletter.Entry{
		Queue: "image_upload", DiedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), JobID: unknown, TraceID: string(pipeline.NewTraceID(unknown, 7)),
		Index: 7, Filename: "a.png", Attempt: 5, Reason: "failed 5 times", Bytes: len(deadMessage(unknown, 7, `,"original_filename":"a.png"`)),
	}
	if got := d.DeadLetters[0].Entry; got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if bad := d.DeadLetters[2]; bad.Queue != "image_processed" || bad.TraceID != "" || !strings.HasPrefix(bad.Fault, "invalid message") || bad.Bytes != 9 {
		t.Errorf("the message that is none: %+v", bad)
	}
	if again := r.get("/api/v1/dead-letters"); string(again.body) != string(first.body) {
		t.Errorf("the second list differs:\n%s%s", first.body, again.body)
	}
	for _, name := range []string{"image_processed", "image_processed.dead"} {
		if d := r.decodeDead(r.get("/api/v1/dead-letters?queue=" + name)); len(d.DeadLetters) != 1 {
			t.Errorf("queue=%s: got %+v", name, d)
		}
	}
	const wrong = "queue must be one of image_upload, image_described, metadata_generated, image_processed"
	for _, query := range []string{"queue=none", "queue=dead_results", "queue=image_upload&queue=image_upload", "queue=.dead"} {
		wantError(t, r.get("/api/v1/dead-letters?"+query), 400, wrong)
	}
	for i := range 600 {
		r.bury("metadata_generated", deadMessage(unknown, i, ""))
	}
	for range 2 {
		d = r.decodeDead(r.get("/api/v1/dead-letters?queue=metadata_generated"))
		if len(d.DeadLetters) != 500 || !*d.Truncated || d.DeadLetters[0].Index != 0 || d.DeadLetters[499].Index != 499 {
			t.Errorf("of 600: got %d, truncated %v", len(d.DeadLetters), *d.Truncated)
		}
	}
	if r.dead("image_upload") != 2 || r.dead("image_processed") != 1 || r.dead("metadata_generated") != 600 {
		t.Error("a list has removed dead letters")
	}
}

// TestReplayOfDeadLetters verifies what a replay does with the dead letter of each kind of image, and that a
// second replay creates no second job.
func TestReplayOfDeadLetters(t *testing.T) {
	var log lockedBuffer
	keys := newKeyFile(t, "anna", "ops operator")
	r := setup(t, options{keys: keys.Store, log: &log})
	replay := func(queue, id string, index int) response {
		return r.as(keys, "ops", "POST", deadPath(queue, id, index)+"/replay", "")
	}
	failed := r.createAs(keys, "anna", 2)
	r.bury("image_upload", "no JSON")
	r.bury("image_upload", deadMessage(failed, 0, ""))
	r.bury("image_upload", deadMessage(failed, 0, `,"second":1`))
	r.bury("metadata_generated", deadMessage(failed, 0, ""))
	r.bury("image_upload", deadMessage(failed, 1, ""))
	r.end(failed, 0, errDamaged)
	wantError(t, replay("image_upload", failed, 0), 409, "Dead letter stays: its job still runs; replay it again after the end of the job")
	r.end(failed, 1, errDamaged)
	d := r.decodeDead(replay("image_upload", failed, 0))
	if len(d.DeadLetters) != 2 || d.DeadLetters[0].Action != "retried" || d.DeadLetters[0].NewJob == "" || d.DeadLetters[1].NewJob != d.DeadLetters[0].NewJob || d.Truncated != nil {
		t.Errorf("both dead letters of the image: got %+v", d)
	}
	if r.dead("image_upload") != 2 || r.dead("metadata_generated") != 1 {
		t.Errorf("%d and %d dead letters stay, want 2 and 1", r.dead("image_upload"), r.dead("metadata_generated"))
	}
	created := d.DeadLetters[0].NewJob
	if j := r.decodeJob(r.as(keys, "anna", "GET", "/api/v1/batch/"+created, ""), 200); j.RetryOf != failed || j.Total != 2 {
		t.Errorf("the new job, as its owner sees it: %+v", j)
	}
	for _, again := range []response{replay("metadata_generated", failed, 0), replay("image_upload", failed, 1)} {
		if d := r.decodeDead(again); len(d.DeadLetters) != 1 || d.DeadLetters[0].NewJob != created {
			t.Errorf("another dead letter of the job: %+v, want the job %s", d, created)
		}
	}
	// The command uses the same key: it finds the job that the API created.
	if j := r.decodeJob(r.as(keys, "ops", "POST", "/api/v1/batch/"+failed+"/retry", "", "Idempotency-Key", deadletter.RetryKey(failed)), 201); j.JobID != created {
		t.Errorf("the command's retry creates the job %s, want %s", j.JobID, created)
	}
	wantError(t, replay("image_upload", failed, 0), 404, "Dead letter not found: image_upload/"+string(pipeline.NewTraceID(failed, 0)))

	open, done, cancelled := r.createAs(keys, "anna", 1), r.createAs(keys, "anna", 1), r.createAs(keys, "anna", 1)
	r.end(done, 0, nil)
	r.decodeJob(r.as(keys, "anna", "POST", "/api/v1/batch/"+cancelled+"/cancel", ""), 200)
	for _, id := range []string{open, done, cancelled, unknown} {
		r.bury("image_upload", deadMessage(id, 0, ""))
	}
	r.bury("image_upload", strings.Replace(deadMessage(unknown, 1, ""), `"version":1`, `"version":99`, 1))
	before := r.broker.Len("image_upload")
	if d := r.decodeDead(replay("image_upload", open, 0)); d.DeadLetters[0].Action != "published" || r.broker.Len("image_upload") != before+1 {
		t.Errorf("an open image: %+v and %d messages, want %d", d, r.broker.Len("image_upload"), before+1)
	}
	if d := r.decodeDead(replay("image_upload", done, 0)); d.DeadLetters[0].Action != "finished" {
		t.Errorf("a completed image: %+v", d)
	}
	wantError(t, replay("image_upload", cancelled, 0), 409, "Dead letter stays: its job was cancelled")
	wantError(t, replay("image_upload", unknown, 0), 409, "Dead letter stays: its job is unknown")
	wantError(t, replay("image_upload", unknown, 1), 409, "Dead letter stays: unsupported message version 99")
	if n := r.dead("image_upload"); n != 4 {
		t.Errorf("%d dead letters stay, want 4: the message that is none, and three that cannot be replayed", n)
	}
	for _, part := range []string{`"msg":"operator handled a dead letter"`, `"key":"ops"`, `"queue":"image_upload"`, `"trace_id":"` + string(pipeline.NewTraceID(failed, 0)), `"action":"retried"`, `"new_job_id":"` + created} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log does not contain %s", part)
		}
	}
}

// TestRemovalOfDeadLetters verifies that all dead letters of the image in the queue are removed, and
// no others.
func TestRemovalOfDeadLetters(t *testing.T) {
	var log lockedBuffer
	r := setup(t, options{log: &log})
	for _, body := range []string{deadMessage(unknown, 0, ""), deadMessage(unknown, 1, ""), deadMessage(unknown, 0, ""), "no JSON"} {
		r.bury("image_upload", body)
		r.bury("image_processed", body)
	}
	d := r.decodeDead(r.do("DELETE", deadPath("image_upload", unknown, 0), nil))
	if len(d.DeadLetters) != 2 || d.DeadLetters[0].Action != "dropped" || d.DeadLetters[1].JobID != unknown {
		t.Errorf("got %+v", d)
	}
	if r.dead("image_upload") != 2 || r.dead("image_processed") != 4 {
		t.Errorf("%d and %d dead letters stay, want 2 and 4", r.dead("image_upload"), r.dead("image_processed"))
	}
	if !strings.Contains(log.String(), `"action":"dropped"`) {
		t.Error("the removal is not in the log")
	}
	trace := string(pipeline.NewTraceID(unknown, 0))
	for path, shown := range map[string]string{
		"image_upload/" + trace: "", "none/" + trace: "", "dead_results/" + trace: "", "image_upload/" + strings.ToUpper(trace): "", "image_upload/x": "",
		"image_upload/..%2f" + trace: "", "image_upload/" + strings.Repeat("0", 300): "image_upload/" + strings.Repeat("0", 256), "image_upload/%00": "image_upload/\\u0000",
	} {
		for method, rest := range map[string]string{"DELETE": "", "POST": "/replay"} {
			got := r.do(method, "/api/v1/dead-letters/"+path+rest, nil)
			if shown == "" {
				shown = path
			}
			if want := `{"error":"Dead letter not found: ` + shown + `","status":404}` + "\n"; string(got.body) != want {
				t.Errorf("%s %s: got %d %s, want %s", method, path, got.status, got.body, want)
			}
		}
	}
	wantError(t, r.get("/api/v1/dead-letters/image_upload/"+trace), 405, "Method not allowed")
	wantError(t, r.do("POST", "/api/v1/dead-letters", nil), 405, "Method not allowed")
	if r.dead("image_upload") != 2 {
		t.Error("a refused request has removed a dead letter")
	}
}

// TestDeadLettersInUse verifies that a queue with another reader, such as the command or another
// gateway, is refused, and that nothing is lost.
func TestDeadLettersInUse(t *testing.T) {
	r := setup(t, options{})
	r.bury("image_upload", deadMessage(unknown, 0, ""))
	r.must(r.broker.Browse(t.Context(), broker.DeadQueue("image_upload"), broker.MaxBrowse, func(context.Context, broker.Letter) error {
		for _, got := range []response{
			r.get("/api/v1/dead-letters"), r.do("DELETE", deadPath("image_upload", unknown, 0), nil), r.do("POST", deadPath("image_upload", unknown, 0)+"/replay", nil),
		} {
			if string(got.body) != `{"error":"Dead letters are being read, try again later","status":409}`+"\n" || got.header.Get("Retry-After") != "2" {
				t.Errorf("got %d %s, Retry-After %q", got.status, got.body, got.header.Get("Retry-After"))
			}
		}
		return nil
	}))
	if r.decodeDead(r.do("DELETE", deadPath("image_upload", unknown, 0), nil)); r.dead("image_upload") != 0 {
		t.Error("after the other reader, the dead letter stays")
	}
}

// TestDeadLettersReadAtOnce verifies that requests to the same gateway wait for each other.
func TestDeadLettersReadAtOnce(t *testing.T) {
	r := setup(t, options{})
	r.bury("image_upload", deadMessage(unknown, 0, ""))
	var operators sync.WaitGroup
	for range 4 {
		operators.Go(func() {
			if got := r.get("/api/v1/dead-letters"); got.status != 200 {
				t.Errorf("got %d %s, want the list", got.status, got.body)
			}
		})
	}
	operators.Wait()
}

// TestDeadLettersOfManyOperators verifies that concurrent replays of one dead letter create one job.
func TestDeadLettersOfManyOperators(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, errDamaged)
	r.bury("image_upload", deadMessage(id, 0, ""))
	var operators sync.WaitGroup
	for range 8 {
		operators.Go(func() {
			for {
				got := r.do("POST", deadPath("image_upload", id, 0)+"/replay", nil)
				if got.status == 200 || got.status == 404 {
					return
				}
				if got.status != 409 || got.header.Get("Retry-After") == "" {
					t.Errorf("got %d %s", got.status, got.body)
					return
				}
			}
		})
	}
	operators.Wait()
	if n := len(r.list()); n != 2 || r.dead("image_upload") != 0 {
		t.Errorf("%d jobs and %d dead letters, want 2 and 0", n, r.dead("image_upload"))
	}
}

// shakyBrowser is a broker whose reads fail on demand. It checks the limits of each read.
type shakyBrowser struct {
	broker.Browser
	t     *testing.T
	reads int
	fault func(read int) error // of the whole read
	ack   error                // of each ack
}

func (b *shakyBrowser) Browse(ctx context.Context, queue string, most int, handle func(context.Context, broker.Letter) error) error {
	if until, limited := ctx.Deadline(); !limited || time.Until(until) > 5*time.Second || most > 1000 {
		b.t.Errorf("a read of %d dead letters until %s", most, until)
	}
	b.reads++
	if err := b.fault(b.reads); err != nil {
		return err
	}
	return b.Browser.Browse(ctx, queue, most, func(ctx context.Context, l broker.Letter) error {
		if b.ack != nil {
			l.Ack = func() error { return b.ack }
		}
		return handle(ctx, l)
	})
}

// TestDeadLettersInAnOutage verifies that a request that fails at any moment loses no dead letter, and
// that a replay whose removal failed finds the same job again.
func TestDeadLettersInAnOutage(t *testing.T) {
	b := &shakyBrowser{t: t, fault: func(int) error { return nil }}
	r := setup(t, options{browser: func(inner broker.Browser) broker.Browser {
		b.Browser = inner
		return b
	}})
	id := r.create(1)
	r.end(id, 0, errDamaged)
	r.bury("image_upload", deadMessage(id, 0, ""))
	requests := func() []response {
		return []response{
			r.do("POST", deadPath("image_upload", id, 0)+"/replay", nil), r.do("DELETE", deadPath("image_upload", id, 0), nil),
			r.get("/api/v1/dead-letters"), r.do("HEAD", "/api/v1/dead-letters", nil),
		}
	}
	for _, err := range []error{broker.ErrUnavailable, broker.ErrNoRoute, context.DeadlineExceeded} {
		b.fault = func(int) error { return err }
		for _, got := range requests() {
			if got.status != 503 || got.header.Get("Retry-After") == "" {
				t.Errorf("%v: got %d %s", err, got.status, got.body)
			}
		}
	}
	b.fault, b.ack = func(int) error { return nil }, broker.ErrStale
	for _, got := range requests()[:2] {
		wantError(t, got, 503, "Service temporarily unavailable, try again later")
	}
	b.reads, b.ack = 0, nil
	b.fault = func(read int) error { // the read that removes
		if read == 2 {
			return broker.ErrUnavailable
		}
		return nil
	}
	replay := func() response { return r.do("POST", deadPath("image_upload", id, 0)+"/replay", nil) }
	wantError(t, replay(), 503, "Service temporarily unavailable, try again later")
	if r.dead("image_upload") != 1 || len(r.list()) != 2 {
		t.Fatalf("%d dead letters and %d jobs after the failed removal, want 1 and 2", r.dead("image_upload"), len(r.list()))
	}
	d := r.decodeDead(replay())
	if jobs := r.list(); r.dead("image_upload") != 0 || len(jobs) != 2 || d.DeadLetters[0].NewJob != jobs[0]["job_id"] {
		t.Errorf("%d dead letters, %d jobs and %+v, want the job of the first replay", r.dead("image_upload"), len(jobs), d)
	}
}

// TestDeadLettersOfOperatorsOnly verifies that another key gets a 403, and does nothing.
func TestDeadLettersOfOperatorsOnly(t *testing.T) {
	keys := newKeyFile(t, "anna", "ops operator")
	r := setup(t, options{keys: keys.Store})
	id := r.createAs(keys, "anna", 1)
	r.bury("image_upload", deadMessage(id, 0, ""))
	for path, method := range map[string]string{"/api/v1/dead-letters": "GET", deadPath("image_upload", id, 0): "DELETE", deadPath("image_upload", id, 0) + "/replay": "POST"} {
		wantError(t, r.as(keys, "anna", method, path, ""), 403, "API key is not an operator's")
	}
	if d := r.decodeDead(r.as(keys, "ops", "GET", "/api/v1/dead-letters", "")); len(d.DeadLetters) != 1 {
		t.Errorf("the operator sees %+v", d)
	}
}
