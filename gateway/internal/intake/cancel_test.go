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

// TestCancelEndsDownloads verifies that a cancel ends downloads from a server that never
// responds, and that no further requests follow.
func TestCancelEndsDownloads(t *testing.T) {
	base, hanging := origin(t)
	r := setup(t)
	r.config.Fetchers = 4
	in, _ := r.run("gateway-1")
	// Both are in progress, so no later fetch can discover the cancellation.
	j := r.batch(in, Source{URL: base + "/hang"}, Source{URL: base + "/hang"})
	brokertest.Await(r.t, "downloads", func() bool { return hanging.Load() == 2 })
	start := time.Now()
	got := r.cancel(in, j.ID)
	brokertest.Await(r.t, "empty schedule", in.schedule.empty)
	brokertest.Await(r.t, "end of the downloads", func() bool { return hanging.Load() == 0 })
	if took := time.Since(start); took > 8*time.Second { // the limit of a download is 10 s
		t.Errorf("the downloads lasted %v, want at most %v", took, 8*time.Second)
	}
	if got.Status != job.Cancelled || got.Failed != 2 {
		t.Errorf("job is %s with %d failed, want %v and 2", got.Status, got.Failed, job.Cancelled)
	}
	if now := r.get(j.ID); now.Revision != got.Revision {
		t.Errorf("revision changed from %d to %d", got.Revision, now.Revision)
	}
	if !slices.Contains(r.notified(), pipeline.ChangeNotification{JobID: j.ID, Revision: got.Revision}) {
		t.Error("no change notification was sent")
	}
	// All slots are free again.
	r.awaitFetched(r.batch(in, urls(base, 8)...).ID)
	r.awaitUploads(8)
}

func (r *rig) notified() []pipeline.ChangeNotification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.notifications)
}

// TestCancelElsewhere verifies that a gateway that fetches a job notices that another gateway
// has cancelled it.
func TestCancelElsewhere(t *testing.T) {
	base, hanging := origin(t)
	r := setup(t)
	r.config.Fetchers, r.config.DownloadHeaderTimeout = 1, time.Second
	in, _ := r.run("gateway-1")
	other := r.intake("gateway-2", r.broker)
	var sources []Source
	for range 20 {
		sources = append(sources, Source{URL: base + "/hang"})
	}
	j := r.batch(in, sources...)
	brokertest.Await(r.t, "download", func() bool { return hanging.Load() >= 1 })
	start := time.Now()
	r.cancel(other, j.ID)
	brokertest.Await(r.t, "empty schedule", in.schedule.empty)
	brokertest.Await(r.t, "end of the downloads", func() bool { return hanging.Load() == 0 })
	if took := time.Since(start); took > 8*time.Second { // all downloads would take 20 s
		t.Errorf("the downloads lasted %v, want at most %v", took, 8*time.Second)
	}
}

func TestCancelledImagesAreNotSent(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker) // It does not run yet, as if the broker were unavailable.
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

// TestRetentionDeletesACancelledJob stores a result after the cancellation and verifies that
// retention deletes it with all other objects of the job.
func TestRetentionDeletesACancelledJob(t *testing.T) {
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
	if err := in.Expire(t.Context(), r.now().Add(in.config.JobRetention+time.Minute)); err != nil {
		t.Fatal(err)
	}
	if left := append(r.keys(r.originals), r.keys(r.processed)...); len(left) != 0 || r.exists(j.ID) {
		t.Errorf("left: %v, job %t", left, r.exists(j.ID))
	}
}

func TestCancelUnknownJob(t *testing.T) {
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
	cancel() // the client has disconnected
	open := r.batch(in, Source{Data: jpegBytes(0)})
	if _, changed, err := in.Cancel(gone, open.ID); !changed || err != nil {
		t.Errorf("Cancel after the client disconnected = %t, %v", changed, err)
	}
}
