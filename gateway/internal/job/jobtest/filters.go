package jobtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// listed are the statuses of the jobs in a list.
var listed = []job.Status{job.Pending, job.Processing, job.Completed, job.Failed, job.Cancelled}

// filterJobs stores jobs with every combination of a status, failed images, an owner and the
// job whose retry they are. It returns them, newest first.
func filterJobs(t *testing.T, s Store, retried string) []*job.Job {
	t.Helper()
	var all []*job.Job
	n := 0
	for _, owner := range []string{"", "anna", "bert"} {
		for _, of := range []string{"", retried} {
			for _, end := range []string{"", "c", "f", "cc", "cf", "ff", "u", "uf", "cu", "cancel", "c cancel", "start"} {
				n++
				j := inlineJob(2, at(n/4)) // some with the same creation time
				if end == "" || end == "start" {
					j = fetchJob(2, at(n/4))
				}
				j.Owner, j.RetryOf = owner, of
				if upload := []string{"", "summer", "autumn"}[n%3]; upload != "" {
					j.Metadata = map[string]string{"album": "winter", job.UploadKey: upload}
				}
				j.Images[n%2].CustomID = fmt.Sprintf("Obst/ÄPFEL %d.jpg", n%5)
				create(t, s, j)
				endAs(t, s, j, end)
				all = append(all, get(t, s, j.ID))
			}
		}
	}
	slices.SortFunc(all, func(a, b *job.Job) int {
		switch {
		case !a.CreatedAt.Equal(b.CreatedAt):
			return b.CreatedAt.Compare(a.CreatedAt)
		case a.ID > b.ID:
			return -1
		}
		return 1
	})
	return all
}

// endAs brings the job into a state: c completes the next image, u completes it
// without the caption that it should have, and f fails it.
func endAs(t *testing.T, s Store, j *job.Job, end string) {
	t.Helper()
	now, index := at(99), 0
	for _, r := range end {
		ref := job.Ref{JobID: j.ID, Index: index}
		switch {
		case end == "start":
			change(t, s, ref, job.Start(j.Lease, now), now)
			return
		case r == ' ', end == "cancel":
			_, _, err := s.Cancel(t.Context(), j.ID, now)
			ok(t, err)
			return
		case r == 'c':
			change(t, s, ref, job.Settle(completed(ref), now), now)
		case r == 'u':
			change(t, s, ref, job.Settle(uncaptioned(ref), now), now)
		default:
			change(t, s, ref, job.Settle(failed(ref), now), now)
		}
		index++
	}
}

