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
	"strings"
	"sync"
	"time"
)

// batch is one request of a plan.
type batch struct {
	after  time.Duration // from the beginning of the run
	images []source
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

// ledger is what the clients know: which job was accepted for which batch, and
// of which batches nobody knows whether they were.
type ledger struct {
	mu      sync.Mutex // guards what follows
	jobs    map[string]*batch
	unknown map[string]*batch // by the name of the first image
}

func newLedger() *ledger {
	return &ledger{jobs: map[string]*batch{}, unknown: map[string]*batch{}}
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

// owner finds the batch of a job that is in a list. Each doubt is good for as
// many jobs as requests were sent without an answer, which is one.
func (l *ledger) owner(j *jobAnswer) (b *batch, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b = l.jobs[j.JobID]; b != nil {
		return b, true
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
// Retry-After. A request without an answer is not repeated: it may have been done.
func (r *run) submit(ctx context.Context, b *batch) (id string, err error) {
	var members []map[string]string
	for i := range b.images {
		members = append(members, b.images[i].member())
	}
	body, err := json.Marshal(map[string]any{"images": members})
	if err != nil {
		return "", fmt.Errorf("encode batch: %w", err)
	}
	name := b.images[0].name
	for {
		r.history.note("client", "post "+name, "", nil)
		id, err = r.post(ctx, body)
		switch {
		case err == nil:
			r.history.note("client", "post "+name, "ok", id)
			r.ledger.accept(id, b)
			return id, nil
		case errors.Is(err, errUnknown):
			r.history.note("client", "post "+name, "unknown", err.Error())
			r.ledger.doubt(b)
			return "", err
		}
		r.history.note("client", "post "+name, "failed", err.Error())
		wait := time.NewTimer(300 * time.Millisecond)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return "", ctx.Err()
		}
	}
}

// postTime is how long a client waits for its 201.
const postTime = 45 * time.Second

// post sends one request. Its error wraps errUnknown when the outcome is open.
func (r *run) post(ctx context.Context, body []byte) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.gateway().url("/api/v1/batch"), bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
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
	switch resp.StatusCode {
	case http.StatusCreated:
		var created struct {
			JobID string `json:"job_id"`
		}
		if err := json.Unmarshal(answer, &created); err != nil || created.JobID == "" {
			r.history.breach("201 without a job: %.200s", answer)
		}
		return created.JobID, nil
	case http.StatusServiceUnavailable:
		if resp.Header.Get("Retry-After") == "" {
			r.history.breach("503 without Retry-After: %.200s", answer)
		}
	default:
		r.history.breach("POST answered %d: %.300s", resp.StatusCode, answer)
	}
	return "", fmt.Errorf("answer %d: %.200s", resp.StatusCode, answer)
}
