package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// judge holds everything that must be true after a run.
func (r *run) judge(ctx context.Context, o *outcome, base map[string]resources, healed time.Time) error {
	limit, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	for _, name := range r.names {
		if err := r.services[name].awaitReady(limit); err != nil {
			r.history.breach("after the faults: %v", err)
		}
	}
	jobs := r.allEnded(limit)
	r.count(o, jobs, healed)
	r.atRest(limit)
	r.objects(ctx, jobs)
	r.afterRestart(ctx, jobs)
	r.settled(ctx, base)
	for _, name := range r.names {
		if how := r.services[name].died(); how != "" {
			r.history.breach("%s", how)
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
	return ctx.Err()
}

// list is the whole list of jobs.
func (r *run) list(ctx context.Context) ([]jobAnswer, error) {
	status, body, err := get(ctx, r.gateway().url("/api/v1/batch"))
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
		list, err := r.list(ctx)
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
		r.history.breach("jobs are open %s after the last fault: %.2000s", endTime+fetchTime, last)
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
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, at := range r.endedAt {
		o.longest = max(o.longest, at.Sub(healed))
		if at.Sub(healed) > endTime+fetchTime {
			r.history.breach("job %s ended %s after the last fault", id, at.Sub(healed))
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
		if want := map[bool]string{true: "completed", false: "failed"}[src.code == ""]; ended(img.Status) && (img.Status != want || img.ErrorCode != src.code) {
			r.history.breach("job %s: image %d (%s) ended as %s %s (%s), not as %s %s", j.JobID, i, src.name, img.Status, img.ErrorCode, img.Error, want, src.code)
		}
	}
}

// atRest holds that nothing is left on its way: no open image, an empty outbox,
// empty queues, and no dead letter, since nothing here is poison.
func (r *run) atRest(ctx context.Context) {
	last := ""
	if err := poll(ctx, 300*time.Millisecond, func() (bool, error) {
		figures, err := r.metrics(ctx, "gateway")
		last = fmt.Sprintf("%v open images, %v unsent", figures["imagebatch_open_images"], figures["imagebatch_unsent_uploads"])
		return err == nil && figures["imagebatch_open_images"] == 0 && figures["imagebatch_unsent_uploads"] == 0, nil
	}); err != nil {
		r.history.breach("at rest: %s", last)
	}
	if err := poll(ctx, 2*time.Second, func() (bool, error) {
		queues, err := r.servers.queues(ctx)
		if err != nil {
			return false, err
		}
		last = ""
		for name, n := range queues {
			if n > 0 {
				last += fmt.Sprintf(" %s: %d", name, n)
			}
		}
		return last == "", nil
	}); err != nil {
		r.history.breach("queues are not empty:%s (%v)", last, err)
	}
}

// afterRestart holds that what is told is what is stored: the gateway is killed
// and started again, and must say the same.
func (r *run) afterRestart(ctx context.Context, jobs map[string]*jobAnswer) {
	if r.retention > 0 {
		return
	}
	_ = r.gateway().end(syscall.SIGKILL) // killed is what it is to be
	if err := r.gateway().start(); err != nil {
		r.history.breach("start again: %v", err)
		return
	}
	limit, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := r.gateway().awaitReady(limit); err != nil {
		r.history.breach("start again: %v", err)
		return
	}
	list, err := r.list(limit)
	if err != nil || len(list) != len(jobs) {
		r.history.breach("after a restart %d jobs are listed of %d (%v)", len(list), len(jobs), err)
	}
	for i := range list {
		if before := jobs[list[i].JobID]; before == nil || !equal(before, &list[i]) {
			r.history.breach("after a restart job %+v was %+v", list[i], before)
		}
	}
}

// resources are what a service holds.
type resources struct{ goroutines, descriptors float64 }

// resources are those of all services.
func (r *run) resources(ctx context.Context) (map[string]resources, error) {
	all := map[string]resources{}
	for _, name := range r.names {
		m, err := r.metrics(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", name, err)
		}
		all[name] = resources{m["go_goroutines"], m["process_open_fds"]}
	}
	return all, nil
}

// slack is what a service may hold more than at its start: idle connections to
// the storage, which are bounded and kept for a while, and the readers of this
// harness.
const slack = 100

// settled holds that the services go back to what they held at the beginning.
func (r *run) settled(ctx context.Context, base map[string]resources) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	last := ""
	if err := poll(ctx, time.Second, func() (bool, error) {
		now, err := r.resources(ctx)
		if ctx.Err() != nil {
			return false, nil // what was seen last stands
		}
		last = fmt.Sprintf("%+v, at the beginning %+v (%v)", now, base, err)
		for name, b := range base {
			if n := now[name]; err != nil || n.goroutines > b.goroutines+slack || n.descriptors > b.descriptors+slack {
				return false, nil
			}
		}
		return true, nil
	}); err != nil {
		r.history.breach("services hold on to something: %s", last)
	}
}

// metrics are a service's figures without labels.
func (r *run) metrics(ctx context.Context, name string) (map[string]float64, error) {
	status, body, err := get(ctx, r.services[name].url("/metrics"))
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("answer %d", status)
	}
	figures := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		metric, value, ok := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil {
			figures[metric] = n
		}
	}
	return figures, nil
}
