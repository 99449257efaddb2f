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

// Watchers that come while images end, in any order, with hints that get lost:
// what each was told adds up to what the store says.
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
				for range rand.IntN(3) { // lost, once, twice
					b.hint(j)
				}
			}
		})
		for range watchers {
			wg.Go(func() { b.fold(id) })
		}
	}
	wg.Wait()
}

// fold watches a job to its end and holds what it was told against the store.
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
			b.Errorf("%s: nothing told for 30 s, of %d images", id, len(ended))
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
				b.Errorf("%s: began with %v", id, e.Kind)
			}
			if last.Job != nil && (e.Job.Completed < last.Job.Completed || e.Job.Failed < last.Job.Failed || e.Job.Revision < last.Job.Revision) {
				b.Errorf("%s: counters fell: %v after %v", id, tell([]progress.Event{e}), tell([]progress.Event{last}))
			}
			if e.Image != nil {
				if _, twice := ended[e.Image.Index]; twice {
					b.Errorf("%s: image %d told twice", id, e.Image.Index)
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
		b.Errorf("%s: told %v and %d images, is %+v", id, tell([]progress.Event{last}), len(ended), j)
	}
	for i := range j.Images {
		if ended[i] != j.Images[i].Status {
			b.Errorf("%s: image %d was told as %s, is %s", id, i, ended[i], j.Images[i].Status)
		}
	}
}
