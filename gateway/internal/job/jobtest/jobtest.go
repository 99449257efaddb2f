// Package jobtest is the test suite for the job store on every database. It verifies that the
// databases behave the same for their callers. Features of only one of them (a file, a lock,
// a server) are tested in package sqlstore.
package jobtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Store is the interface that the suite tests: the methods of sqlstore.Store, whose comments
// are the contract.
type Store interface {
	Reserve(ctx context.Context, id string, l job.Lease, k job.Key) error
	Create(ctx context.Context, j *job.Job) error
	Release(ctx context.Context, id string, l job.Lease) error
	Renew(ctx context.Context, owner string, until time.Time) error
	Claim(ctx context.Context, owner string, now, until time.Time, limit int) ([]*job.Job, error)
	Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (*job.Job, bool, error)
	Cancel(ctx context.Context, id string, now time.Time) (*job.Job, bool, error)

	Unsent(ctx context.Context, limit int) ([]job.Unsent, error)
	MarkSent(ctx context.Context, sent []job.Unsent) error
	Resend(ctx context.Context, startedBefore time.Time) (int, error)

	Get(ctx context.Context, id string) (*job.Job, error)
	Keyed(ctx context.Context, k job.Key) (*job.Job, error)
	Changes(ctx context.Context, id string, after int64) (*job.Job, error)
	List(ctx context.Context, q job.Query) (job.Page, error)
	Tally(ctx context.Context, v job.Viewer, most int) (job.Tally, error)
	Owned(ctx context.Context, owner string) (int, error)
	OpenImages(ctx context.Context, owner string) (int, error)
	Count(ctx context.Context) (job.Counts, error)

	Hide(ctx context.Context, endedBefore time.Time, limit int) (int, error)
	Hidden(ctx context.Context, endedBefore, goneBefore time.Time, limit int) ([]*job.Job, error)
	ForgetOriginals(ctx context.Context, id string, at time.Time) error
	Delete(ctx context.Context, id string) error

	AddWebhook(ctx context.Context, w job.Webhook) error
	Webhooks(ctx context.Context, v job.Viewer) ([]job.Webhook, error)
	Webhook(ctx context.Context, id string) (job.Webhook, error)
	RotateSecret(ctx context.Context, id string, secret job.Secret, until time.Time) (job.Webhook, error)
	RemoveWebhook(ctx context.Context, id string, at time.Time) error
	ListWebhooks(ctx context.Context, list []job.Webhook, now time.Time) (int, error)
	AddTest(ctx context.Context, d job.Delivery) error
	Deliveries(ctx context.Context, webhook string, before int64, limit int) ([]job.Delivery, error)
	DueWebhooks(ctx context.Context, now time.Time) ([]job.Webhook, error)
	ClaimDeliveries(ctx context.Context, webhook string, now, until time.Time, limit int) ([]job.Delivery, error)
	RecordAttempt(ctx context.Context, d job.Delivery, a job.Attempt) (bool, error)
	ReturnDelivery(ctx context.Context, d job.Delivery) error
	PendingDeliveries(ctx context.Context, most int) (int, time.Time, error)
	PruneDeliveries(ctx context.Context, now time.Time, most int) (int, error)

	AddDownload(ctx context.Context, d job.Download, now time.Time) error
	Download(ctx context.Context, hash string, now time.Time) (job.Download, error)
	TakeDownload(ctx context.Context, hash string, now time.Time) (job.Download, error)
	DropDownloads(ctx context.Context, now time.Time) error

	ID() string
	Ready(ctx context.Context) error
}

// Run runs the suite. open returns an empty store and closes it at the end of the test.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for _, group := range []struct {
		name string
		run  func(*testing.T, func(*testing.T) Store)
	}{
		{"create", testCreate},
		{"leases", testLeases},
		{"keys", testKeys},
		{"owners", testOwners},
		{"origin", testOrigin},
		{"headers", testHeaders},
		{"custom", testCustom},
		{"captions", testCaptions},
		{"change", testChange},
		{"cancel", testCancel},
		{"concurrency", testConcurrency},
		{"outbox", testOutbox},
		{"reads", testReads},
		{"list", testList},
		{"filters", testFilters},
		{"retention", testRetention},
		{"webhooks", testWebhooks},
		{"deliveries", testDeliveries},
		{"downloads", testDownloads},
		{"model", testModel},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			group.run(t, open)
		})
	}
}

// t0 is the creation time of the suite's jobs. It has microseconds, the precision of a
// store.
var t0 = time.Date(2026, time.January, 2, 3, 4, 5, 678901000, time.UTC)

// at returns a time some seconds after t0.
func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

// newID returns a random UUID, like the gateway's IDs.
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // It never fails.
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// original returns a stored original of the image.
func original(id string, index int) job.Original {
	return job.Original{
		Path:        pipeline.OriginalKey(pipeline.NewTraceID(id, index), "näh \"quoted\" '1'.jpg"),
		ContentType: "image/jpeg", Size: 10_485_760, SHA256: fmt.Sprintf("%064x", index),
	}
}

