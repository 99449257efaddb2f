package job_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

const id = "550e8400-e29b-41d4-a716-446655440000"

var (
	t0    = time.Date(2025, time.November, 18, 10, 30, 0, 0, time.UTC)
	lease = job.Lease{Owner: "gateway-1", Epoch: 1}
)

// event is an event for one image of a job, or, with index -1, the cancellation of the whole
// job.
type event struct {
	index int
	name  string
	job.Transition
	now time.Time
}

// apply applies the event to the job.
func (e event) apply(j *job.Job) (changed bool, err error) {
	if e.index < 0 {
		return j.Cancel(e.now), nil
	}
	return j.Apply(&j.Images[e.index], e.Transition, e.now)
}

// drawJob draws a job with images in every state that a request can create.
func drawJob(t *rapid.T) *job.Job {
	images := make([]job.Image, rapid.IntRange(1, 8).Draw(t, "images"))
	for i := range images {
		switch rapid.SampledFrom([]string{"url", "stored", "refused"}).Draw(t, "kind") {
		case "url":
			images[i].URL = "https://example.com/a.jpg"
		case "stored":
			images[i].Original = job.Original{Path: "a"}
		case "refused":
			images[i].Status, images[i].Error, images[i].ErrorCode = job.Failed, "It is no image", pipeline.CodeNotAnImage
		}
	}
	j := job.New(id, images, t0)
	j.Lease = lease
	return j
}

// drawEvents draws events as they arrive from a broker that repeats and reorders, a gateway
// that was paused and a clock that jumps.
func drawEvents(t *rapid.T, images int) []event {
	stale := job.Lease{Owner: lease.Owner, Epoch: lease.Epoch - 1}
	failure := &pipeline.Failure{Code: pipeline.CodeDownloadFailed, Text: "Failed to download image: status code 404"}
	one := rapid.Custom(func(t *rapid.T) event {
		index := rapid.IntRange(0, images-1).Draw(t, "index")
		now := t0.Add(time.Duration(rapid.IntRange(-3600, 3600).Draw(t, "now")) * time.Second)
		if rapid.IntRange(0, 19).Draw(t, "cancel") == 0 {
			return event{index: -1, name: "cancel", now: now}
		}
		e := pipeline.NewEnvelope(id, index, now)
		l := rapid.SampledFrom([]job.Lease{lease, lease, stale}).Draw(t, "lease")
		name := rapid.SampledFrom([]string{"start", "fetched", "fetch failed", "completed", "failed"}).Draw(t, "event")
		tr := map[string]job.Transition{
			"start":        job.Start(l, now),
			"fetched":      job.Fetched(l, job.Original{Path: "a"}),
			"fetch failed": job.FetchFailed(l, failure, now),
			"completed":    job.Settle(pipeline.Ended(e, "p", now), now),
			"failed":       job.Settle(failure.Result(e, now), now),
		}[name]
		return event{index: index, name: name, Transition: tr, now: now}
	})
	events := rapid.SliceOfN(one, 0, 40).Draw(t, "events")
	// Every event is repeated, in another order.
	return append(events, rapid.Permutation(events).Draw(t, "repeated")...)
}

// snapshot returns a copy of the job.
func snapshot(j *job.Job) job.Job {
	c := *j
	c.Images = slices.Clone(j.Images)
	return c
}

var rank = map[job.Status]int{job.Pending: 0, job.Processing: 1, job.Completed: 2, job.Failed: 2, job.Cancelled: 2}

// TestAnyOrder verifies that every promise of the package holds for any events in any
// order.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawJob(t)
		adds(t, j)
		for _, e := range drawEvents(t, j.Total) {
			before := snapshot(j)
			changed, err := e.apply(j)
			if err != nil {
				if !errors.Is(err, job.ErrLeaseLost) {
					t.Fatal(err)
				}
				*j = before // A store would discard the change.
				continue
			}
			adds(t, j)
			rises(t, &before, j, e, changed)
		}
	})
}

