package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// judge checks everything that must be true after a run. base contains the resources of
// the services before the load.
func (r *run) judge(ctx context.Context, base map[string]float64, healed time.Time) (err error) {
	limit, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	if err := r.startAll(limit); err != nil {
		r.breach("after the faults: %v", err)
	}
	jobs := r.allEnded(limit)
	r.compare(jobs, healed)
	r.atRest(limit)
	if r.poison > 0 {
		r.deadLetters(ctx) // not within the limit, which has passed after a breach
	}
	r.objects(ctx, jobs)
	r.afterRestart(ctx, jobs)
	r.settled(ctx, base)
	for _, name := range r.names {
		_, unexplained := r.services[name].ends()
		for _, fall := range unexplained {
			r.breach("%s", fall)
		}
		text, unread := os.ReadFile(r.services[name].log)
		err = errors.Join(err, unread)
		for _, word := range []string{"DATA RACE", "panic:", "fatal error:"} {
			if at := bytes.Index(text, []byte(word)); at >= 0 {
				r.breach("log of %s: %.300s", name, text[at:])
			}
		}
	}
	r.storage.mu.Lock()
	defer r.storage.mu.Unlock()
	for _, path := range r.storage.twice {
		r.breach("object %s was stored with different bytes", path)
	}
	r.count("duplicated", len(r.storage.twice))
	r.count("broken", r.storage.broken)
	if r.model != nil {
		r.count("model requests broken", r.model.broken())
	}
	return errors.Join(err, ctx.Err())
}

// expect polls until check returns no problem. If ctx ends first, the last problem
// is a breach.
func (r *run) expect(ctx context.Context, check func() (problem string)) {
	last := ""
	if err := poll(ctx, 500*time.Millisecond, func() bool {
		problem := check()
		if ctx.Err() == nil || last == "" { // The result of an interrupted check is meaningless.
			last = problem
		}
		return problem == ""
	}); err != nil {
		r.breach("%.2000s", last)
	}
}

// allEnded waits until no job in the list is open, and returns the jobs of the run
// in their final state: those in the list, and those that retention deleted before.
func (r *run) allEnded(ctx context.Context) map[string]*jobResponse {
	jobs := map[string]*jobResponse{}
	for id, rec := range r.records() {
		if rec.end != nil {
			jobs[id] = rec.end
		}
	}
	r.expect(ctx, func() (problem string) {
		list, err := r.list(ctx, 0, "")
		if err != nil {
			return err.Error()
		}
		for i := range list {
			jobs[list[i].JobID] = &list[i]
			if !ended(list[i].Status) {
				problem = fmt.Sprintf("job %s is open %s after the last fault: %+v", list[i].JobID, endTime+fetchTime, list[i])
			}
		}
		return problem
	})
	return jobs
}

// compare compares the jobs with the batches that were sent, and counts them.
func (r *run) compare(jobs map[string]*jobResponse, healed time.Time) {
	for id, j := range jobs {
		r.count("jobs", 1)
		r.count("images", j.TotalImages)
		if b := r.owner(j); b == nil || len(b.images) != j.TotalImages {
			r.breach("job %s has images that no client sent: %+v", id, j)
		} else {
			r.compareImages(j, b)
		}
	}
	for id, rec := range r.records() {
		j := jobs[id]
		if rec.batch != nil && (j == nil || !ended(j.Status)) {
			r.count("lost", len(rec.batch.images))
		}
		if j == nil {
			r.breach("job %s was accepted, but does not exist", id)
			continue
		}
		if rec.cancelled && j.Status != "cancelled" {
			r.breach("job %s was cancelled with 200 and ended as %s", id, j.Status)
		}
		if rec.ended.IsZero() {
			continue // No client followed it.
		}
		// A retry may be accepted after the last fault.
		took := min(rec.ended.Sub(healed), rec.ended.Sub(rec.accepted))
		if r.counts[longest] = max(r.counts[longest], int(took.Milliseconds())); took > endTime+fetchTime {
			r.breach("job %s ended %s after the last fault", id, took)
		}
		if rec.watched == nil && r.retention == 0 {
			r.breach("no watcher of %s got its job_complete", id)
		}
		for i, seen := range rec.watched {
			if is := j.Images[i]; seen.Status != is.Status || seen.ProcessedPath != is.ProcessedPath || seen.Error != is.Error || seen.TraceID != is.TraceID {
				r.breach("job %s: a watcher received %+v, and GET returns %+v", id, seen, is)
			}
		}
	}
}

