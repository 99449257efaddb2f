package intake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// origin is an image server: /N.jpg returns an image, /hang never responds.
func origin(t testing.TB) (url string, hanging *atomic.Int64) {
	t.Helper()
	hanging = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/hang"):
			hanging.Add(1)
			defer hanging.Add(-1)
			<-r.Context().Done()
		case strings.HasSuffix(r.URL.Path, ".jpg"):
			w.Write(jpegBytes(len(r.URL.Path)))
		case r.URL.Path == "/png":
			w.Write(pngBytes())
		case r.URL.Path == "/text":
			w.Write([]byte("hello"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, hanging
}

func urls(base string, n int) []Source {
	list := make([]Source, n)
	for i := range list {
		list[i].URL = fmt.Sprintf("%s/%d.jpg", base, i)
	}
	return list
}

func TestURLImagesAreFetchedAndSent(t *testing.T) {
	base, _ := origin(t)
	r := setup(t)
	in, _ := r.run("gateway-1")
	j := r.batch(in,
		Source{URL: base + "/photo1.jpg"},
		Source{URL: base + "/png", Name: "drawing.jpg"},
		Source{URL: base + "/none"},
		Source{URL: base + "/text"},
		Source{URL: "http://127.0.0.2/a.jpg"},
	)
	if j.Status != job.Pending || j.Images[0].Status != job.Pending {
		t.Errorf("fresh job is %s, its image %s, want %v and %v", j.Status, j.Images[0].Status, job.Pending, job.Pending)
	}
	got := r.awaitFetched(j.ID)
	uploads := r.awaitUploads(2)
	for i, want := range []struct{ name, key, code, text string }{
		{"photo1.jpg", "photo1.jpg", "", ""},
		{"drawing.jpg", "drawing.png", "", ""},
		{"none", "", pipeline.CodeDownloadFailed, "Failed to download image: status code 404"},
		{"text", "", pipeline.CodeNotAnImage, ""},
		{"a.jpg", "", pipeline.CodeDownloadFailed, "Failed to download image: connection failed"},
	} {
		img := got.Images[i]
		key := ""
		if want.key != "" {
			key = string(img.TraceID) + "/" + want.key
		}
		if img.OriginalFilename != want.name || img.Original.Path != key || img.ErrorCode != want.code || want.text != "" && img.Error != want.text {
			t.Errorf("image %d is %+v", i, img)
		}
		if img.StartTime.IsZero() || img.EndTime.IsZero() != (want.code == "") {
			t.Errorf("image %d started %v and ended %v", i, img.StartTime, img.EndTime)
		}
		if key != "" && !slices.ContainsFunc(uploads, func(u pipeline.Upload) bool { return u.OriginalPath == key && u.Size == img.Original.Size }) {
			t.Errorf("no upload for %s in %+v", key, uploads)
		}
	}
	if got.Failed != 3 {
		t.Errorf("%d failed, want 3", got.Failed)
	}
	if keys := r.keys(r.originals); len(keys) != 2 {
		t.Errorf("stored %v, want 2", keys)
	}
	brokertest.Await(r.t, "empty schedule", in.schedule.empty)
	// Every commit was announced: the creation, five starts, five ends of fetches.
	brokertest.Await(r.t, "change notification of the last revision", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		revisions := map[int64]bool{}
		for _, h := range r.notifications {
			revisions[h.Revision] = true
		}
		return len(revisions) == 11
	})
}

func TestTarPitsLeaveAnotherJobItsSpeed(t *testing.T) {
	p := digPits(t)
	good := p.batch(p.in, urls(p.base, 30)...)
	if got := p.awaitFetched(good.ID); got.Failed != 0 {
		t.Errorf("%d images of the good job failed, want 0", got.Failed)
	}
	if got := p.get(p.bad); got.Failed != 0 || p.hanging.Load() < firstShare {
		t.Errorf("the good job ended after %d tar pits; %d hang, want 0 and at least %d", got.Failed, p.hanging.Load(), firstShare)
	}
}

// BenchmarkBesideTarPits measures jobs of a hundred URLs next to a job of a hundred tar pits on
// the same host and, alternating with them, the same jobs on a gateway without tar pits.
func BenchmarkBesideTarPits(b *testing.B) {
	base, _ := origin(b)
	free := setup(b)
	in := free.intake("gateway-1", free.broker)
	free.start(in)
	p := digPits(b)
	fetch := func(r *rig, in *Intake, base string) time.Duration {
		start := time.Now()
		r.awaitFetched(r.batch(in, urls(base, 100)...).ID)
		return time.Since(start)
	}
	fetch(free, in, base)
	fetch(p.rig, p.in, p.base)
	var alone, beside time.Duration
	for b.Loop() {
		alone += fetch(free, in, base)
		beside += fetch(p.rig, p.in, p.base)
	}
	b.ReportMetric(float64(alone)/float64(beside), "speed-beside/alone")
}

// BenchmarkFastHost measures jobs of a hundred URLs of a host without limits.
func BenchmarkFastHost(b *testing.B) {
	base, _ := origin(b)
	r := setup(b)
	in := r.intake("gateway-1", r.broker)
	r.start(in)
	for b.Loop() {
		r.awaitFetched(r.batch(in, urls(base, 100)...).ID)
	}
}

// pits are an Intake that fetches a job of a hundred URLs that never respond.
type pits struct {
	*rig
	in      *Intake
	base    string // base URL of the origin
	bad     string // the job's ID
	hanging *atomic.Int64
}

// digPits returns once the pits occupy all slots that they can get.
func digPits(t testing.TB) pits {
	base, hanging := origin(t)
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	in.downloads = download.New(download.Config{ // the pits hang for the whole test
		AllowNetworks: r.config.AllowNetworks, HeaderTimeout: time.Hour, Timeout: time.Hour, Budget: time.Hour,
	})
	r.start(in)
	sources := make([]Source, 100)
	for i := range sources {
		sources[i].URL = fmt.Sprintf("%s/hang/%d", base, i)
	}
	bad := r.batch(in, sources...)
	brokertest.Await(r.t, "hanging fetches", func() bool { return hanging.Load() >= firstShare })
	return pits{r, in, base, bad.ID, hanging}
}

func TestOutageFailsNoImage(t *testing.T) {
	base, _ := origin(t)
	r := setup(t)
	in, _ := r.run("gateway-1")
	var refused atomic.Int64
	r.originals.fail(func(method, _ string) error {
		if method == "Put" && refused.Add(1) > 0 {
			return objectstore.ErrUnavailable
		}
		return nil
	})
	j := r.batch(in, urls(base, 10)...)
	brokertest.Await(r.t, "attempts during the outage", func() bool { return refused.Load() > 20 })
	var changes atomic.Int64
	r.jobs.set(true, "Change", func() error {
		changes.Add(1)
		return job.ErrUnavailable
	})
	r.originals.fail(nil)
	brokertest.Await(r.t, "attempts without the job store", func() bool { return changes.Load() > 20 })
	if got := r.get(j.ID); got.Failed != 0 || got.Images[0].Original.Stored() {
		t.Errorf("during the outage the job is %+v", got)
	}
	r.jobs.set(true, "Change", nil)
	if got := r.awaitFetched(j.ID); got.Failed != 0 {
		t.Errorf("%d images failed because of the outage, want 0", got.Failed)
	}
	r.awaitUploads(10)
}

func TestChangeAppliedDespiteAnErrorKeepsTheOriginal(t *testing.T) {
	base, _ := origin(t)
	r := setup(t)
	in, _ := r.run("gateway-1")
	var lied atomic.Int64
	r.jobs.set(false, "Change", func() error {
		if n := lied.Add(1); n == 1 || n == 3 { // the start, and the end of the fetch
			return job.ErrUnavailable
		}
		return nil
	})
	j := r.batch(in, urls(base, 1)...)
	r.awaitUploads(1)
	brokertest.Await(r.t, "empty schedule", in.schedule.empty)
	if got := r.get(j.ID).Images[0]; len(r.keys(r.originals)) != 1 || !got.Original.Stored() {
		t.Errorf("image is %+v, stored %v", got, r.keys(r.originals))
	}
}

func TestFetchOfAnEndedImageLeavesNothing(t *testing.T) {
	base, _ := origin(t)
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	j := r.batch(in, urls(base, 1)...)
	r.originals.fail(func(method, _ string) error {
		if method == "Put" { // the image ends, for example by a cancel, while its original is stored
			f := &pipeline.Failure{Code: pipeline.CodeCancelled, Text: "Cancelled"}
			r.settle(in, j, 0, f.Result(pipeline.NewEnvelope(j.ID, 0, time.Now()), time.Now()))
		}
		return nil
	})
	r.start(in)
	brokertest.Await(r.t, "empty schedule", in.schedule.empty)
	if got := r.get(j.ID); got.Images[0].Error != "Cancelled" || got.Images[0].Original.Stored() {
		t.Errorf("image is %+v", got.Images[0])
	}
	if keys := r.keys(r.originals); len(keys) != 0 {
		t.Errorf("left %v, want none", keys)
	}
}

// TestRefusedDeleteHoldsNoFetch has a storage that deletes nothing: the original of an image
// that ended meanwhile stays, and no fetch waits for its deletion.
func TestRefusedDeleteHoldsNoFetch(t *testing.T) {
	base, _ := origin(t)
	r := setup(t)
	r.config.Fetchers = 1
	in := r.intake("gateway-1", r.broker)
	ended, next := r.batch(in, urls(base, 1)...), r.batch(in, urls(base, 1)...)
	var once sync.Once
	r.originals.fail(func(method, key string) error {
		if method == "Delete" {
			return objectstore.ErrRefused
		}
		if method == "Put" && strings.HasPrefix(key, string(ended.Images[0].TraceID)) {
			once.Do(func() {
				f := &pipeline.Failure{Code: pipeline.CodeCancelled, Text: "Cancelled"}
				r.settle(in, ended, 0, f.Result(pipeline.NewEnvelope(ended.ID, 0, time.Now()), time.Now()))
			})
		}
		return nil
	})
	r.start(in)
	brokertest.Await(r.t, "empty schedule", in.schedule.empty)
	if got := r.awaitFetched(next.ID); !got.Images[0].Original.Stored() {
		t.Errorf("the other image is %+v, want it stored", got.Images[0])
	}
	if keys := r.keys(r.originals); len(keys) != 2 {
		t.Errorf("stored %v, want both originals", keys)
	}
}

func TestPermanentStorageErrorFailsTheImage(t *testing.T) {
	base, _ := origin(t)
	r := setup(t)
	in, _ := r.run("gateway-1")
	r.originals.fail(func(string, string) error { return errors.New("no such bucket") })
	got := r.awaitFetched(r.batch(in, urls(base, 1)...).ID)
	if img := got.Images[0]; img.ErrorCode != pipeline.CodeProcessingFailed || strings.Contains(img.Error, "bucket") {
		t.Errorf("image has error %q (%s)", img.Error, img.ErrorCode)
	}
}

func TestAnotherGatewayTakesOverTheFetches(t *testing.T) {
	base, hanging := origin(t)
	r := setup(t)
	first, stop := r.run("gateway-1")
	j := r.batch(first, append(urls(base, 3), Source{URL: base + "/hang"})...)
	brokertest.Await(r.t, "hanging fetch", func() bool { return hanging.Load() == 1 })
	r.awaitUploads(3)
	stop()
	if got := r.get(j.ID); got.Failed != 0 || got.Images[3].Original.Stored() {
		t.Errorf("stopping the gateway ended the image: %+v", got.Images[3])
	}
	brokertest.Await(r.t, "cancelled fetch", func() bool { return hanging.Load() == 0 })

	// The second gateway runs at a time when the first one's lease has ended.
	r.now = func() time.Time { return time.Now().Add(job.LeaseTime + time.Second) }
	second, _ := r.run("gateway-2")
	brokertest.Await(r.t, "fetch by the second gateway", func() bool { return hanging.Load() == 1 })
	// A change by the first gateway, which was paused and continues, is rejected.
	_, _, err := r.jobs.Change(t.Context(), job.Ref{JobID: j.ID, Index: 3}, job.Fetched(j.Lease, job.Original{Path: "x/y"}), time.Now())
	if !errors.Is(err, job.ErrLeaseLost) {
		t.Errorf("a change under the old lease returned %v, want job.ErrLeaseLost", err)
	}
	if second.schedule.empty() {
		t.Error("the second gateway has nothing scheduled")
	}
}

func TestLostLeaseDropsTheJob(t *testing.T) {
	base, _ := origin(t)
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	j := r.batch(in, urls(base, 50)...)
	later := time.Now().Add(job.LeaseTime + time.Second)
	if _, err := r.jobs.Claim(t.Context(), "gateway-2", later, later.Add(time.Hour), 10); err != nil {
		t.Fatal(err)
	}
	r.start(in)
	brokertest.Await(r.t, "empty schedule", in.schedule.empty)
	for _, img := range r.get(j.ID).Images {
		if img.Status != job.Pending {
			t.Errorf("image %d is %s: changed by the old owner, want %v", img.Index, img.Status, job.Pending)
		}
	}
}

func TestReservationsOfStoppedGatewaysAreDeleted(t *testing.T) {
	r := setup(t)
	const id = "11111111-2222-4333-8444-555555555555"
	ended := time.Now().Add(-time.Second)
	if err := r.jobs.Reserve(t.Context(), id, job.Lease{Owner: "gone", Epoch: 1, Until: ended}, job.Key{}); err != nil {
		t.Fatal(err)
	}
	for _, index := range []int{0, 1, 57, 99} {
		key := pipeline.OriginalKey(pipeline.NewTraceID(id, index), "a.jpg")
		if err := r.originals.Put(t.Context(), key, objectstore.Content{Data: []byte("x"), Type: "image/jpeg"}); err != nil {
			t.Fatal(err)
		}
	}
	kept := pipeline.OriginalKey(pipeline.NewTraceID("another", 0), "a.jpg")
	if err := r.originals.Put(t.Context(), kept, objectstore.Content{Data: []byte("x"), Type: "image/jpeg"}); err != nil {
		t.Fatal(err)
	}
	in := r.intake("gateway-1", r.broker)
	// The first attempt fails halfway and is continued later.
	var deletions atomic.Int64
	r.originals.fail(func(method, _ string) error {
		if method == "Delete" && deletions.Add(1) == 2 {
			return objectstore.ErrUnavailable
		}
		return nil
	})
	if n, err := in.claim(t.Context()); n != 1 || err != nil {
		t.Fatalf("claimed %d, %v, want 1 and nil", n, err)
	}
	in.clearLeftovers(t.Context(), r.now())
	if in.leftovers.empty() {
		t.Fatal("the half-deleted leftover is forgotten")
	}
	if _, err := r.jobs.Get(t.Context(), id); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("Get = %v, want job.ErrNotFound", err)
	}
	in.clearLeftovers(t.Context(), r.now())
	if keys := r.keys(r.originals); !slices.Equal(keys, []string{kept}) {
		t.Errorf("left %v, want %v", keys, []string{kept})
	}
	r.wantNoReservation(id)
}

func TestClockJumpKeepsOpenBatches(t *testing.T) {
	r := setup(t)
	var leap atomic.Int64 // in hours
	r.now = func() time.Time { return time.Now().Add(time.Duration(leap.Load()) * time.Hour) }
	in := r.intake("gateway-1", r.broker)
	b := in.Begin()
	if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
		t.Fatal(err)
	}
	leap.Store(1)
	if n, err := in.claim(t.Context()); n != 0 || err != nil {
		t.Errorf("claimed %d of our own jobs, %v, want 0 and nil", n, err)
	}
	if _, err := b.Commit(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("Commit = %v", err)
	}
}