// adds checks the invariants of a job.
func adds(t *rapid.T, j *job.Job) {
	var completed, failed int
	for i := range j.Images {
		img := &j.Images[i]
		switch img.Status {
		case job.Completed:
			completed++
		case job.Failed:
			failed++
		}
		if img.Status.Ended() == img.EndTime.IsZero() || (img.Status == job.Pending) != img.StartTime.IsZero() {
			t.Fatalf("image is %s from %v to %v", img.Status, img.StartTime, img.EndTime)
		}
		if img.Status.Ended() && img.EndTime.Before(img.StartTime) {
			t.Fatalf("image took %v", img.EndTime.Sub(img.StartTime))
		}
		if img.Unsent && (img.Status.Ended() || !img.Original.Stored()) {
			t.Fatalf("unsent image: %+v", img)
		}
		if img.Revision < 1 || img.Revision > j.Revision {
			t.Fatalf("image has revision %d, its job %d", img.Revision, j.Revision)
		}
		if img.TraceID != pipeline.NewTraceID(j.ID, i) {
			t.Fatalf("trace id %s", img.TraceID)
		}
	}
	if j.Completed != completed || j.Failed != failed {
		t.Fatalf("job counts %d and %d, its images are %d and %d", j.Completed, j.Failed, completed, failed)
	}
	want := job.Processing
	switch {
	case completed+failed == j.Total && j.Status == job.Cancelled:
		want = job.Cancelled
		if !slices.ContainsFunc(j.Images, func(img job.Image) bool { return img.ErrorCode == pipeline.CodeCancelled }) {
			t.Fatal("job was cancelled when no image was open")
		}
	case completed+failed == j.Total && completed > 0:
		want = job.Completed
	case completed+failed == j.Total:
		want = job.Failed
	case !slices.ContainsFunc(j.Images, func(img job.Image) bool { return img.Status != job.Pending }):
		want = job.Pending
	}
	if j.Status != want {
		t.Fatalf("job is %s with %d completed and %d failed of %d, want %s", j.Status, completed, failed, j.Total, want)
	}
	if j.Status.Ended() == j.CompletedAt.IsZero() || j.Status.Ended() && j.CompletedAt.Before(j.CreatedAt) {
		t.Fatalf("job is %s, from %v to %v", j.Status, j.CreatedAt, j.CompletedAt)
	}
	if p := j.Progress(); (p == 100) != j.Status.Ended() || p < 0 || p > 100 {
		t.Fatalf("progress of a job that is %s: %v", j.Status, p)
	}
}

// rises verifies that a step moved forward only the image that it was for (a cancel: every
// open image), or nothing.
func rises(t *rapid.T, before, after *job.Job, e event, changed bool) {
	if rank[after.Status] < rank[before.Status] || before.Status.Ended() && after.Status != before.Status {
		t.Fatalf("%s changed the job from %s to %s", e.name, before.Status, after.Status)
	}
	if after.Completed < before.Completed || after.Failed < before.Failed || after.Progress() < before.Progress() ||
		after.UpdatedAt.Before(before.UpdatedAt) {
		t.Fatalf("%s moved the job back from %+v to %+v", e.name, before, after)
	}
	want := before.Revision
	if changed {
		want++
	}
	if after.Revision != want {
		t.Fatalf("%s changed revision %d to %d, changed %t", e.name, before.Revision, after.Revision, changed)
	}
	if e.index < 0 && changed != (before.Status != after.Status && after.Status == job.Cancelled) {
		t.Fatalf("cancel changed the job from %s to %s, changed %t", before.Status, after.Status, changed)
	}
	for i := range after.Images {
		was, is := before.Images[i], after.Images[i]
		switch {
		case i != e.index && (e.index >= 0 || was.Status.Ended()) || !changed:
			if was != is {
				t.Fatalf("%s of image %d changed image %d", e.name, e.index, i)
			}
		case is.Revision != after.Revision:
			t.Fatalf("the changed image has revision %d, its job %d", is.Revision, after.Revision)
		case was.Status.Ended():
			t.Fatalf("%s changed an image that had ended", e.name)
		case rank[is.Status] < rank[was.Status]:
			t.Fatalf("%s changed the image from %s to %s", e.name, was.Status, is.Status)
		case is.Send < was.Send || is.Unsent && !was.Unsent && is.Send == was.Send:
			t.Fatalf("%s marked the image unsent without a new Send", e.name)
		}
	}
}