// compareImages compares the images of a job with the batch that was sent.
func (r *run) compareImages(j *jobResponse, b *batch) {
	traces := map[string]bool{}
	for i, img := range j.Images {
		src := b.images[i]
		if traces[img.TraceID] {
			r.count("duplicated", 1)
			r.breach("job %s: trace ID %s twice", j.JobID, img.TraceID)
		}
		traces[img.TraceID] = true
		r.count(img.Status, 1)
		if img.ErrorCode == "cancelled" && j.Status == "cancelled" && b.cancel > 0 {
			continue
		}
		if strings.HasSuffix(src.name, poisonName) {
			r.count("poison", 1)
		}
		if ended(img.Status) && ((img.Status == "completed") != (src.code == "") || img.ErrorCode != src.code) {
			r.breach("job %s: image %s ended as %+v, want error code %q", j.JobID, src.name, img, src.code)
		}
	}
}

// atRest checks that no image is open, the outbox is empty, and the queues are empty
// except for the dead letters of poison.
func (r *run) atRest(ctx context.Context) {
	r.expect(ctx, func() string {
		m, unread := r.metrics(ctx, r.gateways[0])
		queues, err := r.servers.queues(ctx)
		if r.poison > 0 {
			delete(queues, deadUploads)
		}
		open, unsent := m["imagebatch_open_images"], m["imagebatch_unsent_uploads"]
		if err = errors.Join(unread, err); err != nil || open > 0 || unsent > 0 || len(queues) > 0 {
			return fmt.Sprintf("%v open images, %v unsent uploads, messages %+v (%v)", open, unsent, queues, err)
		}
		return ""
	})
}

// deadUploads is the queue of the images that killed their analyzer every time.
const deadUploads = "image_upload.dead"

// deadLetters removes the dead letters and checks that they are poison images. If no fault
// duplicates or drops messages, each poison image must be a dead letter, once or twice: a
// process that moves the image to the quarantine queue may take it from there and die before
// it has acknowledged the move, which is then repeated.
func (r *run) deadLetters(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	letters, traces := 0, map[string]bool{}
	client, err := r.servers.open("image_upload") //nolint:contextcheck // Close ends it.
	if err == nil {
		defer func() { _ = client.Close() }() // It only consumes messages.
		err = client.Browse(ctx, deadUploads, broker.MaxBrowse, func(_ context.Context, l broker.Letter) error {
			var upload imageResponse
			if err := json.Unmarshal(l.Body, &upload); err != nil || !strings.HasSuffix(upload.OriginalFilename, poisonName) {
				r.breach("a dead letter is not a poison image: %.300s", l.Body)
			}
			letters++
			traces[upload.TraceID] = true
			return l.Ack()
		})
	}
	if err != nil {
		r.breach("read the dead letters: %v", err)
	}
	if poison := r.counts["poison"]; r.strict && (letters > 2*poison || len(traces) != poison) {
		r.breach("%d poison images became %d dead letters of %d images", poison, letters, len(traces))
	}
}

// afterRestart kills each gateway and checks that it returns the same jobs afterwards.
func (r *run) afterRestart(ctx context.Context, jobs map[string]*jobResponse) {
	if r.retention > 0 {
		return
	}
	for at, name := range r.gateways {
		r.services[name].restart()
		ready := r.services[name].awaitReady(ctx)
		list, err := r.list(ctx, at, "")
		if err = errors.Join(ready, err); err != nil || len(list) != len(jobs) {
			r.breach("after a restart %d of %d jobs are listed (%v)", len(list), len(jobs), err)
		}
		for i := range list {
			if before := jobs[list[i].JobID]; before == nil || before.counters != list[i].counters || !slices.Equal(before.Images, list[i].Images) {
				r.breach("after a restart job %+v was %+v", list[i], before)
			}
		}
	}
}

// resources returns the numbers of goroutines and file descriptors of all services.
func (r *run) resources(ctx context.Context) (map[string]float64, error) {
	all := map[string]float64{}
	for _, name := range r.names {
		m, err := r.metrics(ctx, name)
		if err != nil {
			return nil, err
		}
		all["goroutines of "+name], all["descriptors of "+name] = m["go_goroutines"], m["process_open_fds"]
	}
	return all, nil
}

// settled checks that the services release the resources of the load.
func (r *run) settled(ctx context.Context, base map[string]float64) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r.expect(ctx, func() string {
		now, err := r.resources(ctx)
		if err != nil {
			return err.Error()
		}
		for name, n := range now {
			// Idle connections to the storage and those of this harness are bounded by 100.
			if n > base[name]+100 {
				return fmt.Sprintf("%v %s, %v before", n, name, base[name])
			}
		}
		return ""
	})
}

// metrics returns a service's metrics by name and labels.
func (r *run) metrics(ctx context.Context, name string) (map[string]float64, error) {
	a, err := get(ctx, r.services[name].url("/metrics"))
	if err != nil || a.status != http.StatusOK {
		return nil, fmt.Errorf("metrics of %s: %s (%v)", name, a, err) //nolint:errorlint // It may be nil.
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(a.body)) {
		metric, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			all[metric] = n
		}
	}
	return all, nil
}
