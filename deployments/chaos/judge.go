package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// judge checks everything that must be true after a run. base is what the services
// held before the load.
func (r *run) judge(ctx context.Context, base map[string]float64, healed time.Time) (longest time.Duration, err error) {
	limit, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	for _, name := range r.names {
		if err := r.services[name].awaitReady(limit); err != nil {
			r.breach("after the faults: %v", err)
		}
	}
	r.note("judge", "jobs")
	jobs := r.allEnded(limit)
	longest = r.compare(jobs, healed)
	r.note("judge", "at rest")
	r.atRest(limit)
	if r.poison > 0 {
		r.deadLetters(limit, jobs)
	}
	r.note("judge", "objects")
	r.objects(ctx, jobs)
	r.note("judge", "after a restart")
	r.afterRestart(ctx, jobs)
	r.note("judge", "resources")
	r.settled(ctx, base)
	for _, name := range r.names {
		_, falls := r.services[name].ends()
		for _, fall := range falls {
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
	for _, path := range r.storage.twice {
		r.breach("object %s was stored with different bytes", path)
	}
	r.count("duplicated", len(r.storage.twice))
	r.count("broken", r.storage.broken)
	return longest, errors.Join(err, ctx.Err())
}

// expect polls until check returns no problem. If ctx ends first, the last problem
// is a breach.
func (r *run) expect(ctx context.Context, check func() (problem string)) {
	last := ""
	if err := poll(ctx, 500*time.Millisecond, func() bool {
		problem := check()
		if ctx.Err() == nil || last == "" { // A check that ctx ended shows nothing.
			last = problem
		}
		return problem == ""
	}); err != nil {
		r.breach("%.2000s", last)
	}
}

// allEnded waits until no job in the list is open, and returns the jobs of the run
// as they ended: those in the list, and those that retention deleted before.
func (r *run) allEnded(ctx context.Context) map[string]*jobAnswer {
	jobs := map[string]*jobAnswer{}
	for id, rec := range r.ledger.all() {
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
				problem = fmt.Sprintf("job %s is open %s after the last fault: %+v", list[i].JobID, r.limit+fetchTime, list[i])
			}
		}
		return problem
	})
	return jobs
}

// compare compares the jobs with what was sent, and counts them. It returns the
// time from the last fault to the end of the last job.
func (r *run) compare(jobs map[string]*jobAnswer, healed time.Time) (longest time.Duration) {
	for id, j := range jobs {
		r.count("jobs", 1)
		r.count("images", j.TotalImages)
		if j.RetryOf != "" {
			r.count("retries", 1)
		}
		if b := r.ledger.owner(j); b == nil || len(b.images) != j.TotalImages {
			r.breach("job %s has images that no client sent: %+v", id, j)
		} else {
			r.compareImages(j, b)
		}
	}
	for id, rec := range r.ledger.all() {
		j := jobs[id]
		if rec.batch != nil && (j == nil || !ended(j.Status)) {
			r.count("lost", len(rec.batch.images))
		}
		if j == nil {
			r.breach("job %s was accepted and is gone", id)
			continue
		}
		if rec.cancelled && j.Status != "cancelled" {
			r.breach("job %s was cancelled with 200 and ended as %s", id, j.Status)
		}
		if rec.ended.IsZero() {
			continue // No client followed it.
		}
		from := healed
		if rec.accepted.After(from) {
			from = rec.accepted // a retry of a job that ended after the last fault
		}
		took := rec.ended.Sub(from)
		if longest = max(longest, took); took > r.limit+fetchTime {
			r.breach("job %s ended %s after the last fault", id, took)
		}
		if rec.told == nil && r.retention == 0 {
			r.breach("no watcher of %s got its job_complete", id)
		}
		for i, told := range rec.told {
			if is := j.Images[i]; told.Status != is.Status || told.ProcessedPath != is.ProcessedPath || told.Error != is.Error || told.TraceID != is.TraceID {
				r.breach("job %s: a watcher was told %+v, and GET returns %+v", id, told, is)
			}
		}
	}
	return longest
}

