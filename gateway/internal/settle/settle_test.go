package settle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaky is a job store that the test can make unavailable.
type flaky struct {
	*sqlstore.Store
	down    atomic.Bool
	refused atomic.Int64
}

func (f *flaky) Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (*job.Job, bool, error) {
	if f.down.Load() {
		f.refused.Add(1)
		return nil, false, job.ErrUnavailable
	}
	return f.Store.Change(ctx, ref, t, now)
}

func (f *flaky) Ready(ctx context.Context) error {
	if f.down.Load() {
		return job.ErrUnavailable
	}
	return f.Store.Ready(ctx)
}

// rig is a running settler with its dependencies.
type rig struct {
	t       testing.TB
	jobs    *flaky
	broker  *membroker.Broker
	changes chan int64
	settled atomic.Int64
}

func setup(t testing.TB) *rig {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := sqlstore.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "jobs.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, jobs: &flaky{Store: store}, changes: make(chan int64, 10_000),
		broker: membroker.New(pipeline.WorkQueues()...),
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Deps{
			Jobs: r.jobs, Store: "ours", Broker: r.broker, Log: log, Metrics: telemetry.NewRegistry(),
			Changed: func(_ context.Context, _ string, revision int64) { r.changes <- revision },
			Settled: func() { r.settled.Add(1) },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		r.broker.Close()
		store.Close()
	})
	return r
}

// job stores a job of n images whose originals are stored.
func (r *rig) job(id string, n int) *job.Job {
	r.t.Helper()
	images := make([]job.Image, n)
	for i := range images {
		name := fmt.Sprintf("%d.jpg", i)
		images[i] = job.Image{
			OriginalFilename: name, KeyName: name,
			Original: job.Original{Path: pipeline.OriginalKey(pipeline.NewTraceID(id, i), name), ContentType: "image/jpeg", Size: 1, SHA256: "00"},
		}
	}
	j := job.New(id, images, time.Now())
	if err := r.jobs.Create(r.t.Context(), j); err != nil {
		r.t.Fatal(err)
	}
	return j
}

