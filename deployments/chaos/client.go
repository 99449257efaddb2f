package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of one response.
const (
	answerTime = 45 * time.Second
	maxAnswer  = 64 << 20
)

// answer is the response to one request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("response %d: %.300s", a.status, a.body) }

// errCut says that the response ended too early.
var errCut = errors.New("response cut off")

func get(ctx context.Context, url string) (answer, error) {
	return send(ctx, http.MethodGet, url, nil, "")
}

// send sends one request. The key is the Idempotency-Key; "" for none.
func send(ctx context.Context, method, url string, body []byte, key string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
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
	a = answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return a, fmt.Errorf("%w: %w", errCut, err)
	}
	return a, nil
}

// errUnknown says that the request had no response: nobody knows whether it was
// executed.
var errUnknown = errors.New("no response")

// refusal is a response that created nothing.
type refusal struct{ answer }

func (r *refusal) Error() string { return r.String() }

// post sends one request that creates a job, and returns its ID. Otherwise its error
// is errUnknown, a *refusal, or that of a gateway that does not listen.
func (r *run) post(ctx context.Context, at int, path string, body []byte, key string) (string, error) {
	a, err := send(ctx, http.MethodPost, r.gateway(at).url(path), body, key)
	if err != nil {
		if strings.Contains(err.Error(), "connection refused") {
			return "", err
		}
		return "", fmt.Errorf("%w: %w", errUnknown, err)
	}
	if a.status == http.StatusCreated {
		var created counters
		if err := json.Unmarshal(a.body, &created); err != nil || created.JobID == "" {
			r.history.breach("201 without a job: %s", a)
		}
		r.ledger.note(created.JobID, func(rec *record) { rec.accepted = time.Now() })
		return created.JobID, nil
	}
	busy := a.status == http.StatusServiceUnavailable || a.status == http.StatusConflict && key != ""
	if _, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil && busy {
		r.history.breach("POST without Retry-After: %s", a)
	}
	if !busy && path == "/api/v1/batch" {
		r.history.breach("POST: %s", a)
	}
	return "", &refusal{a}
}

// postBatch sends a batch once and notes the result.
func (r *run) postBatch(ctx context.Context, at int, b *batch) (id string, err error) {
	var members []map[string]string
	for i := range b.images {
		members = append(members, b.images[i].member())
	}
	body, err := json.Marshal(map[string]any{"images": members})
	if err != nil {
		return "", fmt.Errorf("encode batch: %w", err)
	}
	what := "post " + b.images[0].name
	r.history.note("client", what)
	id, err = r.post(ctx, at, "/api/v1/batch", body, b.key)
	if r.history.note("client", what, id, err); err == nil {
		r.ledger.note(id, func(rec *record) { rec.batch = b })
	} else if errors.Is(err, errUnknown) {
		r.ledger.change(func() { r.ledger.unknown[b.images[0].name] = b })
	}
	return id, err
}

// submit posts the batch until it is accepted. A request without a response may have
// been executed: it is repeated only with a key.
func (r *run) submit(ctx context.Context, at int, b *batch) (id string, err error) {
	for {
		id, err = r.postBatch(ctx, at, b)
		switch unknown := errors.Is(err, errUnknown); {
		case err == nil, unknown && b.key == "":
			return id, err
		case !unknown:
			at++
		}
		if pause(ctx, 300*time.Millisecond); ctx.Err() != nil {
			return "", err
		}
	}
}

// client is one user, who submits a batch, follows its job and does what the plan
// says. It starts at one gateway and uses the next one for the rest.
func (r *run) client(ctx context.Context, at int, b *batch) {
	id, err := r.submit(ctx, at, b)
	if err != nil {
		if !errors.Is(err, errUnknown) || b.key != "" {
			r.history.breach("batch %s was never accepted: %v", b.images[0].name, err)
		}
		return
	}
	if b.again {
		if again, err := r.submit(ctx, at+1, b); err == nil && again != id {
			r.history.breach("%s became the jobs %s and %s with one Idempotency-Key", b.images[0].name, id, again)
		}
	}
	var cancelling sync.WaitGroup
	if b.cancel > 0 {
		cancelling.Go(func() {
			pause(ctx, b.cancel)
			r.cancelJob(ctx, at+1, id)
		})
	}
	r.follow(ctx, at, id)
	cancelling.Wait()
	if b.retry && ctx.Err() == nil {
		r.retryJob(ctx, at, id, b)
	}
}

