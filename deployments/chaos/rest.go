package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// atRest holds that nothing is left on its way: no open image, an empty outbox,
// empty queues, and no dead letter but those of poison.
func (r *run) atRest(ctx context.Context) {
	last := ""
	if err := poll(ctx, 300*time.Millisecond, func() (bool, error) {
		figures, err := r.metrics(ctx, r.gateways[0])
		last = fmt.Sprintf("%v open images, %v unsent", figures["imagebatch_open_images"], figures["imagebatch_unsent_uploads"])
		return err == nil && figures["imagebatch_open_images"] == 0 && figures["imagebatch_unsent_uploads"] == 0, nil
	}); err != nil {
		r.history.breach("at rest: %s", last)
	}
	if err := poll(ctx, time.Second, func() (bool, error) {
		queues, err := r.servers.queues(ctx)
		if err != nil {
			return false, err
		}
		if r.poison > 0 {
			delete(queues, deadUploads)
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

// afterRestart holds that what is told is what is stored: each gateway is killed
// and started again, and must say the same.
func (r *run) afterRestart(ctx context.Context, jobs map[string]*jobAnswer) {
	if r.retention > 0 {
		return
	}
	for at, name := range r.gateways {
		p := r.services[name]
		_ = p.end(syscall.SIGKILL) // killed is what it is to be
		if err := p.start(); err != nil {
			r.history.breach("start again: %v", err)
			return
		}
		limit, cancel := context.WithTimeout(ctx, readyTime)
		defer cancel()
		if err := p.awaitReady(limit); err != nil {
			r.history.breach("start again: %v", err)
			return
		}
		list, err := r.list(limit, at)
		if err != nil || len(list) != len(jobs) {
			r.history.breach("after a restart %d jobs are listed of %d (%v)", len(list), len(jobs), err)
		}
		for i := range list {
			if before := jobs[list[i].JobID]; before == nil || !equal(before, &list[i]) {
				r.history.breach("after a restart job %+v was %+v", list[i], before)
			}
		}
	}
}

// deadUploads is where what killed its analyzer again and again is kept.
const deadUploads = "image_upload.dead"

// deadLetters reads the dead uploads, which are gone then, and holds that they are
// poison: each exactly once where nothing made a message come twice or get lost.
func (r *run) deadLetters(ctx context.Context, jobs map[string]*jobAnswer) {
	count := map[string]int{}
	for _, j := range jobs {
		for _, img := range j.Images {
			if strings.HasSuffix(img.OriginalFilename, poisonName) {
				count[img.TraceID] = 0
			}
		}
	}
	reader, err := r.open("image_upload") //nolint:contextcheck // Close ends it.
	if err != nil {
		r.history.breach("open the broker: %v", err)
		return
	}
	defer func() { _ = reader.Close() }() // nothing is lost by it
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex // guards count and innocent
	var innocent []string
	var letters sync.WaitGroup
	letters.Go(func() {
		_ = reader.Consume(reading, deadUploads, 16, func(_ context.Context, d broker.Delivery) error {
			var upload struct {
				TraceID string `json:"trace_id"`
			}
			err := json.Unmarshal(d.Body, &upload)
			mu.Lock()
			defer mu.Unlock()
			if _, poison := count[upload.TraceID]; err == nil && poison {
				count[upload.TraceID]++
			} else {
				innocent = append(innocent, fmt.Sprintf("%.300s", d.Body))
			}
			return d.Ack()
		})
	})
	err = poll(ctx, 300*time.Millisecond, func() (bool, error) {
		queues, err := r.servers.queues(ctx)
		return err == nil && queues[deadUploads] == 0, nil
	})
	stop()
	letters.Wait()
	if err != nil {
		r.history.breach("the dead letters cannot be read: %v", err)
	}
	for _, text := range innocent {
		r.history.breach("a dead letter is no poison: %s", text)
	}
	for trace, n := range count {
		if r.strict && n != 1 {
			r.history.breach("poison %s is a dead letter %d times", trace, n)
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