func testFilters(t *testing.T, open func(*testing.T) Store) {
	t.Run("every combination, page by page, in both orders", func(t *testing.T) {
		s := open(t)
		retried := newID()
		all := filterJobs(t, s, retried)
		statuses := map[job.Status]int{}
		for _, j := range all {
			statuses[j.Status]++
		}
		if len(statuses) != len(listed) {
			t.Fatalf("the jobs have only the statuses %v", statuses)
		}
		for _, status := range [][]job.Status{
			nil, {job.Cancelled}, {job.Completed, job.Failed}, {job.Cancelled, job.Completed, job.Failed, job.Pending, job.Processing},
		} {
			for _, owner := range []string{"", "anna"} {
				for _, of := range []string{"", retried} {
					for _, fails := range []bool{false, true} {
						testFilter(t, s, all, job.Filter{Statuses: status, FailedImages: fails, RetryOf: of, Owner: owner})
						testFilter(t, s, all, job.Filter{Statuses: status, FailedImages: fails, Uncaptioned: true, RetryOf: of, Owner: owner})
						testFilter(t, s, all, job.Filter{Statuses: status, FailedImages: fails, Upload: "summer", RetryOf: of, Owner: owner})
						testFilter(t, s, all, job.Filter{Statuses: status, FailedImages: fails, Search: "äpfel 3", RetryOf: of, Owner: owner})
					}
				}
			}
		}
		for _, status := range listed {
			testFilter(t, s, all, job.Filter{Statuses: []job.Status{status}})
		}
		testFilter(t, s, all, job.Filter{Owner: "nobody"})
		testFilter(t, s, all, job.Filter{RetryOf: newID()})
		for _, f := range []job.Filter{
			{Upload: "winter"},
			{Upload: "autumn", Uncaptioned: true},
			{Upload: "summer", Search: "obst/äpfel 1"},
			{Uncaptioned: true, Search: "ÄPFEL 2"},
			{Search: "birnen"},
			{Search: job.Search(all[0].ID[:1])},
			{Search: job.Search(all[7].ID[:8])},
			{Search: job.Search(strings.ToUpper(all[7].ID))},
			{Search: job.Search(all[7].ID), Owner: all[7].Owner + "x"},
			{Search: job.Search(newID())},
		} {
			testFilter(t, s, all, f)
		}
		for from := 0; from < 15; from += 4 {
			f := job.Filter{CreatedFrom: at(from), CreatedBefore: at(from + 5)}
			testFilter(t, s, all, f)
			f.Statuses = []job.Status{job.Completed, job.Failed}
			testFilter(t, s, all, f)
			f.Owner = "bert"
			testFilter(t, s, all, f)
			f.RetryOf = retried
			testFilter(t, s, all, f)
			testFilter(t, s, all, job.Filter{CreatedBefore: at(from).Add(time.Microsecond)})
			testFilter(t, s, all, job.Filter{CreatedFrom: at(from).Add(time.Microsecond), FailedImages: true})
		}
	})
	t.Run("a viewer sees only its own jobs", func(t *testing.T) {
		s := open(t)
		all := filterJobs(t, s, newID())
		for _, c := range []struct {
			viewer job.Viewer
			owner  string
			want   string // owner of the listed jobs; empty: none
		}{
			{job.Viewer{Owner: "anna"}, "", "anna"},
			{job.Viewer{Owner: "anna"}, "anna", "anna"},
			{job.Viewer{Owner: "anna"}, "bert", ""},
			{job.Viewer{}, "", ""},
			{job.Viewer{}, "anna", ""},
			{job.Everybody, "bert", "bert"},
			{job.Viewer{Owner: "carl"}, "", ""},
		} {
			for _, f := range []job.Filter{{}, {Statuses: []job.Status{job.Failed}}, {FailedImages: true}, {Uncaptioned: true}, {RetryOf: all[0].RetryOf}, {RetryOf: newID()}, {Upload: "summer"}, {Search: "äpfel"}, {Search: job.Search(all[7].ID)}} {
				var want []string
				for _, j := range all {
					if c.want != "" && j.Owner == c.want && selects(f, j) {
						want = append(want, j.ID)
					}
				}
				f.Owner = c.owner
				page, err := s.List(t.Context(), job.Query{Viewer: c.viewer, Filter: f, Limit: 999})
				ok(t, err)
				same(t, fmt.Sprintf("%+v of %+v", f, c.viewer), ids(page.Jobs), append([]string{}, want...))
			}
		}
	})
	t.Run("a job that changes or is hidden", func(t *testing.T) {
		s := open(t)
		j := inlineJob(2, t0)
		j.Owner = "anna"
		create(t, s, j)
		where := func(want ...bool) {
			t.Helper()
			for i, f := range []job.Filter{
				{Statuses: []job.Status{job.Processing}}, {FailedImages: true}, {Statuses: []job.Status{job.Completed}}, {Uncaptioned: true},
			} {
				for _, owner := range []string{"", "anna"} {
					f.Owner = owner
					page, err := s.List(t.Context(), job.Query{Viewer: job.Everybody, Filter: f, Limit: 9})
					ok(t, err)
					same(t, fmt.Sprintf("listed with %+v", f), len(page.Jobs) == 1, want[i])
				}
			}
		}
		where(true, false, false, false)
		ref := job.Ref{JobID: j.ID, Index: 1}
		change(t, s, ref, job.Settle(failed(ref), at(1)), at(1))
		where(true, true, false, false)
		ref.Index = 0
		change(t, s, ref, job.Settle(uncaptioned(ref), at(2)), at(2))
		where(false, true, true, true)
		_, err := s.Hide(t.Context(), at(9), 9)
		ok(t, err)
		where(false, false, false, false)
	})
	t.Run("a tally counts what each filter selects, up to a limit", func(t *testing.T) {
		s := open(t)
		all := filterJobs(t, s, newID())
		of := func(v job.Viewer, f job.Filter) (n int) {
			for _, j := range all {
				if v.Sees(j) && selects(f, j) {
					n++
				}
			}
			return n
		}
		for _, v := range []job.Viewer{job.Everybody, {Owner: "anna"}, {Owner: "carl"}, {}} {
			for _, most := range []int{1000, 3} {
				got, err := s.Tally(t.Context(), v, most)
				ok(t, err)
				for _, status := range listed {
					same(t, fmt.Sprintf("%+v, %s up to %d", v, status, most), got.Statuses[status], min(of(v, job.Filter{Statuses: []job.Status{status}}), most+1))
				}
				same(t, fmt.Sprintf("%+v, with failures up to %d", v, most), got.FailedImages, min(of(v, job.Filter{FailedImages: true}), most+1))
				same(t, fmt.Sprintf("%+v, uncaptioned up to %d", v, most), got.Uncaptioned, min(of(v, job.Filter{Uncaptioned: true}), most+1))
			}
		}
	})
	t.Run("a page examines a limited number of jobs", func(t *testing.T) {
		s := open(t)
		of := newID()
		for i := range 300 {
			j := fetchJob(1, at(i))
			j.RetryOf = of
			create(t, s, j)
			if i == 0 {
				endAs(t, s, j, "f")
			}
		}
		q := job.Query{Viewer: job.Everybody, Filter: job.Filter{RetryOf: of, Statuses: []job.Status{job.Failed}}, Limit: 5, Examine: 290}
		for n, want := range []struct {
			jobs, examined int
			more           bool
		}{{0, 290, true}, {1, 10, false}} {
			page, err := s.List(t.Context(), q)
			ok(t, err)
			if len(page.Jobs) != want.jobs || page.Examined != want.examined || page.More() != want.more {
				t.Errorf("page %d has %d jobs of %d examined, more follow: %t; want %+v", n, len(page.Jobs), page.Examined, page.More(), want)
			}
			q.After = page.Next
		}
	})
	t.Run("a search examines a limited number of images", func(t *testing.T) {
		s := open(t)
		for i := range 10 {
			j := fetchJob(100, at(i))
			if i == 0 {
				j.Images[99].CustomID = "needle"
			}
			create(t, s, j)
		}
		q := job.Query{Viewer: job.Everybody, Filter: job.Filter{Search: "NEEDLE"}, Limit: 1, Examine: 40}
		pages, jobs := 0, 0
		for more := true; more; pages++ {
			page, err := s.List(t.Context(), q)
			ok(t, err)
			if page.Examined > 40+10 { // the last job may cost more than what is left
				t.Errorf("a page examined %d, want at most 40, and the rest of one job", page.Examined)
			}
			jobs, more, q.After = jobs+len(page.Jobs), page.More(), page.Next
		}
		if pages < 3 || jobs != 1 {
			t.Errorf("%d pages have %d jobs, want several pages, because 1,000 images are too many for one, and one job", pages, jobs)
		}
	})
	t.Run("a job is listed by its upload until it is hidden", func(t *testing.T) {
		s := open(t)
		j := inlineJob(1, t0)
		j.Metadata = map[string]string{job.UploadKey: strings.Repeat("é", job.MaxMetadataBytes/2)}
		create(t, s, j)
		other := inlineJob(1, t0)
		other.Metadata = map[string]string{job.UploadKey: ""}
		create(t, s, other)
		endAs(t, s, j, "c")
		q := job.Query{Viewer: job.Everybody, Filter: job.Filter{Upload: j.Metadata[job.UploadKey]}, Limit: 9}
		page, err := s.List(t.Context(), q)
		ok(t, err)
		same(t, "listed", ids(page.Jobs), []string{j.ID})
		_, err = s.Hide(t.Context(), at(99999), 9)
		ok(t, err)
		for _, f := range []job.Filter{q.Filter, {Search: job.Search(j.ID)}, {Search: job.Search(j.Images[0].OriginalFilename)}} {
			q.Filter = f
			page, err = s.List(t.Context(), q)
			ok(t, err)
			for _, found := range page.Jobs {
				if found.ID == j.ID {
					t.Errorf("%+v lists a hidden job", f)
				}
			}
		}
	})
	t.Run("a summary has no images", func(t *testing.T) {
		s := open(t)
		create(t, s, inlineJob(2, t0))
		page, err := s.List(t.Context(), job.Query{Viewer: job.Everybody, Limit: 9, Summary: true})
		ok(t, err)
		if len(page.Jobs) != 1 || page.Jobs[0].Total != 2 || page.Jobs[0].Images != nil {
			t.Errorf("the summaries are %+v", page.Jobs)
		}
	})
}