// compareImages compares the images of a job with what was sent.
func (r *run) compareImages(j *jobAnswer, b *batch) {
	traces := map[string]bool{}
	for i, img := range j.Images {
		src := b.images[i]
		if traces[img.TraceID] {
			r.count("duplicated", 1)
			r.breach("job %s: trace ID %s twice", j.JobID, img.TraceID)
		}
		traces[img.TraceID] = true
		if img.Status == "completed" {
			r.count("completed", 1)
		} else {
			r.count("failed", 1)
		}
		if img.ErrorCode == "cancelled" && j.Status == "cancelled" && b.cancel > 0 {
			r.count("cancelled", 1)
			continue
		}
		if strings.HasSuffix(src.name, poisonName) {
			r.count("poison", 1)
		}
		want := "completed"
		if src.code != "" {
			want = "failed"
		}
		if ended(img.Status) && (img.Status != want || img.ErrorCode != src.code) {
			r.breach("job %s: image %s ended as %+v, want %s %s", j.JobID, src.name, img, want, src.code)
		}
	}
}

// atRest checks that no image is open, the outbox is empty, and the queues are empty
// except for the dead letters of poison.
func (r *run) atRest(ctx context.Context) {
	r.expect(ctx, func() string {
		m, err := r.metrics(ctx, r.gateways[0])
		if open, unsent := m["imagebatch_open_images"], m["imagebatch_unsent_uploads"]; err != nil || open > 0 || unsent > 0 {
			return fmt.Sprintf("%v open images, %v unsent uploads (%v)", open, unsent, err)
		}
		return ""
	})
	r.expect(ctx, func() string {
		queues, err := r.servers.queues(ctx)
		if r.poison > 0 {
			delete(queues, deadUploads)
		}
		if err != nil || len(queues) > 0 {
			return fmt.Sprintf("queues are not empty: %v (%v)", queues, err)
		}
		return ""
	})
}

// deadUploads is the queue of the images that killed their analyzer every time.
const deadUploads = "image_upload.dead"

// deadLetters takes the dead letters and checks that they are poison, and that each
// poison image is one where no fault duplicates or drops messages.
func (r *run) deadLetters(ctx context.Context, jobs map[string]*jobAnswer) {
	count := map[string]int{}
	for _, j := range jobs {
		for _, img := range j.Images {
			if strings.HasSuffix(img.OriginalFilename, poisonName) {
				count[img.TraceID] = 0
			}
		}
	}
	client, err := r.servers.open("image_upload") //nolint:contextcheck // Close ends it.
	if err != nil {
		r.breach("open the broker: %v", err)
		return
	}
	defer func() { _ = client.Close() }() // It only took messages.
	if err := client.Browse(ctx, deadUploads, func(_ context.Context, l broker.Letter) error {
		var upload struct {
			TraceID string `json:"trace_id"`
		}
		_ = json.Unmarshal(l.Body, &upload) // Without a trace ID it is no poison.
		if _, poison := count[upload.TraceID]; !poison {
			r.breach("a dead letter is no poison: %.300s", l.Body)
		}
		count[upload.TraceID]++
		return l.Ack()
	}); err != nil {
		r.breach("read the dead letters: %v", err)
	}
	for trace, n := range count {
		if r.strict && n != 1 {
			r.breach("poison %s is a dead letter %d times", trace, n)
		}
	}
}

// afterRestart kills each gateway and checks that the next one returns the same.
func (r *run) afterRestart(ctx context.Context, jobs map[string]*jobAnswer) {
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
			if before := jobs[list[i].JobID]; before == nil || !equal(before, &list[i]) {
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
			return nil, fmt.Errorf("metrics of %s: %w", name, err)
		}
		all["goroutines of "+name], all["descriptors of "+name] = m["go_goroutines"], m["process_open_fds"]
	}
	return all, nil
}

// slack is how much more than before the load a service may hold: idle connections
// to the storage, which are bounded, and those of this harness.
const slack = 100

// settled checks that the services return to what they held before the load.
func (r *run) settled(ctx context.Context, base map[string]float64) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r.expect(ctx, func() string {
		now, err := r.resources(ctx)
		if err != nil {
			return err.Error()
		}
		for name, n := range now {
			if n > base[name]+slack {
				return fmt.Sprintf("%v %s, %v before", n, name, base[name])
			}
		}
		return ""
	})
}

// metrics returns a service's metrics by name and labels.
func (r *run) metrics(ctx context.Context, name string) (map[string]float64, error) {
	a, err := get(ctx, r.services[name].url("/metrics"))
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("%s", a)
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
