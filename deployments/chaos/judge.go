package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// judge holds everything that must be true after a run.
func (r *run) judge(ctx context.Context, o *outcome, base map[string]resources, healed time.Time) error {
	limit, cancel := context.WithTimeout(ctx, r.endBound())
	defer cancel()
	for _, name := range r.names {
		if err := r.services[name].awaitReady(limit); err != nil {
			r.history.breach("after the faults: %v", err)
		}
	}
	step := func(name string) { r.history.note("judge", name, "", nil) }
	step("all ended")
	jobs := r.allEnded(limit)
	r.count(o, jobs, healed)
	step("at rest")
	r.atRest(limit)
	if r.poison > 0 {
		step("dead letters")
		r.deadLetters(limit, jobs)
	}
	step("objects")
	r.objects(ctx, jobs)
	step("after a restart")
	r.afterRestart(ctx, jobs)
	step("settled")
	r.settled(ctx, base)
	step("over")
	for _, name := range r.names {
		for _, fall := range r.services[name].fallen() {
			r.history.breach("%s", fall)
		}
		complaint, err := r.services[name].complaints()
		if err != nil {
			return err
		}
		if complaint != "" {
			r.history.breach("%s", complaint)
		}
	}
	var twice []string
	o.requestsBroken, twice = r.storage.figures()
	for _, path := range twice {
		r.history.breach("object %s was stored with different bytes", path)
	}
	o.duplicated += len(twice)
	o.refused = r.refused
	return ctx.Err()
}

// list is the whole list of jobs as one of the gateways tells it.
func (r *run) list(ctx context.Context, at int) ([]jobAnswer, error) {
	status, body, err := get(ctx, r.gateway(at).url("/api/v1/batch"))
	if err != nil {
		return nil, err
	}
	var list struct {
		Jobs []jobAnswer `json:"jobs"`
	}
	if err := json.Unmarshal(body, &list); status != http.StatusOK || err != nil {
		return nil, fmt.Errorf("list answers %d: %.200s: %w", status, body, err)
	}
	return list.Jobs, nil
}

// allEnded waits until no job in the list is open, and gives the jobs of the run
// as they ended: those in the list, and those that retention took before.
func (r *run) allEnded(ctx context.Context) map[string]*jobAnswer {
	jobs := map[string]*jobAnswer{}
	r.mu.Lock()
	maps.Copy(jobs, r.ends)
	r.mu.Unlock()
	last := "no list"
	err := poll(ctx, 300*time.Millisecond, func() (bool, error) {
		list, err := r.list(ctx, 0)
		if err != nil {
			last = err.Error()
			return false, nil
		}
		open := 0
		for i := range list {
			jobs[list[i].JobID] = &list[i]
			if !ended(list[i].Status) {
				open++
				last = fmt.Sprintf("job %s: %+v", list[i].JobID, list[i])
			}
		}
		return open == 0, nil
	})
	if err != nil {
		r.history.breach("jobs are open %s after the last fault: %.2000s", r.endBound()+fetchTime, last)
	}
	return jobs
}

// count holds the jobs against what was sent, and fills in the figures.
func (r *run) count(o *outcome, jobs map[string]*jobAnswer, healed time.Time) {
	accepted := r.ledger.accepted()
	for id, b := range accepted {
		j := jobs[id]
		if j == nil || !ended(j.Status) {
			o.lost += len(b.images)
			if j == nil {
				r.history.breach("job %s was accepted and is gone", id)
			}
		}
	}
	for id, j := range jobs {
		o.jobs++
		if j.RetryOf != "" {
			o.retried++
		}
		o.images += j.TotalImages
		b, _ := r.ledger.owner(j)
		if b == nil {
			r.history.breach("job %s is nobody's: %+v", id, j)
			continue
		}
		if len(b.images) != j.TotalImages {
			r.history.breach("job %s has %d images of %d", id, j.TotalImages, len(b.images))
			continue
		}
		r.count1(o, j, b)
	}
	for id := range r.ledger.cancelled {
		if j := jobs[id]; j != nil && j.Status != "cancelled" {
			r.history.breach("job %s was cancelled with 200 and ended as %s", id, j.Status)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, at := range r.endedAt {
		from := healed
		if accepted := r.since[id]; accepted.After(from) {
			from = accepted // a retry of what ended after the last fault
		}
		o.longest = max(o.longest, at.Sub(from))
		if at.Sub(from) > r.endBound()+fetchTime {
			r.history.breach("job %s ended %s after the last fault", id, at.Sub(from))
		}
		seen := r.folds[id]
		if seen == nil && r.retention == 0 {
			r.history.breach("no watcher of %s saw its job_complete", id)
		}
		for i, told := range seen {
			is := jobs[id].Images[i]
			if told.Status != is.Status || told.ProcessedPath != is.ProcessedPath || told.Error != is.Error || told.TraceID != is.TraceID {
				r.history.breach("job %s: a watcher was told %+v, and it is %+v", id, told, is)
			}
		}
	}
}

// count1 holds one job's images against what they were sent as.
func (r *run) count1(o *outcome, j *jobAnswer, b *batch) {
	traces := map[string]bool{}
	for i, img := range j.Images {
		src := b.images[i]
		if traces[img.TraceID] {
			o.duplicated++
			r.history.breach("job %s: trace id %s twice", j.JobID, img.TraceID)
		}
		traces[img.TraceID] = true
		if img.Status == "completed" {
			o.completed++
		} else {
			o.failed++
		}
		if img.ErrorCode == "cancelled" && j.Status == "cancelled" && b.cancel > 0 {
			o.cancelled++
			continue
		}
		if strings.HasSuffix(src.name, poisonName) {
			o.poison++
		}
		if want := map[bool]string{true: "completed", false: "failed"}[src.code == ""]; ended(img.Status) && (img.Status != want || img.ErrorCode != src.code) {
			r.history.breach("job %s: image %d (%s) ended as %s %s (%s), not as %s %s", j.JobID, i, src.name, img.Status, img.ErrorCode, img.Error, want, src.code)
		}
	}
}