// selects reports whether a job passes a filter, as documented for the parameters of the API.
func selects(f job.Filter, j *job.Job) bool {
	if len(f.Statuses) > 0 && !slices.Contains(f.Statuses, j.Status) || f.FailedImages && j.Failed == 0 || f.Uncaptioned && j.Uncaptioned == 0 {
		return false
	}
	if f.Upload != "" && j.Metadata["upload"] != f.Upload || f.Search != "" && !finds(string(f.Search), j) {
		return false
	}
	if f.RetryOf != "" && j.RetryOf != f.RetryOf || f.Owner != "" && j.Owner != f.Owner {
		return false
	}
	return (f.CreatedFrom.IsZero() || !j.CreatedAt.Before(f.CreatedFrom)) && (f.CreatedBefore.IsZero() || j.CreatedAt.Before(f.CreatedBefore))
}

// finds reports whether a search finds the job.
func finds(text string, j *job.Job) bool {
	text = strings.ToLower(text)
	return strings.HasPrefix(j.ID, text) || slices.ContainsFunc(j.Images, func(img job.Image) bool {
		return strings.Contains(strings.ToLower(img.OriginalFilename), text) || strings.Contains(strings.ToLower(img.CustomID), text)
	})
}

// testFilter compares the list, page by page and in both orders, with the jobs
// that the filter selects of all jobs, which are newest first.
func testFilter(t *testing.T, s Store, all []*job.Job, f job.Filter) {
	t.Helper()
	want := []string{}
	for _, j := range all {
		if selects(f, j) {
			want = append(want, j.ID)
		}
	}
	const size = 5
	for _, oldest := range []bool{false, true} {
		got := []string{}
		q := job.Query{Viewer: job.Everybody, Filter: f, Oldest: oldest, Limit: size}
		for {
			page, err := s.List(t.Context(), q)
			ok(t, err)
			for _, j := range page.Jobs {
				ok(t, addUp(j))
			}
			got = append(got, ids(page.Jobs)...)
			if q.After = page.Next; !page.More() {
				break
			}
			if len(page.Jobs) != size {
				t.Fatalf("%+v: a page in the middle has %d jobs, want %d", f, len(page.Jobs), size)
			}
		}
		same(t, fmt.Sprintf("%+v, oldest first: %t", f, oldest), got, want)
		slices.Reverse(want)
	}
}
