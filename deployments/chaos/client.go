package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Limits of one response.
const (
	responseTime = 45 * time.Second
	maxResponse  = 64 << 20
)

// response is the response to one request.
type response struct {
	status int
	header http.Header
	body   []byte
	job    string // ID of the job that the request created
	busy   bool   // whether the request must be repeated
}

func (a response) String() string { return fmt.Sprintf("response %d: %.300s", a.status, a.body) }

// errWrong means that a response was incomplete or not as expected.
var errWrong = errors.New("wrong response")

func get(ctx context.Context, url string) (response, error) {
	return send(ctx, http.MethodGet, url, nil, "")
}

// send sends one request. The key is the Idempotency-Key; "" means none.
func send(ctx context.Context, method, url string, body []byte, key string) (a response, err error) {
	ctx, cancel := context.WithTimeout(ctx, responseTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return a, fmt.Errorf("create request: %w", err)
	}
	if key != "" {
		// Otherwise the transport would repeat the request by itself.
		req.Header["Idempotency-Key"] = []string{key}
		req.GetBody = nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a = response{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxResponse)); err != nil {
		return a, fmt.Errorf("%w: %w", errWrong, err)
	}
	return a, nil
}

// unknown reports whether the request may or may not have been executed, because there
// was no response.
func unknown(err error) bool { return err != nil && !errors.Is(err, syscall.ECONNREFUSED) }

// post sends one POST to a gateway.
func (r *run) post(ctx context.Context, at int, path string, body []byte, key string) (response, error) {
	r.note("client", "post "+path, key)
	a, err := send(ctx, http.MethodPost, "http://"+r.entry(at)+path, body, key)
	a.busy = a.status == http.StatusServiceUnavailable || a.status == http.StatusConflict && key != ""
	if _, wrong := strconv.Atoi(a.header.Get("Retry-After")); wrong != nil && a.busy {
		r.breach("POST without Retry-After: %s", a)
	}
	if err == nil && a.status == http.StatusCreated {
		var created counters
		if err := json.Unmarshal(a.body, &created); err != nil || created.JobID == "" {
			r.breach("201 without a job: %s", a)
		}
		a.job = created.JobID
		r.change(a.job, func(rec *record) { rec.accepted = time.Now() })
	}
	r.note("client", "post "+path, a.status, a.job, err)
	return a, err
}

// postBatch sends a batch once and records the result.
func (r *run) postBatch(ctx context.Context, at int, b *batch) (response, error) {
	var members []map[string]string
	for i := range b.images {
		members = append(members, b.images[i].member())
	}
	request := map[string]any{"images": members}
	if b.private {
		request["captions"] = false
	}
	body, err := json.Marshal(request)
	if err != nil {
		return response{}, fmt.Errorf("encode batch: %w", err)
	}
	a, err := r.post(ctx, at, "/api/v1/batch", body, b.key)
	if unknown(err) || a.status == http.StatusServiceUnavailable { // A commit that took too long may have succeeded.
		r.mu.Lock()
		r.unknown[b.images[0].name] = b
		r.mu.Unlock()
	}
	switch {
	case unknown(err):
	case a.job != "":
		r.change(a.job, func(rec *record) { rec.batch = b })
	case err == nil && !a.busy:
		r.breach("POST: %s", a)
	}
	return a, err
}

// submit posts the batch until it is accepted, and returns the ID of its job. A
// request without a response may have been executed: it is repeated only with a key.
func (r *run) submit(ctx context.Context, at int, b *batch) string {
	for {
		a, err := r.postBatch(ctx, at, b)
		if a.job != "" || unknown(err) && b.key == "" {
			return a.job
		}
		if !unknown(err) {
			at++
		}
		if pause(ctx, 300*time.Millisecond); ctx.Err() != nil {
			r.breach("batch %s was never accepted: %s (%v)", b.images[0].name, a, err)
			return ""
		}
	}
}

// persist sends a POST for a job until the response does not require a repetition.
func (r *run) persist(ctx context.Context, at int, path, key string) response {
	for ; ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		if a, err := r.post(ctx, at, path, nil, key); err == nil && !a.busy {
			return a
		}
	}
	return response{}
}

// client is one user: it submits a batch, follows its job and performs the actions of the
// plan. It submits to one gateway and uses the next one for the rest.
func (r *run) client(ctx context.Context, at int, b *batch) {
	id := r.submit(ctx, at, b)
	if id == "" {
		return
	}
	if b.again {
		if again := r.submit(ctx, at+1, b); again != "" && again != id {
			r.breach("%s became the jobs %s and %s with one Idempotency-Key", b.images[0].name, id, again)
		}
	}
	r.follow(ctx, at, id, b.cancel)
	if b.retry && ctx.Err() == nil {
		r.retryJob(ctx, at, id, b)
	}
}