func (r *rig) publish(queue string, m any) {
	r.t.Helper()
	body, ok := m.([]byte)
	if !ok {
		var err error
		if body, err = json.Marshal(m); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.broker.Publish(r.t.Context(), queue, broker.Message{Body: body}); err != nil {
		r.t.Fatal(err)
	}
}

// awaitEmpty waits until all messages published so far are acked.
func (r *rig) awaitEmpty(queues ...string) {
	r.t.Helper()
	brokertest.Await(r.t, fmt.Sprintf("empty queues %v", queues), func() bool {
		for _, q := range queues {
			if r.broker.Len(q) > 0 {
				return false
			}
		}
		return true
	})
}

func (r *rig) get(id string) *job.Job {
	r.t.Helper()
	j, err := r.jobs.Get(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

func completed(id string, i int) pipeline.Result {
	e := pipeline.NewEnvelope(id, i, time.Now())
	return pipeline.Ended(e, string(e.TraceID)+"/x.jpg", time.Now())
}

func failed(id string, i int) pipeline.Result {
	f := &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged JPEG: cut short"}
	return f.Result(pipeline.NewEnvelope(id, i, time.Now()), time.Now())
}

func TestResultsRepeatedAndShuffledCountOnce(t *testing.T) {
	r := setup(t)
	const n = 20
	r.job("repeated", n)
	var results []pipeline.Result
	for i := range n {
		for range 5 {
			if i%4 == 0 {
				results = append(results, failed("repeated", i))
			} else {
				results = append(results, completed("repeated", i))
			}
		}
	}
	rand.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	for _, m := range results {
		r.publish(pipeline.ImageProcessed.Name, m)
	}
	r.awaitEmpty(pipeline.ImageProcessed.Name)
	j := r.get("repeated")
	if j.Status != job.Completed || j.Completed != n-n/4 || j.Failed != n/4 || j.Progress() != 100 {
		t.Errorf("job ended %s with %d completed and %d failed, want completed with %d and %d", j.Status, j.Completed, j.Failed, n-n/4, n/4)
	}
	if got := r.settled.Load(); got != n {
		t.Errorf("settled %d times, want %d", got, n)
	}
	seen := map[int64]bool{}
	for range n {
		seen[<-r.changes] = true
	}
	if len(seen) != n || len(r.changes) != 0 || !seen[j.Revision] {
		t.Errorf("announced revisions %v and %d more, want each of %d once", seen, len(r.changes), n)
	}
	if img := j.Images[0]; img.Error != "Damaged JPEG: cut short" || img.ErrorCode != pipeline.CodeDamaged {
		t.Errorf("failed image has error %q (%s), want \"Damaged JPEG: cut short\" and %v", img.Error, img.ErrorCode, pipeline.CodeDamaged)
	}
}

func TestFirstFinalStatusWins(t *testing.T) {
	r := setup(t)
	r.job("first", 2)
	r.publish(pipeline.ImageProcessed.Name, failed("first", 0))
	r.awaitEmpty(pipeline.ImageProcessed.Name)
	r.publish(pipeline.ImageProcessed.Name, completed("first", 0))
	r.awaitEmpty(pipeline.ImageProcessed.Name)
	if j := r.get("first"); j.Images[0].Status != job.Failed || j.Failed != 1 || j.Completed != 0 || j.Status != job.Processing {
		t.Errorf("late result changed the image to %s (job %s), want failed (processing)", j.Images[0].Status, j.Status)
	}
}

func TestUnknownImagesAreDropped(t *testing.T) {
	r := setup(t)
	r.job("known", 1)
	foreign := completed("known", 0)
	foreign.TraceID = pipeline.NewTraceID("other", 0)
	for _, m := range []any{completed("never", 0), completed("known", 7), foreign} {
		r.publish(pipeline.ImageProcessed.Name, m)
	}
	r.publish(broker.DeadResults, foreign)
	r.awaitEmpty(pipeline.ImageProcessed.Name, broker.DeadResults)
	if j := r.get("known"); j.Completed+j.Failed != 0 || r.settled.Load() != 0 {
		t.Errorf("a result for an unknown image settled an image: %+v, want none settled", j)
	}
}

// TestForeignResultsAreSetAside verifies that results of another job store's images change
// nothing, even if the job has the same ID, as in a copy, and are kept. Results without a store
// are ours.
func TestForeignResultsAreSetAside(t *testing.T) {
	r := setup(t)
	r.job("copied", 4)
	of := func(m pipeline.Result, store string) pipeline.Result {
		m.Store = store
		return m
	}
	r.publish(pipeline.ImageProcessed.Name, of(completed("copied", 0), "theirs"))
	r.publish(broker.DeadResults, of(completed("copied", 1), "theirs"))
	r.publish(pipeline.ImageProcessed.Name, of(completed("copied", 2), "ours"))
	r.publish(pipeline.ImageProcessed.Name, of(completed("copied", 3), ""))
	r.awaitEmpty(pipeline.ImageProcessed.Name, broker.DeadResults)
	j := r.get("copied")
	for i, want := range []job.Status{job.Pending, job.Pending, job.Completed, job.Completed} {
		if got := j.Images[i].Status; got != want && (want != job.Pending || got.Ended()) {
			t.Errorf("image %d is %s, want %s", i, got, want)
		}
	}
	if n := r.broker.Len(broker.ForeignResults); n != 2 {
		t.Errorf("%d foreign results are kept, want 2", n)
	}
}

func TestContradictoryResultFailsTheImage(t *testing.T) {
	s := newSettler(Deps{Metrics: telemetry.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	elsewhere := completed("x", 0)
	elsewhere.ProcessedPath = "../secret"
	unknown := completed("x", 0)
	unknown.Status = "maybe"
	for _, m := range []pipeline.Result{elsewhere, unknown} {
		if err := s.result(t.Context(), m); err == nil || errors.Is(err, stage.ErrUnavailable) {
			t.Errorf("result(%+v) = %v, want an error", m, err)
		}
	}
}

func TestDeadLettersOfEveryQueueFailTheirImage(t *testing.T) {
	r := setup(t)
	j := r.job("dead", 3)
	upload := j.Images[0].Upload(j.ID, time.Now())
	analysis := pipeline.Analysis{Upload: j.Images[1].Upload(j.ID, time.Now()), Thumbnail: []byte{1}}
	for _, m := range []any{upload, analysis, completed("dead", 2), []byte("not json"), []byte("{}")} {
		r.publish(broker.DeadResults, m)
	}
	r.awaitEmpty(broker.DeadResults)
	got := r.get("dead")
	if got.Status != job.Failed || got.Failed != 3 {
		t.Fatalf("job is %s with %d failed, want %v and 3", got.Status, got.Failed, job.Failed)
	}
	for _, img := range got.Images {
		if img.Error != "Image could not be processed" || img.ErrorCode != pipeline.CodeProcessingFailed || !img.Retryable {
			t.Errorf("image %d has error %q (%s), retryable %v", img.Index, img.Error, img.ErrorCode, img.Retryable)
		}
	}
}

func TestOutageOfTheStoreLosesNoResult(t *testing.T) {
	r := setup(t)
	r.job("outage", 10)
	r.jobs.down.Store(true)
	for i := range 10 {
		r.publish(pipeline.ImageProcessed.Name, completed("outage", i))
	}
	r.publish(broker.DeadResults, completed("outage", 0))
	brokertest.Await(r.t, "attempt of each result during the outage", func() bool { return r.jobs.refused.Load() > 2*11 })
	if n := r.broker.Len(pipeline.ImageProcessed.Name); n != 10 {
		t.Errorf("%d results left during the outage, want all 10", n)
	}
	r.jobs.down.Store(false)
	r.awaitEmpty(pipeline.ImageProcessed.Name, broker.DeadResults)
	if j := r.get("outage"); j.Completed+j.Failed != 10 {
		t.Errorf("settled %d of 10, want 10", j.Completed+j.Failed)
	}
}
