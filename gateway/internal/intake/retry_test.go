package intake

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

func (r *rig) retry(in *Intake, id string) (*job.Job, error) {
	r.t.Helper()
	b := in.Begin()
	defer b.Abort(r.t.Context())
	if err := b.Retry(r.t.Context(), r.get(id)); err != nil {
		return nil, err
	}
	return b.Commit(r.t.Context())
}

// TestRetryCopiesStoredOriginals verifies that stored originals are copied, other images are
// fetched, and lost originals are fetched again or left out.
func TestRetryCopiesStoredOriginals(t *testing.T) {
	base, hanging := origin(t)
	r := setup(t)
	in, _ := r.run("gateway-1")
	j := r.batch(in,
		Source{URL: base + "/a.jpg", Name: "ä/a.png", CustomID: "ä/a"}, Source{URL: base + "/hang/b.jpg", CustomID: "b"}, Source{Data: jpegBytes(0)},
		Source{URL: base + "/lost.jpg"}, Source{Data: jpegBytes(1), Name: "lost"}, Source{Data: jpegBytes(2), Name: "forged"},
	)
	brokertest.Await(r.t, "download", func() bool { return hanging.Load() == 1 })
	r.awaitUploads(5)
	r.cancel(in, j.ID)
	source := r.get(j.ID)
	for _, i := range []int{3, 4} {
		if err := r.originals.Delete(t.Context(), source.Images[i].Original.Path); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.originals.Put(t.Context(), source.Images[5].Original.Path, jpegBytes(3), "image/jpeg"); err != nil {
		t.Fatal(err)
	}
	got, err := r.retry(in, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.RetryOf != j.ID || got.Total != 4 {
		t.Fatalf("retry of %s has %d images, want %v and 4", got.RetryOf, got.Total, j.ID)
	}
	for i, want := range []struct {
		of     int
		stored bool
	}{{0, true}, {1, false}, {2, true}, {3, false}} {
		img, old := got.Images[i], source.Images[want.of]
		if img.OriginalFilename != old.OriginalFilename || img.CustomID != old.CustomID || img.URL != old.URL || img.Original.Stored() != want.stored || img.Status.Ended() {
			t.Errorf("image %d is %+v, a retry of %+v", i, img, old)
		}
		if want.stored && (img.Original.SHA256 != old.Original.SHA256 || !strings.HasPrefix(img.Original.Path, string(img.TraceID)+"/")) {
			t.Errorf("original %d is %+v, a copy of %+v", i, img.Original, old.Original)
		}
	}
	r.awaitUploads(3) // The stored ones, and the lost one that was fetched again.
	r.cancel(in, got.ID)
}

func TestRetryOfADeletedJob(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	j := r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)})
	r.cancel(in, j.ID)
	source := r.get(j.ID)
	if err := in.retainOnce(t.Context(), r.now().Add(in.config.JobRetention+time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := in.Begin()
	if err := b.Retry(t.Context(), source); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("Retry = %v, want job.ErrNotFound", err)
	}
	b.Abort(t.Context())
}

func TestInterruptedRetryLeavesNothing(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	j := r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)})
	r.cancel(in, j.ID)
	puts := 0
	r.originals.fail(func(method, _ string) error {
		if method == "Put" {
			if puts++; puts == 2 {
				return objectstore.ErrUnavailable
			}
		}
		return nil
	})
	if _, err := r.retry(in, j.ID); !errors.Is(err, objectstore.ErrUnavailable) {
		t.Errorf("Retry = %v, want objectstore.ErrUnavailable", err)
	}
	if n := len(r.keys(r.originals)); n != 2 {
		t.Errorf("%d originals, want the 2 of the job", n)
	}
}

func TestKeyIsFreeAgain(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	key := job.Key{Name: "k"}
	first, second := in.Begin(), in.Begin()
	if err := first.Hold(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := second.Hold(t.Context(), key); !errors.Is(err, job.ErrKeyTaken) {
		t.Errorf("a second batch under the key: %v, want job.ErrKeyTaken", err)
	}
	second.Abort(t.Context())
	if in.batches.Load() != 1 {
		t.Errorf("%d batches hold a reservation, want 1", in.batches.Load())
	}
	first.Abort(t.Context())
	third := in.Begin()
	if err := third.Hold(t.Context(), key); err != nil {
		t.Errorf("a third batch: %v", err)
	}
	third.Abort(t.Context())
	if in.batches.Load() != 0 {
		t.Errorf("%d batches hold a reservation, want none", in.batches.Load())
	}
}

// TestRetentionKeepsObjectsOfARetry verifies that a retry does not depend on the original job:
// both retention steps of that job leave all objects of the retry.
func TestRetentionKeepsObjectsOfARetry(t *testing.T) {
	base, hanging := origin(t)
	r := setup(t)
	in, _ := r.run("gateway-1")
	j := r.batch(in, Source{URL: base + "/a.jpg"}, Source{URL: base + "/hang/b.jpg"}, Source{Data: jpegBytes(0)})
	brokertest.Await(r.t, "download", func() bool { return hanging.Load() == 1 })
	r.awaitUploads(2)
	r.cancel(in, j.ID)
	got, err := r.retry(in, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	r.complete(in, got, 2)
	originals, results := r.below(r.originals, got), r.below(r.processed, got)
	if len(originals) != 2 || len(results) != 4 {
		t.Fatalf("the retry has originals %v and results %v, want 2 and 4", originals, results)
	}
	due := r.now().Add(in.config.JobRetention + time.Minute)
	for _, visit := range []time.Time{due, due.Add(lateFor + time.Second)} {
		if err := in.retainOnce(t.Context(), visit); err != nil {
			t.Fatal(err)
		}
	}
	if left := r.below(r.originals, j); len(left) != 0 || r.exists(j.ID) || r.hidden() != 0 {
		t.Errorf("left of the old job: %v, %d rows", left, r.hidden())
	}
	if !slices.Equal(r.below(r.originals, got), originals) || !slices.Equal(r.below(r.processed, got), results) || !r.exists(got.ID) {
		t.Errorf("left of the retry: %v and %v", r.below(r.originals, got), r.below(r.processed, got))
	}
	r.cancel(in, got.ID)
}
