package jobtest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// model is a second implementation of the store's contract, with maps and without durability.
// Random calls to both must return the same results.
type model struct {
	store Store
	ctx   context.Context // the test's context, for every call
	jobs  map[string]*modelJob
	order []string // job IDs in the order of creation
	now   time.Time
}

type modelJob struct {
	job.Job
	hidden bool
}

func testModel(t *testing.T, open func(*testing.T) Store) {
	var s Store // reused if the previous run has left it empty
	rapid.Check(t, func(r *rapid.T) {
		m := &model{store: s, ctx: t.Context(), jobs: map[string]*modelJob{}, now: t0}
		if s == nil {
			m.store = open(t)
		}
		s = nil
		r.Repeat(map[string]func(*rapid.T){
			"create":  m.create,
			"fetch":   m.fetch,
			"settle":  m.settle,
			"cancel":  m.cancel,
			"claim":   m.claim,
			"send":    m.send,
			"resend":  m.resend,
			"hide":    m.hide,
			"delete":  m.delete,
			"advance": func(r *rapid.T) { m.now = m.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(r, "s")) * time.Second) },
			"":        m.checkCounts,
		})
		m.check(r)
		m.empty(r)
		s = m.store
	})
}

// empty ends, hides and deletes every job.
func (m *model) empty(r *rapid.T) {
	for _, id := range m.order {
		j := m.jobs[id]
		for i := range j.Images {
			ref := job.Ref{JobID: id, Index: i}
			m.change(r, j, i, job.Settle(completed(ref), m.now))
		}
	}
	m.now = m.now.Add(time.Second)
	m.hide(r)
	for _, id := range m.order {
		if err := m.store.Delete(m.ctx, id); err != nil {
			r.Fatal(err)
		}
	}
	m.order = nil
	m.checkCounts(r)
}

func (m *model) create(r *rapid.T) {
	n := rapid.IntRange(1, 4).Draw(r, "images")
	j := inlineJob(n, m.now)
	if rapid.Bool().Draw(r, "fetch") {
		j = leased(fetchJob(n, m.now), job.Lease{Owner: "a", Until: m.now.Add(job.LeaseTime)})
	}
	if err := m.store.Create(m.ctx, j); err != nil {
		r.Fatal(err)
	}
	m.order = append(m.order, j.ID)
	m.jobs[j.ID] = &modelJob{Job: clone(j)}
}

// pick draws a job, or skips the step when there is none.
func (m *model) pick(r *rapid.T) *modelJob {
	if len(m.order) == 0 {
		r.Skip("no job yet")
	}
	return m.jobs[rapid.SampledFrom(m.order).Draw(r, "job")]
}

func (m *model) change(r *rapid.T, j *modelJob, index int, t job.Transition) {
	got, changed, err := m.store.Change(m.ctx, job.Ref{JobID: j.ID, Index: index}, t, m.now)
	if j.hidden {
		if !errors.Is(err, job.ErrNotFound) {
			r.Fatalf("change of a hidden job: %v", err)
		}
		return
	}
	after := clone(&j.Job)
	want, wantErr := after.Apply(&after.Images[index], t, m.now)
	if changed != want || !errors.Is(err, wantErr) {
		r.Fatalf("changed %t, error %v; want %t, %v", changed, err, want, wantErr)
	}
	if err != nil {
		return
	}
	j.Job = after
	after.Images, after.Lease, got.Lease = nil, job.Lease{}, job.Lease{}
	if !equal(*got, after) {
		r.Fatalf("Change = %+v, want %+v", *got, after)
	}
}

func (m *model) fetch(r *rapid.T) {
	j := m.pick(r)
	index := rapid.IntRange(0, j.Total-1).Draw(r, "index")
	l := j.Lease
	if rapid.IntRange(0, 4).Draw(r, "stale") == 0 {
		l.Epoch--
	}
	f := &pipeline.Failure{Code: pipeline.CodeDownloadFailed, Text: "Failed to download image: status code 404"}
	m.change(r, j, index, rapid.SampledFrom([]job.Transition{
		job.Start(l, m.now), job.Fetched(l, original(j.ID, index)), job.FetchFailed(l, f, m.now),
	}).Draw(r, "transition"))
}

func (m *model) settle(r *rapid.T) {
	j := m.pick(r)
	ref := job.Ref{JobID: j.ID, Index: rapid.IntRange(0, j.Total-1).Draw(r, "index")}
	result := rapid.SampledFrom([]pipeline.Result{completed(ref), failed(ref)}).Draw(r, "result")
	m.change(r, j, ref.Index, job.Settle(result, m.now))
}

func (m *model) cancel(r *rapid.T) {
	j := m.pick(r)
	got, changed, err := m.store.Cancel(m.ctx, j.ID, m.now)
	if j.hidden {
		if !errors.Is(err, job.ErrNotFound) {
			r.Fatalf("cancel of a hidden job: %v", err)
		}
		return
	}
	if want := j.Cancel(m.now); err != nil || changed != want {
		r.Fatalf("changed %t, error %v; want %t", changed, err, want)
	}
	if !equal(*got, j.Job) {
		r.Fatalf("Cancel = %+v, want %+v", *got, j.Job)
	}
}

