package intake

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func (r *rig) cancel(in *Intake, id string) *job.Job {
	r.t.Helper()
	j, changed, err := in.Cancel(r.t.Context(), id)
	if err != nil || !changed {
		r.t.Fatalf("Cancel = %t, %v", changed, err)
	}
	return j
}

// TestCancelGivesUpDownloads has a server that never answers let go of at once,
// and nothing further asked of it.
func TestCancelGivesUpDownloads(t *testing.T) {
	base, hanging := origin(t)
	r := setup(t)
	r.config.Fetchers = 4
	in, _ := r.run("gateway-1")
	// Both are under way, so that no fetch to come can find out.
	j := r.batch(in, Source{URL: base + "/hang"}, Source{URL: base + "/hang"})
	brokertest.Await(r.t, "downloads", func() bool { return hanging.Load() == 2 })
	began := time.Now()
	got := r.cancel(in, j.ID)
	brokertest.Await(r.t, "empty schedule", in.schedule.empty)
	brokertest.Await(r.t, "end of the downloads", func() bool { return hanging.Load() == 0 })
	if took := time.Since(began); took > 8*time.Second { // of the 10 s that a server has
		t.Errorf("the downloads went on for %v, want at most %v", took, 8*time.Second)
	}
	if got.Status != job.Cancelled || got.Failed != 2 {
		t.Errorf("job is %s with %d failed, want %v and 2", got.Status, got.Failed, job.Cancelled)
	}
	if now := r.get(j.ID); now.Revision != got.Revision {
		t.Errorf("revision went on from %d to %d", got.Revision, now.Revision)
	}
	if !slices.Contains(r.told(), pipeline.ChangeNotification{JobID: j.ID, Revision: got.Revision}) {
		t.Error("nobody was told")
	}
	// All places are free again.
	r.awaitFetched(r.batch(in, urls(base, 8)...).ID)
	r.awaitUploads(8)
}

func (r *rig) told() []pipeline.ChangeNotification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.hints)
}

// TestCancelElsewhere has a gateway that fetches a job find out by itself that
// another one has cancelled it.
func TestCancelElsewhere(t *testing.T) {
	base, hanging := origin(t)
	r := setup(t)
	r.config.Fetchers = 1
	in, _ := r.run("gateway-1")
	other := r.intake("gateway-2", r.broker)
	var sources []Source
	for range 20 {
		sources = append(sources, Source{URL: base + "/hang"})
	}
	j := r.batch(in, sources...)
	brokertest.Await(r.t, "download", func() bool { return hanging.Load() >= 1 })
	began := time.Now()
	r.cancel(other, j.ID)
	brokertest.Await(r.t, "empty schedule", in.schedule.empty)
	brokertest.Await(r.t, "end of the downloads", func() bool { return hanging.Load() == 0 })
	if took := time.Since(began); took > 8*time.Second { // of the 10 s that a server has
		t.Errorf("the downloads went on for %v, want at most %v", took, 8*time.Second)
	}
}

func TestCancelledImagesAreNotSent(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker) // It does not run yet, as when the broker is away.
	cancelled := r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)})
	r.cancel(in, cancelled.ID)
	other := r.batch(in, Source{Data: jpegBytes(2)})
	r.start(in)
	if uploads := r.awaitUploads(1); uploads[0].JobID != other.ID {
		t.Errorf("sent %+v, want %v", uploads, other.ID)
	}
	brokertest.Await(r.t, "sent outbox", func() bool { return r.unsent() == 0 })
	if n := r.broker.Len(pipeline.ImageUpload.Name); n != 0 {
		t.Errorf("%d more uploads were sent, want 0", n)
	}
}

// TestNothingIsLeftOfACancelledJob has a result come too late, and retention
// delete its objects with everything else of the job.
func TestNothingIsLeftOfACancelledJob(t *testing.T) {
	base, hanging := origin(t)
	r := setup(t)
	in, stop := r.run("gateway-1")
	j := r.batch(in, Source{Data: jpegBytes(0)}, Source{URL: base + "/a.jpg"}, Source{URL: base + "/hang"})
	brokertest.Await(r.t, "download", func() bool { return hanging.Load() == 1 })
	r.awaitUploads(2)
	r.cancel(in, j.ID)
	brokertest.Await(r.t, "end of the download", func() bool { return hanging.Load() == 0 })
	stop()
	r.complete(in, j, 0)
	r.complete(in, j, 1)
	if now := r.get(j.ID); now.Completed != 0 || now.Status != job.Cancelled {
		t.Errorf("late results changed the job: %+v, want it cancelled with 0 completed", now)
	}
	if n := len(r.keys(r.processed)); n != 8 {
		t.Errorf("%d processed objects before retention, want 8", n)
	}
	if err := in.retainOnce(t.Context(), r.now().Add(in.config.JobRetention+time.Minute)); err != nil {
		t.Fatal(err)
	}
	if left := append(r.keys(r.originals), r.keys(r.processed)...); len(left) != 0 || r.exists(j.ID) {
		t.Errorf("left: %v, job %t", left, r.exists(j.ID))
	}
}

func TestCancelWhatIsNotThere(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	if _, _, err := in.Cancel(t.Context(), uuid.NewString()); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("Cancel = %v, want job.ErrNotFound", err)
	}
	j := r.batch(in, Source{Data: []byte("x")})
	if _, changed, err := in.Cancel(t.Context(), j.ID); changed || err != nil {
		t.Errorf("Cancel of an ended job = %t, %v", changed, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel() // the client has gone
	open := r.batch(in, Source{Data: jpegBytes(0)})
	if _, changed, err := in.Cancel(gone, open.ID); !changed || err != nil {
		t.Errorf("Cancel for a client that has gone = %t, %v", changed, err)
	}
}
