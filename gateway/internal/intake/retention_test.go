package intake

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ended makes a job of two images, one completed and one failed, and an open one.
func (r *rig) ended(in *Intake) (done, open *job.Job) {
	r.t.Helper()
	done = r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)})
	open = r.batch(in, Source{Data: jpegBytes(2)}, Source{Data: jpegBytes(3)})
	r.complete(in, done, 0)
	f := &pipeline.Failure{Code: pipeline.CodeProcessingFailed, Text: "Image could not be processed"}
	r.settle(in, done, 1, f.Result(pipeline.NewEnvelope(done.ID, 1, r.now()), r.now()))
	r.complete(in, open, 0)
	return done, open
}

func (r *rig) exists(id string) bool {
	r.t.Helper()
	_, err := r.jobs.Get(r.t.Context(), id)
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

// below lists the objects of a job in a store.
func (r *rig) below(s objectstore.Store, j *job.Job) []string {
	r.t.Helper()
	return slices.DeleteFunc(r.keys(s), func(key string) bool {
		return !slices.ContainsFunc(j.Images, func(i job.Image) bool { return strings.HasPrefix(key, string(i.TraceID)+"/") })
	})
}

func TestRetentionOfTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t)
		r.config.JobRetention = 2 * time.Second
		in := r.intake("gateway-1", r.broker)
		ctx, stop := context.WithCancel(t.Context())
		finished := make(chan struct{})
		go func() {
			in.retain(ctx)
			close(finished)
		}()
		done, open := r.ended(in)
		time.Sleep(1900 * time.Millisecond)
		synctest.Wait()
		if !r.exists(done.ID) || len(r.below(r.originals, done)) != 2 {
			t.Error("deleted early")
		}
		time.Sleep(700 * time.Millisecond)
		synctest.Wait()
		if r.exists(done.ID) {
			t.Error("the job is still there")
		}
		if keys := r.below(r.originals, done); len(keys) != 0 {
			t.Errorf("originals left: %v", keys)
		}
		if keys := r.below(r.processed, done); len(keys) != 4 {
			t.Errorf("results left: %v, want the four that are the user's", keys)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !r.exists(open.ID) || len(r.below(r.originals, open)) != 2 || len(r.below(r.processed, open)) != 4 {
			t.Error("an open job lost something")
		}
		stop()
		<-finished
		r.close()
	})
}

func TestRetentionOfResults(t *testing.T) {
	r := setup(t)
	r.config.JobRetention, r.config.ResultRetention = time.Hour, 3*time.Hour
	in := r.intake("gateway-1", r.broker)
	done, open := r.ended(in)
	for _, step := range []struct {
		after              time.Duration
		exists             bool
		originals, results int
	}{
		{59 * time.Minute, true, 2, 4},
		{61 * time.Minute, false, 0, 4},
		{179 * time.Minute, false, 0, 4},
		{181 * time.Minute, false, 0, 0},
		{181 * time.Minute, false, 0, 0},
	} {
		if err := in.retainOnce(t.Context(), time.Now().Add(step.after)); err != nil {
			t.Fatal(err)
		}
		if r.exists(done.ID) != step.exists || len(r.below(r.originals, done)) != step.originals || len(r.below(r.processed, done)) != step.results {
			t.Errorf("after %s: exists %v, originals %v, results %v", step.after, r.exists(done.ID), r.below(r.originals, done), r.below(r.processed, done))
		}
	}
	if hidden, err := r.jobs.Hidden(t.Context(), time.Now().Add(24*time.Hour), 10); err != nil || len(hidden) != 0 {
		t.Errorf("rows left: %v, %v", hidden, err)
	}
	if !r.exists(open.ID) || len(r.below(r.originals, open)) != 2 {
		t.Error("an open job lost something")
	}
}

func TestRetentionDeletesWhatBelongsToNobody(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	j := r.batch(in, Source{Data: jpegBytes(0)}, Source{URL: "http://127.0.0.2/x.jpg"})
	cancelled := &pipeline.Failure{Code: pipeline.CodeCancelled, Text: "Cancelled"}
	for i := range 2 {
		r.settle(in, j, i, cancelled.Result(pipeline.NewEnvelope(j.ID, i, time.Now()), time.Now()))
	}
	// The processor had done the first one all the same, and a gateway that died
	// had stored an original for the second.
	for _, key := range results(pipeline.ProcessedKey(j.Images[0].TraceID, j.Images[0].Original.Path)) {
		if err := r.processed.Put(t.Context(), key, []byte("x"), "image/jpeg"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.originals.Put(t.Context(), pipeline.OriginalKey(j.Images[1].TraceID, "x.jpg"), []byte("x"), "image/jpeg"); err != nil {
		t.Fatal(err)
	}
	if err := in.retainOnce(t.Context(), time.Now().Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if o, p := r.keys(r.originals), r.keys(r.processed); len(o)+len(p) != 0 {
		t.Errorf("left originals %v and results %v", o, p)
	}
}

// A run that ends after any number of its steps leaves no listed job without its
// objects and no objects that the next run does not find.
func TestRetentionInterruptedAnywhere(t *testing.T) {
	r := setup(t)
	r.config.JobRetention, r.config.ResultRetention = time.Hour, time.Hour
	in := r.intake("gateway-1", r.broker)
	killed := errors.New("killed")
	for at := int64(1); ; at++ {
		done, _ := r.ended(in)
		later := time.Now().Add(2 * time.Hour)
		var steps atomic.Int64
		step := func() error {
			if steps.Add(1) == at {
				return killed
			}
			return nil
		}
		r.originals.fail(func(string, string) error { return step() })
		r.processed.fail(func(string, string) error { return step() })
		r.jobs.set(true, "Delete", step)
		err := in.retainOnce(t.Context(), later)
		r.originals.fail(nil)
		r.processed.fail(nil)
		r.jobs.set(true, "Delete", nil)
		if r.exists(done.ID) {
			t.Fatalf("killed at step %d: the job is listed while its objects go", at)
		}
		if again := in.retainOnce(t.Context(), later); again != nil {
			t.Fatalf("killed at step %d: the next run: %v", at, again)
		}
		if o, p := r.below(r.originals, done), r.below(r.processed, done); len(o)+len(p) != 0 {
			t.Fatalf("killed at step %d: left originals %v and results %v", at, o, p)
		}
		if err == nil {
			if at < 5 {
				t.Errorf("only %d steps were interrupted", at-1)
			}
			return
		}
	}
}

func TestSteadyClockIsNeverAhead(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const day = 24 * time.Hour
	type look struct {
		passed, set, want time.Duration // since the start; set is how far the wall is off
	}
	for name, looks := range map[string][]look{
		"right":            {{0, 0, 0}, {time.Hour, 0, time.Hour}, {2 * day, 0, 2 * day}},
		"an hour on":       {{time.Hour, time.Hour, time.Hour}, {23 * time.Hour, time.Hour, 23 * time.Hour}, {26 * time.Hour, time.Hour, 27 * time.Hour}},
		"an hour back":     {{2 * time.Hour, -time.Hour, time.Hour}, {3 * day, -time.Hour, 3*day - time.Hour}},
		"on and off again": {{time.Hour, time.Hour, time.Hour}, {2 * time.Hour, 0, 2 * time.Hour}, {3 * day, time.Hour, 3 * day}},
	} {
		c := newSteadyClock(start, day)
		for _, l := range looks {
			if got := c.at(start.Add(l.passed+l.set), l.passed); !got.Equal(start.Add(l.want)) {
				t.Errorf("%s, after %s: %s since the start, want %s", name, l.passed, got.Sub(start), l.want)
			}
		}
	}
}