// follow watches and polls a job until it has ended.
func (r *run) follow(ctx context.Context, at int, id string) {
	var following sync.WaitGroup
	following.Go(func() { r.watch(ctx, at+1, id) })
	following.Go(func() { r.read(ctx, at, id) })
	following.Wait()
}

// cancelJob cancels a job until it gets a response.
func (r *run) cancelJob(ctx context.Context, at int, id string) {
	for ; ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		a, err := send(ctx, http.MethodPost, r.gateway(at).url("/api/v1/batch/"+id+"/cancel"), nil, "")
		r.history.note("client", "cancel "+id, a.status, err)
		var now jobAnswer
		switch {
		case err != nil || a.status == http.StatusServiceUnavailable:
			continue
		case a.status == http.StatusOK:
			if json.Unmarshal(a.body, &now) != nil || now.Status != "cancelled" {
				r.history.breach("job %s was cancelled: %s", id, a)
			}
			r.ledger.note(id, func(rec *record) { rec.cancelled = true })
		case a.status == http.StatusConflict || a.status == http.StatusNotFound && r.mayBeGone(id):
			// It had ended, perhaps by a request whose response was lost.
		default:
			r.history.breach("cancel job %s: %s", id, a)
		}
		return
	}
}

// retryJob creates a new job from the failed images of an ended one, and follows it.
func (r *run) retryJob(ctx context.Context, at int, id string, b *batch) {
	old := r.ledger.all()[id].end
	if old == nil {
		return // The judge reports that.
	}
	for ; ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		again, err := r.post(ctx, at, "/api/v1/batch/"+id+"/retry", nil, "retry of "+id)
		r.history.note("client", "retry "+id, again, err)
		refused, ok := errors.AsType[*refusal](err)
		switch {
		case err == nil:
			r.follow(ctx, at, again)
			r.judgeRetry(old, again, b)
			return
		case !ok || refused.status == http.StatusServiceUnavailable || refused.status == http.StatusConflict:
			continue // With its key it is one job, however often it is sent.
		case refused.status != http.StatusBadRequest || len(retryable(old, b)) > 0:
			r.history.breach("retry job %s: %v", id, err)
		}
		return
	}
}

// judgeRetry checks that a retry has exactly the images that it must have.
func (r *run) judgeRetry(old *jobAnswer, again string, b *batch) {
	j := r.ledger.all()[again].end
	if j == nil {
		return // The judge reports that.
	}
	retry := retryBatch(b, j.Images)
	if retry == nil || j.RetryOf != old.JobID {
		r.history.breach("job %s retries %s and is %+v", again, old.JobID, j)
		return
	}
	r.ledger.note(again, func(rec *record) { rec.batch = retry })
	var names []string
	for _, img := range j.Images {
		names = append(names, img.OriginalFilename)
	}
	for _, name := range retryable(old, b) {
		if !slices.Contains(names, name) {
			r.history.breach("job %s retries %s without %s", again, old.JobID, name)
		}
	}
	for _, img := range old.Images {
		if img.Status == "completed" && slices.Contains(names, img.OriginalFilename) {
			r.history.breach("job %s retries %s, which had completed", again, img.OriginalFilename)
		}
	}
}

// retryable returns the images that a retry must have: those that failed, except the
// inline ones that were rejected and so never stored.
func retryable(old *jobAnswer, b *batch) (names []string) {
	for i, img := range old.Images {
		if img.Status == "failed" && (b.images[i].url != "" || img.ErrorCode == "cancelled" && b.images[i].code == "") {
			names = append(names, img.OriginalFilename)
		}
	}
	return names
}

// mayBeGone reports whether retention may have deleted the job.
func (r *run) mayBeGone(id string) bool {
	return r.retention > 0 && time.Since(r.ledger.all()[id].accepted) > r.retention
}