// follow watches and polls a job until it has ended. If cancel is not 0, it cancels
// the job after that time.
func (r *run) follow(ctx context.Context, at int, id string, cancel time.Duration) {
	var following sync.WaitGroup
	if cancel > 0 {
		following.Go(func() {
			pause(ctx, cancel)
			r.cancelJob(ctx, at+1, id)
		})
	}
	following.Go(func() { r.watch(ctx, at+1, id) })
	following.Go(func() { r.read(ctx, at, id) })
	following.Wait()
}

// cancelJob cancels a job and checks the response.
func (r *run) cancelJob(ctx context.Context, at int, id string) {
	var now counters
	switch a := r.persist(ctx, at, "/api/v1/batch/"+id+"/cancel", ""); {
	case a.status == http.StatusOK && json.Unmarshal(a.body, &now) == nil && now.Status == "cancelled":
		r.change(id, func(rec *record) { rec.cancelled = true })
	case a.status == 0, a.status == http.StatusConflict, a.status == http.StatusNotFound && r.mayBeGone(id):
		// It had ended, perhaps by a request whose response was lost.
	default:
		r.breach("cancel job %s: %s", id, a)
	}
}

// retryJob creates a new job from the failed images of an ended one, and follows it.
func (r *run) retryJob(ctx context.Context, at int, id string, b *batch) {
	old := r.records()[id].end
	if old == nil {
		return // judge reports this.
	}
	switch a := r.persist(ctx, at, "/api/v1/batch/"+id+"/retry", "retry of "+id); {
	case a.job != "":
		r.follow(ctx, at, a.job, 0)
		r.judgeRetry(old, a.job, b)
	case a.status != 0 && (a.status != http.StatusBadRequest || len(retryable(old, b)) > 0):
		r.breach("retry job %s: %s", id, a)
	}
}

// judgeRetry checks that a retry has exactly the expected images.
func (r *run) judgeRetry(old *jobResponse, again string, b *batch) {
	j := r.records()[again].end
	if j == nil {
		return // judge reports this.
	}
	retry := retryBatch(b, j.Images)
	if retry == nil || j.RetryOf != old.JobID {
		r.breach("job %s, a retry of %s, is %+v", again, old.JobID, j)
		return
	}
	r.change(again, func(rec *record) { rec.batch = retry })
	for _, img := range old.Images {
		has := slices.ContainsFunc(retry.images, func(s source) bool { return s.name == img.OriginalFilename })
		must := slices.Contains(retryable(old, b), img.OriginalFilename)
		if must && !has || img.Status == "completed" && has {
			r.breach("job %s, a retry of %s, has the image: %t, must have it: %t: %+v", again, old.JobID, has, must, img)
		}
	}
}

// retryable returns the images that a retry must have: those that failed, except the
// inline ones that were rejected and so never stored.
func retryable(old *jobResponse, b *batch) (names []string) {
	for i, img := range old.Images {
		if img.Status == "failed" && (b.images[i].url != "" || img.ErrorCode == "cancelled" && b.images[i].code == "") {
			names = append(names, img.OriginalFilename)
		}
	}
	return names
}

// mayBeGone reports whether retention may have deleted the job.
func (r *run) mayBeGone(id string) bool {
	return r.retention > 0 && time.Since(r.records()[id].accepted) > r.retention
}

// batch is one request of a plan.
type batch struct {
	after  time.Duration // when it is sent, after the start of the load
	images []source

	key    string        // Idempotency-Key; "" means none
	again  bool          // whether it is sent again after it was accepted
	cancel time.Duration // time until it is cancelled; 0 if it is not
	retry  bool          // whether its failed images are retried

	private bool // whether no vision model may see its images
}

// record is what the clients know about one job.
type record struct {
	batch     *batch                // nil until the job is known to be accepted
	accepted  time.Time             // when the response arrived
	end       *jobResponse          // the first response with a final status
	ended     time.Time             // when a reader got that response
	watched   map[int]imageResponse // the images of all events that a watcher received
	cancelled bool                  // whether its cancellation was confirmed
}

// change changes the record of a job.
func (r *run) change(id string, f func(*record)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.jobs[id]
	f(&rec)
	r.jobs[id] = rec
}

// records returns a copy of all records.
func (r *run) records() map[string]record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.jobs)
}

// owner returns the batch of a job, or nil. The job may come from a request without
// a response, and a retry belongs to the batch of the job that it retries.
func (r *run) owner(j *jobResponse) *batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.jobs[j.JobID].batch; b != nil {
		return b
	}
	if j.RetryOf != "" {
		return retryBatch(r.jobs[j.RetryOf].batch, j.Images)
	}
	if len(j.Images) > 0 {
		return r.unknown[j.Images[0].OriginalFilename]
	}
	return nil
}

// retryBatch returns the part of a batch that consists of the images, or nil if the batch
// lacks one of them.
func retryBatch(b *batch, images []imageResponse) *batch {
	if b == nil {
		return nil
	}
	retry := &batch{private: b.private}
	for _, img := range images {
		i := slices.IndexFunc(b.images, func(s source) bool { return s.name == img.OriginalFilename })
		if i < 0 {
			return nil
		}
		retry.images = append(retry.images, b.images[i])
	}
	return retry
}
