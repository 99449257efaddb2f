package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ended creates a job of two images, one completed and one failed, and an open job.
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

// hidden counts the rows that retention has not deleted yet.
func (r *rig) hidden() int {
	r.t.Helper()
	never := r.now().AddDate(100, 0, 0)
	jobs, err := r.jobs.Hidden(r.t.Context(), never, never, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	return len(jobs)
}

// hiddenJob returns a hidden job.
func (r *rig) hiddenJob(id string) *job.Job {
	r.t.Helper()
	never := r.now().AddDate(100, 0, 0)
	jobs, err := r.jobs.Hidden(r.t.Context(), never, never, 1000)
	at := slices.IndexFunc(jobs, func(j *job.Job) bool { return j.ID == id })
	if err != nil || at < 0 {
		r.t.Fatalf("no hidden job %s: %v", id, err)
	}
	return jobs[at]
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
			t.Errorf("originals left: %v, want none", keys)
		}
		if keys := r.below(r.processed, done); len(keys) != 4 {
			t.Errorf("results left: %v, want the 4 of the completed image", keys)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !r.exists(open.ID) || len(r.below(r.originals, open)) != 2 || len(r.below(r.processed, open)) != 4 {
			t.Error("an open job lost objects")
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
		if err := in.Expire(t.Context(), time.Now().Add(step.after)); err != nil {
			t.Fatal(err)
		}
		if r.exists(done.ID) != step.exists || len(r.below(r.originals, done)) != step.originals || len(r.below(r.processed, done)) != step.results {
			t.Errorf("after %s: exists %v, originals %v, results %v", step.after, r.exists(done.ID), r.below(r.originals, done), r.below(r.processed, done))
		}
	}
	if n := r.hidden(); n != 0 {
		t.Errorf("%d rows left, want 0", n)
	}
	if !r.exists(open.ID) || len(r.below(r.originals, open)) != 2 {
		t.Error("an open job lost objects")
	}
}

func TestRetentionDeletesOrphans(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	j := r.batch(in, Source{Data: jpegBytes(0)}, Source{URL: "http://127.0.0.2/x.jpg"})
	cancelled := &pipeline.Failure{Code: pipeline.CodeCancelled, Text: "Cancelled"}
	for i := range 2 {
		r.settle(in, j, i, cancelled.Result(pipeline.NewEnvelope(j.ID, i, time.Now()), time.Now()))
	}
	// The processor completed the first image anyway, and a gateway that died stored an
	// original for the second.
	for _, key := range results(pipeline.ProcessedKey(j.Images[0].TraceID, j.Images[0].Original.Path)) {
		if err := r.processed.Put(t.Context(), key, objectstore.Content{Data: []byte("x"), Type: "image/jpeg"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.originals.Put(t.Context(), pipeline.OriginalKey(j.Images[1].TraceID, "x.jpg"), objectstore.Content{Data: []byte("x"), Type: "image/jpeg"}); err != nil {
		t.Fatal(err)
	}
	if err := in.Expire(t.Context(), time.Now().Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if o, p := r.keys(r.originals), r.keys(r.processed); len(o)+len(p) != 0 {
		t.Errorf("left originals %v and results %v, want none", o, p)
	}
}

// put stores the results of an image as a processor does, whatever happened to the job in the
// meantime.
func (r *rig) put(img *job.Image) {
	r.t.Helper()
	for _, key := range results(pipeline.ProcessedKey(img.TraceID, img.Original.Path)) {
		if err := r.processed.Put(r.t.Context(), key, objectstore.Content{Data: []byte("x"), Type: "image/jpeg"}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestLateResultsAreDeleted verifies that late results are deleted. Processors that had read
// their originals before the deletion store results as late as possible, for a cancelled
// image, a failed one and one whose results are deleted, and gateways stop in between.
func TestLateResultsAreDeleted(t *testing.T) {
	for _, keep := range []bool{true, false} {
		for _, retention := range []time.Duration{2 * time.Second, 24 * time.Hour} {
			t.Run(fmt.Sprintf("keep %t after %s", keep, retention), func(t *testing.T) {
				r := setup(t)
				r.config.JobRetention = retention
				if !keep {
					r.config.ResultRetention = retention
				}
				in := r.intake("gateway-1", r.broker)
				j := r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)}, Source{Data: jpegBytes(2)}, Source{URL: "http://127.0.0.2/x.jpg"})
				r.complete(in, j, 0)
				f := &pipeline.Failure{Code: pipeline.CodeProcessingFailed, Text: "Image could not be processed"}
				r.settle(in, j, 1, f.Result(pipeline.NewEnvelope(j.ID, 1, r.now()), r.now()))
				r.cancel(in, j.ID)
				due := r.now().Add(retention)
				look := func(after time.Duration) {
					t.Helper()
					in = r.intake(uuid.NewString(), r.broker) // Each run is by a gateway that has just started.
					if err := in.Expire(t.Context(), due.Add(after)); err != nil {
						t.Fatal(err)
					}
				}
				want := func(results, rows int) {
					t.Helper()
					if got := r.keys(r.processed); len(got) != results || r.hidden() != rows {
						t.Errorf("%d rows and results %v, want %d and %d", r.hidden(), got, rows, results)
					}
				}
				kept := 0
				if keep {
					kept = perImage
				}
				look(time.Second)
				want(kept, 1)
				for i := range 3 {
					r.put(&j.Images[i])
				}
				if err := r.originals.Put(t.Context(), pipeline.OriginalKey(j.Images[3].TraceID, "x.jpg"), objectstore.Content{Data: []byte("x"), Type: "image/jpeg"}); err != nil {
					t.Fatal(err)
				}
				look(lateFor)
				want(3*perImage, 1)
				look(lateFor + 2*time.Second)
				want(kept, 0)
				if left := r.keys(r.originals); len(left) != 0 {
					t.Errorf("originals left: %v, want none", left)
				}
			})
		}
	}
}

// perImage is the number of objects that an image may have: itself, its record, thumbnail and
// sidecar.
const perImage = 4

// TestRowsAreDeletedWithoutLateResults verifies that a job whose images can have no late results
// leaves no row for a second step.
func TestRowsAreDeletedWithoutLateResults(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	var jobs []*job.Job
	for range 3 {
		j := r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: []byte("no image")})
		r.complete(in, j, 0)
		jobs = append(jobs, j)
	}
	if err := in.Expire(t.Context(), r.now().Add(in.config.JobRetention+time.Second)); err != nil {
		t.Fatal(err)
	}
	if n := r.hidden(); n != 0 {
		t.Errorf("%d rows left, want 0", n)
	}
	for _, j := range jobs {
		if n := len(r.below(r.processed, j)); n != perImage || r.exists(j.ID) {
			t.Errorf("%d results are left, the job is listed: %t", n, r.exists(j.ID))
		}
	}
}

// TestManyRowsWaitForTheSecondStep verifies that more jobs than one step takes can wait for
// their second step without blocking those that are due.
func TestManyRowsWaitForTheSecondStep(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	const many = retainBatch + retainBatch/2
	for range many {
		r.cancel(in, r.batch(in, Source{URL: "http://127.0.0.2/x.jpg"}).ID)
	}
	due := r.now().Add(in.config.JobRetention + time.Second)
	for _, step := range []struct {
		after time.Duration
		rows  int
	}{{0, many}, {lateFor - time.Second, many}, {lateFor + time.Second, 0}} {
		if err := in.Expire(t.Context(), due.Add(step.after)); err != nil {
			t.Fatal(err)
		}
		if n := r.hidden(); n != step.rows {
			t.Errorf("%d rows after %s, want %d", n, step.after, step.rows)
		}
	}
}

// TestRetentionInterruptedAnywhere verifies that a run that stops after any number of steps leaves
// no listed job without its objects and no objects that the next run does not find.
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
		err := in.Expire(t.Context(), later)
		r.originals.fail(nil)
		r.processed.fail(nil)
		r.jobs.set(true, "Delete", nil)
		if r.exists(done.ID) {
			t.Fatalf("killed at step %d: the job is listed while its objects are deleted", at)
		}
		if again := in.Expire(t.Context(), later); again != nil {
			t.Fatalf("killed at step %d: the next run: %v", at, again)
		}
		r.put(&r.hiddenJob(done.ID).Images[1]) // A late result.
		last := later.Add(lateFor + time.Second)
		steps.Store(0)
		r.processed.fail(func(string, string) error { return step() })
		r.jobs.set(true, "Delete", step)
		second := in.Expire(t.Context(), last)
		r.processed.fail(nil)
		r.jobs.set(true, "Delete", nil)
		if again := in.Expire(t.Context(), last); again != nil {
			t.Fatalf("killed at step %d of the second step: the next run: %v", at, again)
		}
		if n := r.hidden(); n != 0 {
			t.Fatalf("killed at step %d of the second step: %d rows are left, want 0", at, n)
		}
		if o, p := r.below(r.originals, done), r.below(r.processed, done); len(o)+len(p) != 0 {
			t.Fatalf("killed at step %d: left originals %v and results %v, want none", at, o, p)
		}
		if err == nil && second == nil {
			if at < 5 {
				t.Errorf("only %d steps were interrupted, want at least 5", at-1)
			}
			return
		}
	}
}

func TestSteadyClockIsNeverAhead(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const day = 24 * time.Hour
	type look struct {
		passed, set, want time.Duration // since the start; set is the offset of the wall clock
	}
	for name, looks := range map[string][]look{
		"right":        {{0, 0, 0}, {time.Hour, 0, time.Hour}, {2 * day, 0, 2 * day}},
		"an hour on":   {{time.Hour, time.Hour, time.Hour}, {23 * time.Hour, time.Hour, 23 * time.Hour}, {26 * time.Hour, time.Hour, 27 * time.Hour}},
		"an hour back": {{2 * time.Hour, -time.Hour, time.Hour}, {3 * day, -time.Hour, 3*day - time.Hour}},
		"back and right again": {
			{2 * time.Hour, -time.Hour, time.Hour}, {3 * time.Hour, 0, 2 * time.Hour}, {26 * time.Hour, 0, 25 * time.Hour}, {28 * time.Hour, 0, 28 * time.Hour},
		},
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

// TestRetentionPassesRefusedJobs verifies that jobs whose objects the storage refuses to delete
// stop only themselves, and are deleted once it allows that.
func TestRetentionPassesRefusedJobs(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	images := map[string]bool{} // by trace ID
	var refused, others []*job.Job
	for i := range 6 {
		j := r.batch(in, Source{Data: jpegBytes(i)})
		r.complete(in, j, 0)
		if i < 3 {
			images[string(j.Images[0].TraceID)] = true
			refused = append(refused, j)
		} else {
			others = append(others, j)
		}
	}
	r.originals.fail(func(method, key string) error {
		if image, _, _ := strings.Cut(key, "/"); method == "Delete" && images[image] {
			return objectstore.ErrRefused
		}
		return nil
	})
	due := r.now().Add(in.config.JobRetention + time.Second)
	err := in.Expire(t.Context(), due)
	if !errors.Is(err, objectstore.ErrRefused) || !strings.Contains(err.Error(), refused[0].ID) {
		t.Errorf("Expire = %v, want the refusal for job %s", err, refused[0].ID)
	}
	for _, j := range others {
		if left := r.below(r.originals, j); len(left) != 0 {
			t.Errorf("originals left: %v, want none", left)
		}
	}
	if n := r.hidden(); n != len(refused) {
		t.Errorf("%d rows left, want %d", n, len(refused))
	}
	r.originals.fail(nil)
	if err := in.Expire(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	if n, left := r.hidden(), r.keys(r.originals); n != 0 || len(left) != 0 {
		t.Errorf("%d rows and originals %v left, want none", n, left)
	}
}
