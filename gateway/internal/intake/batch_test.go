package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestInlineImagesAreStoredAndSent(t *testing.T) {
	r := setup(t)
	in, _ := r.run("gateway-1")
	data := jpegBytes(1)
	j := r.batch(in, Source{Data: data, Name: "../a b.png"}, Source{Data: pngBytes()})
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(j.ID) {
		t.Errorf("job id %q is not a random UUID", j.ID)
	}
	uploads := r.awaitUploads(2)
	brokertest.Await(r.t, "sent outbox", func() bool { return r.unsent() == 0 })
	got := r.get(j.ID)
	if got.Status != job.Processing || got.Total != 2 {
		t.Errorf("job is %s with %d images, want %v and 2", got.Status, got.Total, job.Processing)
	}
	sum := sha256.Sum256(data)
	first := got.Images[0]
	want := job.Original{
		Path: string(first.TraceID) + "/_._a b.jpg", ContentType: "image/jpeg", Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
	}
	if first.Original != want || first.OriginalFilename != "../a b.png" || first.Status != job.Processing {
		t.Errorf("first image is %+v, want ../a b.png as %+v, processing", first, want)
	}
	if second := got.Images[1]; second.OriginalFilename != "image-2" || second.Original.Path != string(second.TraceID)+"/image-2.png" {
		t.Errorf("second image is %+v, want image-2 at %s/image-2.png", second, second.TraceID)
	}
	stored, err := objectstore.ReadAll(t.Context(), r.originals, want.Path, 1<<20)
	if err != nil || !bytes.Equal(stored, data) {
		t.Errorf("stored original: %d bytes, %v, want %d and nil", len(stored), err, len(data))
	}
	i := slices.IndexFunc(uploads, func(u pipeline.Upload) bool { return u.Index == 0 })
	if u := uploads[i]; u.JobID != j.ID || u.TraceID != first.TraceID || u.Attempt != 1 || u.Version != pipeline.Version ||
		u.OriginalPath != want.Path || u.SHA256 != want.SHA256 || u.ContentType != "image/jpeg" || u.OriginalFilename != "../a b.png" {
		t.Errorf("upload is %+v, want the first attempt of job %s, trace %s, %+v", u, j.ID, first.TraceID, want)
	}
}

func TestContentErrorsFailTheImageOnly(t *testing.T) {
	r := setup(t)
	r.config.MaxImageBytes = 1000
	in, _ := r.run("gateway-1")
	j := r.batch(in,
		Source{Failure: InvalidBase64(), Name: "x.jpg"},
		Source{Data: make([]byte, 1001)},
		Source{Data: []byte("GIF89a, honestly")},
		Source{Data: []byte{}},
		Source{Data: jpegBytes(0)[:100]},
		Source{URL: "ftp://example.com/a.jpg"},
		Source{URL: "http://user:secret@example.com/a.jpg"},
		Source{Data: jpegBytes(0)},
	)
	got := r.get(j.ID)
	if got.Failed != 7 || got.Status != job.Processing {
		t.Errorf("job is %s with %d failed, want %v and 7", got.Status, got.Failed, job.Processing)
	}
	for i, code := range []string{
		pipeline.CodeInvalidBase64, pipeline.CodeTooLarge, pipeline.CodeUnsupportedFormat, pipeline.CodeNotAnImage, pipeline.CodeDamaged,
		pipeline.CodeURLNotAllowed, pipeline.CodeURLNotAllowed, "",
	} {
		if img := got.Images[i]; img.ErrorCode != code || (img.Error == "") != (code == "") {
			t.Errorf("image %d: %q (%s), want %s", i, img.Error, img.ErrorCode, code)
		}
	}
	if got.Images[1].Error != "Image exceeds the maximum size of 1000 bytes" {
		t.Errorf("error of the too large image is %q, want \"Image exceeds the maximum size of 1000 bytes\"", got.Images[1].Error)
	}
	if keys := r.keys(r.originals); len(keys) != 1 {
		t.Errorf("stored %v, want only the valid image", keys)
	}
	r.awaitUploads(1)
}