// fetchJob returns a job of n images whose URLs must be fetched.
func fetchJob(n int, created time.Time) *job.Job {
	images := make([]job.Image, n)
	for i := range images {
		images[i] = job.Image{
			OriginalFilename: fmt.Sprintf("写真 %d.jpg", i), KeyName: fmt.Sprintf("%d.jpg", i),
			URL:      fmt.Sprintf("https://example.com/%d.jpg?a='b'&c=%%20", i),
			Headers:  job.NewHeaders(map[string]string{"Authorization": fmt.Sprintf("Bearer '%d'", i)}),
			CustomID: fmt.Sprintf("ordner/写真 %d\n.jpg", i),
		}
	}
	j := job.New(newID(), images, created)
	j.Metadata, j.Warnings = map[string]string{"album": "\"été\" '\\'", "": ""}, []string{"a", "metadata[\"b\"] ignored"}
	return j
}

// inlineJob returns a job of n images whose originals are stored.
func inlineJob(n int, created time.Time) *job.Job {
	id := newID()
	images := make([]job.Image, n)
	for i := range images {
		images[i] = job.Image{OriginalFilename: "a.jpg", KeyName: "a.jpg", Original: original(id, i)}
	}
	return job.New(id, images, created)
}

// leased sets the lease of the job.
func leased(j *job.Job, l job.Lease) *job.Job {
	j.Lease = l
	return j
}

func completed(ref job.Ref) pipeline.Result {
	e := pipeline.NewEnvelope(ref.JobID, ref.Index, t0)
	r := pipeline.Ended(e, pipeline.ProcessedKey(e.TraceID, "a.jpg"), t0)
	r.Appearance = pipeline.Appearance{PHash: "fedcba9876543210", Width: 12000 + ref.Index, Height: 8000}
	return r
}

// uncaptioned is the result of an image that should have a caption and has none.
func uncaptioned(ref job.Ref) pipeline.Result {
	r := completed(ref)
	r.Uncaptioned = true
	return r
}

func failed(ref job.Ref) pipeline.Result {
	f := &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Image is damaged", Retryable: true}
	return f.Result(pipeline.NewEnvelope(ref.JobID, ref.Index, t0), t0)
}

// create stores the job; an error ends the test.
func create(t *testing.T, s Store, j *job.Job) *job.Job {
	t.Helper()
	ok(t, s.Create(t.Context(), j))
	return j
}

// get reads the job; an error ends the test.
func get(t *testing.T, s Store, id string) *job.Job {
	t.Helper()
	j, err := s.Get(t.Context(), id)
	ok(t, err)
	return j
}

// change applies the transition; an error or no change ends the test.
func change(t *testing.T, s Store, ref job.Ref, tr job.Transition, now time.Time) *job.Job {
	t.Helper()
	j, changed, err := s.Change(t.Context(), ref, tr, now)
	ok(t, err)
	if !changed {
		t.Fatalf("the transition of image %d changed nothing", ref.Index)
	}
	return j
}

// settleAll ends all images of the job.
func settleAll(t *testing.T, s Store, j *job.Job, now time.Time) {
	t.Helper()
	for i := range j.Total {
		ref := job.Ref{JobID: j.ID, Index: i}
		change(t, s, ref, job.Settle(completed(ref), now), now)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// gives returns a function that checks the results of a call.
func gives[T any](t *testing.T, what string, want T) func(T, error) {
	t.Helper()
	return func(got T, err error) {
		t.Helper()
		ok(t, err)
		same(t, what, got, want)
	}
}

// givesIDs returns a function that checks which jobs a call returns.
func givesIDs(t *testing.T, what string, want []string) func([]*job.Job, error) {
	t.Helper()
	return func(got []*job.Job, err error) {
		t.Helper()
		ok(t, err)
		same(t, what, ids(got), want)
	}
}

// ids returns the IDs of the jobs, in order.
func ids(jobs []*job.Job) []string {
	all := []string{}
	for _, j := range jobs {
		all = append(all, j.ID)
	}
	return all
}

// list returns up to limit jobs of a page of the viewer's list; an error ends the test.
func list(t *testing.T, s Store, v job.Viewer, after job.Cursor, limit int) []*job.Job {
	t.Helper()
	page, err := s.List(t.Context(), job.Query{Viewer: v, After: after, Limit: limit})
	ok(t, err)
	return page.Jobs
}

// addUp checks the invariants of a job with all its images.
func addUp(j *job.Job) error {
	var completed, failed int
	for i := range j.Images {
		switch img := &j.Images[i]; {
		case img.Status == job.Completed:
			completed++
		case img.Status == job.Failed:
			failed++
		case img.Revision > j.Revision:
			return fmt.Errorf("image %d has revision %d, its job %d", i, img.Revision, j.Revision)
		}
	}
	switch {
	case len(j.Images) != j.Total:
		return fmt.Errorf("job %s has %d images, want %d", j.ID, len(j.Images), j.Total)
	case completed != j.Completed || failed != j.Failed:
		return fmt.Errorf("job %s counts %d completed and %d failed, its images %d and %d",
			j.ID, j.Completed, j.Failed, completed, failed)
	case j.Status.Ended() != (completed+failed == j.Total):
		return fmt.Errorf("job %s is %s with %d of %d images ended", j.ID, j.Status, completed+failed, j.Total)
	case j.Status.Ended() == j.CompletedAt.IsZero():
		return fmt.Errorf("job %s is %s and completed at %v", j.ID, j.Status, j.CompletedAt)
	}
	return nil
}
