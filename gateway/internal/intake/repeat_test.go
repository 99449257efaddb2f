package intake

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func (r *rig) retry(in *Intake, id string) (*job.Job, error) {
	r.t.Helper()
	b := in.Begin()
	defer b.Abort(r.t.Context())
	source := r.get(id)
	var failed []int
	for i := range source.Images {
		if source.Images[i].Status == job.Failed {
			failed = append(failed, i)
		}
	}
	if err := b.Repeat(r.t.Context(), source, failed); err != nil {
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
		r.remove(r.originals, source.Images[i].Original.Path)
	}
	if err := r.originals.Put(t.Context(), source.Images[5].Original.Path, objectstore.Content{Data: jpegBytes(3), Type: "image/jpeg"}); err != nil {
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
	if err := in.Expire(t.Context(), r.now().Add(in.config.JobRetention+time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := in.Begin()
	if err := b.Repeat(t.Context(), source, []int{0, 1}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("Repeat = %v, want job.ErrNotFound", err)
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
		t.Errorf("Repeat = %v, want objectstore.ErrUnavailable", err)
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
		if err := in.Expire(t.Context(), visit); err != nil {
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

// TestReprocessOfLostOriginals verifies that an image without its original is copied from the
// processed file, if that has the SHA-256 of its record, then fetched again, then left out.
func TestReprocessOfLostOriginals(t *testing.T) {
	base, _ := origin(t)
	r := setup(t)
	in, _ := r.run("gateway-1")
	j := r.batch(in,
		Source{Data: jpegBytes(0), Name: "kept"}, Source{Data: jpegBytes(1), Name: "processed", CustomID: "p"}, Source{URL: base + "/fetched.jpg"},
		Source{Data: jpegBytes(2), Name: "changed"}, Source{Data: jpegBytes(3), Name: "no record"}, Source{Data: jpegBytes(4), Name: "no file"},
		Source{Data: jpegBytes(5), Name: "too large"}, Source{Data: []byte("?"), Name: "rejected"},
	)
	r.awaitUploads(7)
	processed := func(index int) []byte { return jpegBytes(100 + index) }
	for i := range 7 {
		r.complete(in, j, i)
		img := r.get(j.ID).Images[i]
		size := int64(len(processed(i)))
		if i == 6 {
			size = in.config.MaxImageBytes + 1
		}
		record := fmt.Sprintf(`{"processed":{"file_size":%d,"sha256":"%x"}}`, size, sha256.Sum256(processed(i)))
		file := processed(i)
		if i == 2 || i == 3 {
			file = jpegBytes(50)
		}
		for key, data := range map[string][]byte{img.ProcessedPath: file, pipeline.RecordKey(img.ProcessedPath): []byte(record)} {
			if err := r.processed.Put(t.Context(), key, objectstore.Content{Data: data, Type: "image/jpeg"}); err != nil {
				t.Fatal(err)
			}
		}
		if i > 0 {
			r.remove(r.originals, img.Original.Path)
		}
	}
	source := r.get(j.ID)
	r.remove(r.processed, pipeline.RecordKey(source.Images[4].ProcessedPath))
	r.remove(r.processed, source.Images[5].ProcessedPath)

	b := in.Begin()
	defer b.Abort(t.Context())
	if err := b.Repeat(t.Context(), source, []int{1, 0, 2, 3, 4, 5, 6, 7}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range got.Images {
		names = append(names, got.Images[i].OriginalFilename)
	}
	if want := []string{"processed", "kept", "fetched.jpg", "too large"}; !slices.Equal(names, want) || got.RetryOf != j.ID {
		t.Fatalf("images %q of %s, want %q", names, got.RetryOf, want)
	}
	if large := got.Images[3]; large.Status != job.Failed || large.ErrorCode != pipeline.CodeTooLarge {
		t.Errorf("the image whose file is too large now: %+v", large)
	}
	got = r.awaitFetched(got.ID)
	for i, want := range [][]byte{processed(1), jpegBytes(0)} {
		img := got.Images[i]
		data, err := objectstore.ReadAll(t.Context(), r.originals, img.Original.Path, 1<<20)
		if err != nil || !bytes.Equal(data, want) || img.Original.SHA256 != fmt.Sprintf("%x", sha256.Sum256(want)) {
			t.Errorf("%s has other bytes, or %v", img.OriginalFilename, err)
		}
	}
	if !got.Images[2].Original.Stored() || got.Images[0].CustomID != "p" {
		t.Errorf("after the fetch: %+v", got.Images)
	}
	b = in.Begin()
	defer b.Abort(t.Context())
	if err := b.Repeat(t.Context(), source, []int{3, 4, 5, 7}); !errors.Is(err, ErrNothingToRepeat) {
		t.Errorf("Repeat of what is lost = %v, want ErrNothingToRepeat", err)
	}
	r.cancel(in, got.ID)
}

// TestReprocessMeetsRetention verifies that a request that was accepted just before retention has
// deleted the originals uses the results, which are kept for longer.
func TestReprocessMeetsRetention(t *testing.T) {
	r := setup(t)
	r.config.ResultRetention = 100 * time.Hour
	in := r.intake("gateway-1", r.broker)
	j := r.batch(in, Source{Data: jpegBytes(0)})
	r.complete(in, j, 0)
	source := r.get(j.ID)
	record := fmt.Sprintf(`{"processed":{"file_size":%d,"sha256":"%x"}}`, len(jpegBytes(9)), sha256.Sum256(jpegBytes(9)))
	for key, data := range map[string][]byte{source.Images[0].ProcessedPath: jpegBytes(9), pipeline.RecordKey(source.Images[0].ProcessedPath): []byte(record)} {
		if err := r.processed.Put(t.Context(), key, objectstore.Content{Data: data, Type: "image/jpeg"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Expire(t.Context(), r.now().Add(in.config.JobRetention+time.Minute)); err != nil {
		t.Fatal(err)
	}
	if hidden, err := r.jobs.Hidden(t.Context(), r.now().Add(time.Hour), r.now().Add(1000*time.Hour), 9); err != nil || len(hidden) != 1 || !hidden[0].OriginalsGone {
		t.Fatalf("hidden jobs %v and %v, want the one without originals", hidden, err)
	}
	if r.exists(j.ID) {
		t.Error("the job is still visible")
	}
	b := in.Begin()
	defer b.Abort(t.Context())
	if err := b.Repeat(t.Context(), source, []int{0}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Commit(t.Context())
	if err != nil || got.Total != 1 || got.Images[0].Original.SHA256 != fmt.Sprintf("%x", sha256.Sum256(jpegBytes(9))) {
		t.Errorf("got %+v and %v, want the processed file as an original", got, err)
	}
}

// remove deletes an object.
func (r *rig) remove(s objectstore.Store, key string) {
	r.t.Helper()
	if err := s.Delete(r.t.Context(), key); err != nil {
		r.t.Fatal(err)
	}
}