func TestJobOfBadImagesEndsImmediately(t *testing.T) {
	r := setup(t)
	in, _ := r.run("gateway-1")
	j := r.batch(in, Source{Data: []byte("x")}, Source{URL: "file:///etc/passwd"})
	if got := r.get(j.ID); got.Status != job.Failed || got.Progress() != 100 || got.CompletedAt.IsZero() {
		t.Errorf("job is %s with progress %v", got.Status, got.Progress())
	}
	if !slices.Contains(r.notifications, pipeline.ChangeNotification{JobID: j.ID, Revision: 1}) {
		t.Errorf("no change notification for the commit in %v", r.notifications)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	b := in.Begin()
	for i := range 3 {
		if err := b.Add(t.Context(), Source{Data: jpegBytes(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.keys(r.originals)); n != 3 {
		t.Fatalf("%d originals stored before the abort, want 3", n)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel() // the client has disconnected, which is a common reason for an abort
	b.Abort(gone)
	if keys := r.keys(r.originals); len(keys) != 0 {
		t.Errorf("left %v, want none", keys)
	}
	r.wantNoReservation(b.ID())
	if in.batches.Load() != 0 {
		t.Error("the batch still counts as open")
	}
}

// clearAgain lets the pause of doubtful originals pass.
func (r *rig) clearAgain(in *Intake) { in.clearLeftovers(r.t.Context(), r.now().Add(settleTime)) }

// wantNoReservation fails the test when the ID is still reserved, because then it cannot be
// reserved again.
func (r *rig) wantNoReservation(id string) {
	r.t.Helper()
	if _, err := r.jobs.Get(r.t.Context(), id); !errors.Is(err, job.ErrNotFound) {
		r.t.Errorf("Get = %v, want job.ErrNotFound", err)
	}
	l := job.Lease{Owner: "somebody", Epoch: 1, Until: r.now().Add(time.Hour)}
	if err := r.jobs.Store.Reserve(r.t.Context(), id, l, job.Key{}); err != nil {
		r.t.Errorf("the reservation still exists: %v", err)
	}
}

func TestAbortAfterCommitDoesNothing(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	b := in.Begin()
	if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Abort(t.Context())
	if n := len(r.keys(r.originals)); n != 1 || r.get(b.ID()).Total != 1 {
		t.Errorf("the abort deleted the job's original")
	}
}

func TestNoOriginalIsStoredWithoutAReservation(t *testing.T) {
	r := setup(t)
	r.jobs.set(true, "Reserve", func() error { return job.ErrUnavailable })
	b := r.intake("gateway-1", r.broker).Begin()
	if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("Add = %v, want job.ErrUnavailable", err)
	}
	if keys := r.keys(r.originals); len(keys) != 0 {
		t.Errorf("stored %v, want none", keys)
	}
	b.Abort(t.Context())
}

func TestStorageOutageFailsTheRequest(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	b := in.Begin()
	if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
		t.Fatal(err)
	}
	r.originals.fail(func(string, string) error { return objectstore.ErrUnavailable })
	if err := b.Add(t.Context(), Source{Data: jpegBytes(1)}); !errors.Is(err, objectstore.ErrUnavailable) {
		t.Errorf("Add = %v, want objectstore.ErrUnavailable", err)
	}
	b.Abort(t.Context())
	if in.leftovers.empty() {
		t.Fatal("the objects that could not be deleted are forgotten")
	}
	r.originals.fail(nil)
	in.clearLeftovers(t.Context(), r.now())
	if keys := r.keys(r.originals); len(keys) != 0 || in.leftovers.empty() {
		t.Errorf("left %v, want the reservation only", keys)
	}
	// The store that failed was only late.
	late := objectstore.Content{Data: jpegBytes(1)}
	if err := r.originals.Put(t.Context(), b.keys[1], late); err != nil {
		t.Fatal(err)
	}
	in.clearLeftovers(t.Context(), r.now())
	r.clearAgain(in)
	if keys := r.keys(r.originals); len(keys) != 0 || !in.leftovers.empty() {
		t.Errorf("left %v after the pause", keys)
	}
	r.wantNoReservation(b.ID())
}

func TestCommitWithUnknownOutcome(t *testing.T) {
	for _, done := range []bool{true, false} {
		t.Run(fmt.Sprintf("done %v", done), func(t *testing.T) {
			r := setup(t)
			in := r.intake("gateway-1", r.broker)
			b := in.Begin()
			if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
				t.Fatal(err)
			}
			r.jobs.set(!done, "Create", func() error { return job.ErrUnavailable })
			if _, err := b.Commit(t.Context()); !errors.Is(err, job.ErrUnavailable) {
				t.Errorf("Commit = %v, want job.ErrUnavailable", err)
			}
			b.Abort(t.Context())
			if !done {
				if keys := r.keys(r.originals); len(keys) != 0 {
					t.Errorf("left %v, want none", keys)
				}
				r.wantNoReservation(b.ID())
				return
			}
			if got := r.get(b.ID()); got.Total != 1 || len(r.keys(r.originals)) != 1 {
				t.Errorf("the job that was created after all has lost its original")
			}
			r.start(in)
			r.awaitUploads(1)
		})
	}
}

func TestBatchSizeLimit(t *testing.T) {
	r := setup(t)
	r.config.MaxBatchImages = 2
	b := r.intake("gateway-1", r.broker).Begin()
	for i := range 3 {
		if err := b.Add(t.Context(), Source{URL: "http://example.com/"}); (err != nil) != (i == 2) {
			t.Errorf("Add %d = %v, want an error: %v", i, err, i == 2)
		}
	}
}

func TestFullCountsLaterCommits(t *testing.T) {
	r := setup(t)
	r.config.MaxOpenImages = 3
	in := r.intake("gateway-1", r.broker)
	for i := range 3 {
		if err := in.Full(t.Context()); err != nil {
			t.Errorf("Full with %d open = %v", i, err)
		}
		r.batch(in, Source{Data: jpegBytes(i)}, Source{Data: []byte("not an image, so not open")})
	}
	if err := in.Full(t.Context()); !errors.Is(err, ErrFull) {
		t.Errorf("Full with 3 open = %v, want ErrFull", err)
	}
	in.admission.until = time.Time{} // expire the count
	if err := in.Full(t.Context()); !errors.Is(err, ErrFull) {
		t.Errorf("Full with 3 counted = %v, want ErrFull", err)
	}
	if in.admission.since != 0 {
		t.Errorf("%d images are counted twice, want 0", in.admission.since)
	}
}