// TestFirstFinalStatusWins verifies that the first final status of every image stays, however often
// and in whatever order later events arrive.
func TestFirstFinalStatusWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawJob(t)
		events := drawEvents(t, j.Total)
		apply := func(events []event) {
			for _, e := range events {
				before := snapshot(j)
				if _, err := e.apply(j); err != nil {
					*j = before
				}
			}
		}
		apply(events)
		for i := range j.Images {
			now := t0.Add(time.Hour)
			apply([]event{{index: i, now: now, Transition: job.Settle(pipeline.Ended(pipeline.NewEnvelope(id, i, now), "p", now), now)}})
		}
		ended := snapshot(j)
		apply(rapid.Permutation(events).Draw(t, "late"))
		if j.Revision != ended.Revision || !slices.Equal(j.Images, ended.Images) || j.Status != ended.Status {
			t.Fatalf("late events changed the job\nfrom %+v\n  to %+v", ended, j)
		}
	})
}

func TestLease(t *testing.T) {
	other := job.Lease{Owner: "gateway-2", Epoch: lease.Epoch}
	failure := &pipeline.Failure{Code: pipeline.CodeDownloadFailed}
	for _, l := range []job.Lease{{}, other, {Owner: lease.Owner, Epoch: lease.Epoch + 1}} {
		j := job.New(id, []job.Image{{URL: "https://example.com/a.jpg"}}, t0)
		j.Lease = lease
		for _, tr := range []job.Transition{
			job.Start(l, t0), job.Fetched(l, job.Original{Path: "a"}), job.FetchFailed(l, failure, t0),
		} {
			before := snapshot(j)
			if changed, err := j.Apply(&j.Images[0], tr, t0); changed || !errors.Is(err, job.ErrLeaseLost) {
				t.Errorf("lease %+v: changed %t, error %v", l, changed, err)
			}
			if j.Images[0] != before.Images[0] || j.Revision != before.Revision {
				t.Errorf("lease %+v changed the job", l)
			}
		}
	}
}

func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		completed, failed, total int
		want                     float64
	}{
		{0, 0, 3, 0},
		{1, 0, 2, 50},
		{1, 0, 3, 33.33},
		{1, 1, 3, 66.67},
		{0, 7, 7, 100},
	} {
		j := job.Job{Completed: tt.completed, Failed: tt.failed, Total: tt.total}
		if got := j.Progress(); got != tt.want {
			t.Errorf("%d completed and %d failed of %d: %v, want %v", tt.completed, tt.failed, tt.total, got, tt.want)
		}
	}
}

func TestUpload(t *testing.T) {
	j := job.New(id, []job.Image{{}, {
		OriginalFilename: "Foto 1.jpg",
		Original:         job.Original{Path: "k/Foto 1.jpg", ContentType: "image/jpeg", Size: 7, SHA256: "ab"},
	}}, t0)
	got := j.Images[1].Upload(j.ID, t0)
	want := pipeline.Upload{
		Envelope:         pipeline.NewEnvelope(id, 1, t0),
		OriginalFilename: "Foto 1.jpg", OriginalPath: "k/Foto 1.jpg",
		Size: 7, ContentType: "image/jpeg", SHA256: "ab",
	}
	if got != want {
		t.Errorf("upload is %+v, want %+v", got, want)
	}
}
