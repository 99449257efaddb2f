package progress_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
)

// TestEventsAddUpToTheJob subscribes watchers while images end in any order and
// notifications are lost: the events of each watcher add up to the job in the store.
func TestEventsAddUpToTheJob(t *testing.T) {
	b := setup(t, progress.Config{Reread: 20 * time.Millisecond})
	const jobs, images, watchers = 5, 20, 200
	var wg sync.WaitGroup
	for n := range jobs {
		id := fmt.Sprint("job", n)
		b.create(id, images)
		wg.Go(func() {
			for _, i := range rand.Perm(images) {
				j := b.settle(id, i)
				for range rand.IntN(3) { // lost, sent once, sent twice
					b.notify(j)
				}
			}
		})
		for range watchers {
			wg.Go(func() { b.fold(id) })
		}
	}
	wg.Wait()
}

// fold watches a job to its end and compares the events with the store.
func (b *bench) fold(id string) {
	w, err := b.hub.Subscribe(b.Context(), id)
	if err != nil {
		b.Error(err)
		return
	}
	defer w.Close()
	ended := map[int]job.Status{}
	var last progress.Event
	for {
		select {
		case <-w.Ready():
		case <-time.After(30 * time.Second):
			b.Errorf("%s: no event for 30 s, after %d images", id, len(ended))
			return
		}
		events, err := w.Next()
		if err != nil {
			b.Errorf("%s: %v before the end", id, err)
			return
		}
		for _, e := range events {
			if last.Kind == progress.JobComplete {
				b.Errorf("%s: %v after the end", id, e.Kind)
			}
			if last.Job == nil && e.Kind != progress.Progress {
				b.Errorf("%s: first event is %v", id, e.Kind)
			}
			if last.Job != nil && (e.Job.Completed < last.Job.Completed || e.Job.Failed < last.Job.Failed || e.Job.Revision < last.Job.Revision) {
				b.Errorf("%s: counters decreased: %v after %v", id, describe([]progress.Event{e}), describe([]progress.Event{last}))
			}
			if e.Image != nil {
				if _, twice := ended[e.Image.Index]; twice {
					b.Errorf("%s: image %d reported twice", id, e.Image.Index)
				}
				ended[e.Image.Index] = e.Image.Status
			}
			last = e
		}
		if last.Kind == progress.JobComplete {
			break
		}
	}
	j, err := b.store.Get(b.Context(), id)
	if err != nil {
		b.Error(err)
		return
	}
	if j.Status != last.Job.Status || j.Completed != last.Job.Completed || j.Failed != last.Job.Failed || len(ended) != j.Total {
		b.Errorf("%s: events end with %v and %d images, job is %+v", id, describe([]progress.Event{last}), len(ended), j)
	}
	for i := range j.Images {
		if ended[i] != j.Images[i].Status {
			b.Errorf("%s: image %d was reported as %s, is %s", id, i, ended[i], j.Images[i].Status)
		}
	}
}