func (m *model) claim(r *rapid.T) {
	owner := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "owner")
	until := m.now.Add(job.LeaseTime)
	claimed, err := m.store.Claim(m.ctx, owner, m.now, until, len(m.order))
	if err != nil {
		r.Fatal(err)
	}
	var want []string
	for _, id := range m.order {
		j := m.jobs[id]
		if slices.ContainsFunc(j.Images, func(img job.Image) bool { return img.ToFetch() }) && j.Lease.Until.Before(m.now) {
			want = append(want, id)
			j.Lease = job.Lease{Owner: owner, Epoch: j.Lease.Epoch + 1, Until: until}
		}
	}
	got := ids(claimed)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.Fatalf("claimed %v, want %v", got, want)
	}
}

func (m *model) send(r *rapid.T) {
	unsent, err := m.store.Unsent(m.ctx, rapid.IntRange(0, 5).Draw(r, "limit"))
	if err != nil {
		r.Fatal(err)
	}
	for i := range unsent {
		img := &m.jobs[unsent[i].JobID].Images[unsent[i].Image.Index]
		if !equal(unsent[i].Image, *img) {
			r.Fatalf("unsent is %+v, want %+v", unsent[i].Image, *img)
		}
		if rapid.IntRange(0, 3).Draw(r, "late") == 0 {
			unsent[i].Image.Send--
			continue
		}
		img.Unsent = false
	}
	if err := m.store.MarkSent(m.ctx, unsent); err != nil {
		r.Fatal(err)
	}
}

func (m *model) resend(r *rapid.T) {
	n, err := m.store.Resend(m.ctx, m.now)
	if err != nil {
		r.Fatal(err)
	}
	want := 0
	for _, j := range m.jobs {
		for i := range j.Images {
			if img := &j.Images[i]; !img.Status.Ended() && img.Original.Stored() && img.StartTime.Before(m.now) {
				img.Unsent = true
				img.Send++
				want++
			}
		}
	}
	if n != want {
		r.Fatalf("%d marked unsent, want %d", n, want)
	}
}

func (m *model) hide(r *rapid.T) {
	n, err := m.store.Hide(m.ctx, m.now, len(m.order))
	if err != nil {
		r.Fatal(err)
	}
	for _, j := range m.jobs {
		if !j.hidden && j.Status.Ended() && j.CompletedAt.Before(m.now) {
			j.hidden = true
			n--
		}
	}
	if n != 0 {
		r.Fatalf("%d too many jobs were hidden", n)
	}
}

func (m *model) delete(r *rapid.T) {
	j := m.pick(r)
	err := m.store.Delete(m.ctx, j.ID)
	if errors.Is(err, job.ErrNotFound) && !j.hidden {
		return
	}
	if err != nil || !j.hidden {
		r.Fatalf("delete of a job (hidden %t): %v", j.hidden, err)
	}
	delete(m.jobs, j.ID)
	m.order = slices.DeleteFunc(m.order, func(id string) bool { return id == j.ID })
}

// checkCounts compares the counts, after every step.
func (m *model) checkCounts(r *rapid.T) {
	var want job.Counts
	for _, id := range m.order {
		j := m.jobs[id]
		if j.hidden {
			continue
		}
		want.Jobs++
		for i := range j.Images {
			if !j.Images[i].Status.Ended() {
				want.OpenImages++
			}
			if j.Images[i].Unsent {
				want.Unsent++
			}
		}
		if !j.Status.Ended() && (want.OldestOpen.IsZero() || j.CreatedAt.Before(want.OldestOpen)) {
			want.OldestOpen = j.CreatedAt
		}
	}
	got, err := m.store.Count(m.ctx)
	if err != nil {
		r.Fatal(err)
	}
	if got != want {
		r.Fatalf("counts are %+v, want %+v", got, want)
	}
}

// check compares all results, at the end.
func (m *model) check(r *rapid.T) {
	visible := 0
	for _, id := range m.order {
		j := m.jobs[id]
		got, err := m.store.Get(m.ctx, id)
		if j.hidden {
			if !errors.Is(err, job.ErrNotFound) {
				r.Fatalf("a hidden job was returned: %v", err)
			}
			continue
		}
		if err != nil {
			r.Fatal(err)
		}
		if !equal(*got, j.Job) {
			r.Fatalf("job is %+v, want %+v", *got, j.Job)
		}
		if err := addUp(got); err != nil {
			r.Fatal(err)
		}
		visible++
	}
	list, err := m.store.List(m.ctx, job.Query{Viewer: job.Everybody, Limit: len(m.order)})
	if err != nil {
		r.Fatal(err)
	}
	if len(list.Jobs) != visible || list.More() {
		r.Fatalf("%d jobs are listed, want %d; more follow: %t", len(list.Jobs), visible, list.More())
	}
}

func equal[T any](a, b T) bool { return reflect.DeepEqual(a, b) }

func clone(j *job.Job) job.Job {
	c := *j
	c.Images = slices.Clone(j.Images)
	return c
}
