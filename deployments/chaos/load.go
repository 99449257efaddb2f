package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// poisonName is how the name of an image ends that kills whoever analyses it.
const poisonName = "poison.jpg"

// batch is one request of a plan.
type batch struct {
	after  time.Duration // from the beginning of the run
	images []source

	key    string        // the Idempotency-Key; "" for none
	again  bool          // it is sent once more after it was accepted
	cancel time.Duration // after which it is cancelled; 0: it is not
	retry  bool          // what failed of it is retried
}

// body is the request as it is sent.
func (b *batch) body() ([]byte, error) {
	var members []map[string]string
	for i := range b.images {
		members = append(members, b.images[i].member())
	}
	body, err := json.Marshal(map[string]any{"images": members})
	if err != nil {
		return nil, fmt.Errorf("encode batch: %w", err)
	}
	return body, nil
}

// planBatches draws the load of a seed: count batches over the time, of URLs and
// inline images mixed. Every image has a name of its own, which tells where it
// comes from.
func planBatches(random *rand.Rand, s *site, good, bad []source, count int, over time.Duration) []batch {
	var list []batch
	kinds := []string{"plain", "plain", "moody", "slow"}
	for b := range count {
		next := batch{after: time.Duration(random.Int64N(int64(over)))}
		for i := range 1 + random.IntN(14) {
			img := good[random.IntN(len(good))]
			if random.IntN(6) == 0 {
				img = bad[random.IntN(len(bad))]
			}
			if random.IntN(2) == 0 && img.text == "" {
				img.url = s.url(kinds[random.IntN(len(kinds))], img.name, fmt.Sprintf("%d-%d", b, i))
			}
			if random.IntN(30) == 0 {
				img = source{name: "absent.jpg", url: s.url("plain", "absent.jpg", ""), code: "download_failed"}
			}
			img.name = fmt.Sprintf("%d-%d-%s", b, i, img.name)
			next.images = append(next.images, img)
		}
		list = append(list, next)
	}
	return list
}

// planVerbs draws what clients do with their batches beside watching them, and
// which images are poison.
func (r *run) planVerbs(random *rand.Rand, batches []batch) {
	poison := r.poison
	for i := range batches {
		b := &batches[i]
		verb := random.IntN(10)
		if img := &b.images[random.IntN(len(b.images))]; poison > 0 && img.code == "" && img.text == "" {
			img.name, img.code = strings.TrimSuffix(img.name, ".jpg")+"-"+poisonName, "processing_failed"
			poison--
			continue // it is not cancelled nor retried, so that it kills as often as it may
		}
		if random.IntN(2) == 0 && r.retention == 0 { // a key goes with its job
			b.key = fmt.Sprintf("key of batch %d of seed %d", i, r.number)
			b.again = random.IntN(3) == 0
		}
		switch {
		case verb < 1:
			b.cancel = time.Duration(1 + random.Int64N(int64(3*time.Second)))
		case verb < 4 && r.retention == 0: // what is retried must still be there
			b.retry = true
		}
	}
}

// ledger is what the clients know: which job was accepted for which batch, and
// of which batches nobody knows whether they were.
type ledger struct {
	mu        sync.Mutex // guards what follows
	jobs      map[string]*batch
	unknown   map[string]*batch // by the name of the first image
	cancelled map[string]bool   // jobs whose cancelling was confirmed
}

func newLedger() *ledger {
	return &ledger{jobs: map[string]*batch{}, unknown: map[string]*batch{}, cancelled: map[string]bool{}}
}

func (l *ledger) accept(id string, b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs[id] = b
}

func (l *ledger) doubt(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unknown[b.images[0].name] = b
}

func (l *ledger) cancel(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancelled[id] = true
}

// owner finds the batch of a job that is in a list. Each doubt is good for as
// many jobs as requests were sent without an answer, which is one. The batch of a
// retry is made of that of the job that it retries.
func (l *ledger) owner(j *jobAnswer) (b *batch, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b = l.jobs[j.JobID]; b != nil {
		return b, true
	}
	if j.RetryOf != "" {
		return retryBatch(l.jobs[j.RetryOf], j.Images), false
	}
	if len(j.Images) > 0 {
		b = l.unknown[j.Images[0].OriginalFilename]
	}
	return b, false
}

func (l *ledger) accepted() map[string]*batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.jobs)
}

// errUnknown says that nobody can tell whether the request was done.
var errUnknown = errors.New("no answer")

// submit posts the batch until it is accepted, as a client does that has read of
// Retry-After. A request without an answer may have been done: it is sent again
// with its key, and not without one.
func (r *run) submit(ctx context.Context, at int, b *batch) (id string, err error) {
	body, err := b.body()
	if err != nil {
		return "", err
	}
	name := b.images[0].name
	for {
		r.history.note("client", "post "+name, "", nil)
		id, err = r.post(ctx, at, "/api/v1/batch", body, b.key)
		switch {
		case err == nil:
			r.history.note("client", "post "+name, "ok", id)
			r.ledger.accept(id, b)
			r.began(id)
			return id, nil
		case errors.Is(err, errUnknown):
			r.history.note("client", "post "+name, "unknown", err.Error())
			r.ledger.doubt(b)
			if b.key == "" {
				return "", err
			}
		default:
			r.history.note("client", "post "+name, "failed", err.Error())
			at++ // to the next gateway, if there is one
		}
		if pause(ctx, 300*time.Millisecond); ctx.Err() != nil {
			return "", err
		}
	}
}

// postTime is how long a client waits for its 201.
const postTime = 45 * time.Second

// post sends one request that makes a job, and gives its id. Its error wraps
// errUnknown when the outcome is open, and is a *refusal when there was an answer.
func (r *run) post(ctx context.Context, at int, path string, body []byte, key string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.gateway(at).url(path), bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	if key != "" {
		// The transport would send it again by itself, and who counts the jobs would not know.
		req.Header["Idempotency-Key"] = []string{key}
		req.GetBody = nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if strings.Contains(err.Error(), "connection refused") {
			return "", err
		}
		return "", fmt.Errorf("%w: %w", errUnknown, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnknown, err)
	}
	if resp.StatusCode == http.StatusCreated {
		var created struct {
			JobID string `json:"job_id"`
		}
		if err := json.Unmarshal(answer, &created); err != nil || created.JobID == "" {
			r.history.breach("201 without a job: %.200s", answer)
		}
		return created.JobID, nil
	}
	busy := resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusConflict && key != ""
	if _, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil && busy {
		r.history.breach("POST answered %d without Retry-After: %.200s", resp.StatusCode, answer)
	}
	if !busy && path == "/api/v1/batch" {
		r.history.breach("POST answered %d: %.300s", resp.StatusCode, answer)
	}
	return "", &refusal{resp.StatusCode, string(answer)}
}

// refusal is an answer that made nothing.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("answer %d: %.200s", r.status, r.body) }
