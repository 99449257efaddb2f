package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// client is one user: it submits a batch, watches it, reads it, and does with it
// what the plan says. at is where it posts; it watches at the next gateway.
func (r *run) client(ctx context.Context, b *batch, at int) {
	id, err := r.submit(ctx, at, b)
	if err != nil {
		if !errors.Is(err, errUnknown) || b.key != "" {
			r.history.breach("batch %s was never accepted: %v", b.images[0].name, err)
		}
		return
	}
	if b.again {
		r.sendAgain(ctx, at+1, b, id)
	}
	var following sync.WaitGroup
	if b.cancel > 0 {
		following.Go(func() {
			pause(ctx, b.cancel)
			r.cancelJob(ctx, at+1, id)
		})
	}
	r.follow(ctx, id, at)
	following.Wait()
	if b.retry && ctx.Err() == nil {
		r.retryJob(ctx, at, id, b)
	}
}

// follow watches and reads a job to its end.
func (r *run) follow(ctx context.Context, id string, at int) {
	var following sync.WaitGroup
	following.Go(func() { r.watch(ctx, id, at+1) })
	following.Go(func() { r.read(ctx, id, at) })
	following.Wait()
}

// sendAgain sends a batch once more with its key: there is the one job, wherever
// it is sent.
func (r *run) sendAgain(ctx context.Context, at int, b *batch, id string) {
	again, err := r.submit(ctx, at, b)
	if err == nil && again != id {
		r.history.breach("with one Idempotency-Key %s became %s and %s", b.images[0].name, id, again)
	}
}

// cancelJob cancels until there is an answer.
func (r *run) cancelJob(ctx context.Context, at int, id string) {
	for ; ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		r.history.note("client", "cancel "+id, "", nil)
		status, body, err := ask(ctx, http.MethodPost, r.gateway(at).url("/api/v1/batch/"+id+"/cancel"))
		r.history.note("client", "cancel "+id, fmt.Sprint(status), errorText(err))
		now := new(jobAnswer)
		switch {
		case err != nil || status == http.StatusServiceUnavailable:
			continue
		case status == http.StatusOK:
			if json.Unmarshal(body, now) != nil || now.Status != "cancelled" {
				r.history.breach("job %s was cancelled with 200 and is %.300s", id, body)
			}
			r.ledger.cancel(id)
		case status == http.StatusConflict || status == http.StatusNotFound && r.mayBeGone(id):
			// It had ended, perhaps by an answer that was lost.
		default:
			r.history.breach("cancelling job %s answered %d: %.200s", id, status, body)
		}
		return
	}
}

// retryJob makes a new job of what failed of one that has ended, and follows that.
func (r *run) retryJob(ctx context.Context, at int, id string, b *batch) {
	old := r.end(id)
	if old == nil {
		return // nobody saw its end, which is told elsewhere
	}
	key := "retry of " + id
	for ; ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		r.history.note("client", "retry "+id, "", nil)
		again, err := r.post(ctx, at, "/api/v1/batch/"+id+"/retry", nil, key)
		r.history.note("client", "retry "+id, again, errorText(err))
		answer, refused := errors.AsType[*refusal](err)
		switch {
		case err == nil:
			r.began(again)
			r.follow(ctx, again, at)
			r.judgeRetry(old, again, b)
			return
		case !refused || answer.status == http.StatusServiceUnavailable:
			continue // with the same key it is one job, however often it is sent
		case answer.status == http.StatusConflict:
			continue // the one before is still being received
		case answer.status != http.StatusBadRequest || len(retryable(old, b)) > 0:
			r.history.breach("retrying job %s answered %v", id, err)
		}
		return
	}
}

// judgeRetry holds that a retry has exactly the images that it must have.
func (r *run) judgeRetry(old *jobAnswer, again string, b *batch) {
	j := r.end(again)
	if j == nil {
		return
	}
	if j.RetryOf != old.JobID {
		r.history.breach("job %s retries %s and says %q", again, old.JobID, j.RetryOf)
	}
	made := retryBatch(b, j.Images)
	if made == nil {
		r.history.breach("job %s retries %s and has other images: %+v", again, old.JobID, j.Images)
		return
	}
	r.ledger.accept(again, made)
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
			r.history.breach("job %s retries %s, where it had completed", again, img.OriginalFilename)
		}
	}
}

// retryable are the images that a retry must have: those that failed, less what
// was refused as it came inline and is nowhere.
func retryable(old *jobAnswer, b *batch) (names []string) {
	for i, img := range old.Images {
		if img.Status == "failed" && (b.images[i].url != "" || img.ErrorCode == "cancelled" && b.images[i].code == "") {
			names = append(names, img.OriginalFilename)
		}
	}
	return names
}

// retryBatch is what a retry of a batch was made of, or nil when it has an image
// that the batch has not.
func retryBatch(b *batch, images []imageAnswer) *batch {
	if b == nil {
		return nil
	}
	made := new(batch)
	for _, img := range images {
		i := slices.IndexFunc(b.images, func(s source) bool { return s.name == img.OriginalFilename })
		if i < 0 {
			return nil
		}
		made.images = append(made.images, b.images[i])
	}
	return made
}

func errorText(err error) any {
	if err == nil {
		return nil
	}
	return err.Error()
}
