package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// filtered is a list as a client decodes it.
type filtered struct {
	listed
	members map[string]json.RawMessage
}

func (r *rig) filtered(query string, as ...string) (f filtered) {
	r.Helper()
	got := r.do(http.MethodGet, "/api/v1/batch?"+query, nil, as...)
	if got.status != http.StatusOK {
		r.Fatalf("%s: got %d %s", query, got.status, got.body)
	}
	r.must(json.Unmarshal(got.body, &f.listed))
	r.must(json.Unmarshal(got.body, &f.members))
	return f
}

// numbered returns the ID of the n-th job of a test.
func numbered(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// store stores a job of one image with the given creation time.
func (r *rig) store(n int, at time.Time, change func(*job.Job)) string {
	r.Helper()
	j := job.New(numbered(n), []job.Image{{URL: "http://example.com/"}}, at)
	if change != nil {
		change(j)
	}
	r.must(r.jobs.Create(r.Context(), j))
	return j.ID
}

// TestListFilters verifies which jobs each filter selects, and that a filtered list has no
// total.
func TestListFilters(t *testing.T) {
	r := setup(t, options{})
	at := time.Date(2026, 11, 28, 18, 0, 0, 0, time.UTC)
	for n := range 6 { // at 18:00:00.0, :00.9, :01.8, :02.7, :03.6 and :04.5
		r.store(n, at.Add(time.Duration(n)*900*time.Millisecond), func(j *job.Job) {
			if n == 5 {
				j.RetryOf, j.Owner = numbered(1), "anna"
			}
		})
	}
	r.end(numbered(1), 0, errDamaged)
	r.end(numbered(2), 0, nil)
	_, _, err := r.jobs.Cancel(t.Context(), numbered(3), at)
	r.must(err)
	for query, want := range map[string][]int{
		"status=pending":                        {5, 4, 0},
		"status=failed":                         {1},
		"status=failed,completed":               {2, 1},
		"status=completed,failed,failed":        {2, 1},
		"status=cancelled&order=oldest":         {3},
		"status=processing":                     {},
		"failed_images=true":                    {3, 1},
		"failed_images=true&status=failed":      {1},
		"retry_of=" + numbered(1):               {5},
		"retry_of=" + numbered(2):               {},
		"owner=anna":                            {5},
		"owner=bert":                            {},
		"owner=anna&status=pending":             {5},
		"owner=anna&status=failed":              {},
		"status=pending,failed&order=oldest":    {0, 1, 4, 5},
		"status=pending&limit=7":                {5, 4, 0},
		"created_after=2026-11-28T18:00:01Z":    {5, 4, 3, 2},
		"created_after=2026-11-28T18:00:00.1Z":  {5, 4, 3, 2},
		"created_before=2026-11-28T18:00:01Z":   {1, 0},
		"created_before=2026-11-28T18:00:00.1Z": {1, 0}, // their created_at is 18:00:00
		"created_before=2026-11-28T18:00:00Z":   {},
		"created_before=0001-01-01T00:00:00Z":   {},
		"created_after=9999-12-31T23:59:59.9Z":  {},
		"created_after=0001-01-01T00:00:00Z":    {5, 4, 3, 2, 1, 0},
		"created_after=2026-11-28T19:00:01%2B01:00&created_before=2026-11-28T18:00:03Z":                  {3, 2},
		"status=pending&failed_images=&created_after=&created_before=&retry_of=&owner=&order=&view=&x=y": {5, 4, 0},
		"retry_of=" + strings.ToUpper(numbered(1)) + "&view=full":                                        {5},
	} {
		got := r.filtered(query)
		ids := []string{}
		for _, n := range want {
			ids = append(ids, numbered(n))
		}
		if !slices.Equal(got.ids(), ids) && len(ids)+len(got.ids()) > 0 {
			t.Errorf("%s: got the jobs %v, want %v", query, got.ids(), ids)
		}
		if _, has := got.members["total"]; has || got.Next != "" {
			t.Errorf("%s: got total %d and next %q, want neither", query, got.Total, got.Next)
		}
	}
	oldest := r.filtered("order=oldest&limit=4")
	if want := []string{numbered(0), numbered(1), numbered(2), numbered(3)}; !slices.Equal(oldest.ids(), want) || oldest.Total != 6 || oldest.Next == "" {
		t.Errorf("oldest first: got %v, total %d, next %q; want 4 jobs of 6 and a next page", oldest.ids(), oldest.Total, oldest.Next)
	}
	if rest := r.filtered("order=oldest&page_token=" + oldest.Next); !slices.Equal(rest.ids(), []string{numbered(4), numbered(5)}) {
		t.Errorf("the rest of the oldest: got %v", rest.ids())
	}
}

// TestListSummary verifies that a summary is the job without its images.
func TestListSummary(t *testing.T) {
	r := setup(t, options{})
	r.create(2)
	full, summary := r.list(), r.get("/api/v1/batch?view=summary")
	delete(full[0], "images")
	var got struct {
		Jobs  []map[string]any `json:"jobs"`
		Total int              `json:"total"`
	}
	r.must(json.Unmarshal(summary.body, &got))
	if fmt.Sprint(got.Jobs) != fmt.Sprint(full) || got.Total != 1 {
		t.Errorf("got %s\nwant %v", summary.body, full)
	}
}

// TestListPages verifies that the pages of a filtered list contain each job once, and that a
// page token is valid only for the list that it belongs to.
func TestListPages(t *testing.T) {
	r := setup(t, options{})
	at := time.Now()
	for n := range 13 {
		r.store(n, at.Add(time.Duration(n/3)*time.Second), nil)
		if n%2 == 0 {
			r.end(numbered(n), 0, errDamaged)
		}
	}
	for _, order := range []string{"newest", "oldest"} {
		var all []string
		for token := ""; ; {
			page := r.filtered("status=failed,completed&limit=3&order=" + order + "&page_token=" + token)
			all = append(all, page.ids()...)
			if token = page.Next; token == "" {
				break
			}
			if len(page.Jobs) != 3 {
				t.Errorf("%s first: a page has %d jobs, want 3", order, len(page.Jobs))
			}
		}
		want := r.filtered("failed_images=true&order=" + order).ids()
		if !slices.Equal(all, want) || len(want) != 7 {
			t.Errorf("%s first: the pages have the jobs %v, want %v", order, all, want)
		}
	}

	plain, failed := r.filtered("limit=2").Next, r.filtered("limit=2&status=failed").Next
	if b, err := base64.RawURLEncoding.DecodeString(plain); err != nil || len(b) != 44 {
		t.Errorf("a token without filters has %d bytes, %v; want the 44 bytes of earlier releases", len(b), err)
	}
	for _, query := range []string{"status=failed", "status=failed&limit=5", "status=failed,failed&view=summary&order=newest&x=y"} {
		if got := r.filtered(query + "&page_token=" + failed); len(got.Jobs) == 0 {
			t.Errorf("%s: the page has no jobs", query)
		}
	}
	const other = "page_token belongs to a list with other filters or another order"
	for query, text := range map[string]string{
		"page_token=" + failed:                                                  other,
		"status=failed&page_token=" + plain:                                     other,
		"order=oldest&page_token=" + plain:                                      other,
		"status=completed&page_token=" + failed:                                 other,
		"status=failed&order=oldest&page_token=" + failed:                       other,
		"status=failed&created_after=2026-01-01T00:00:00Z&page_token=" + failed: other,
		"page_token=" + plain + "AAAA":                                          "page_token is invalid",
		"status=failed&page_token=" + failed[:58]:                               "page_token is invalid",
		"status=failed&page_token=" + strings.Repeat("A", len(failed)):          "page_token is invalid",
	} {
		wantError(t, r.get("/api/v1/batch?"+query), 400, text)
	}
}

// TestListParameters verifies that an invalid value of a known parameter is rejected by name.
func TestListParameters(t *testing.T) {
	r := setup(t, options{})
	const status = "status must be one or more of pending, processing, completed, failed and cancelled, separated by commas"
	const rfc3339 = " must be a time of RFC 3339, such as 2026-11-28T18:00:00Z"
	for query, text := range map[string]string{
		"status=done":                             status,
		"status=receiving":                        status,
		"status=failed,":                          status,
		"status=failed,%20completed":              status,
		"status=Failed":                           status,
		"failed_images=false":                     "failed_images must be true",
		"failed_images=1":                         "failed_images must be true",
		"created_after=yesterday":                 "created_after" + rfc3339,
		"created_after=2026-11-28":                "created_after" + rfc3339,
		"created_after=2026-11-28T18:00:00+01:00": "created_after" + rfc3339, // + is a space
		"created_before=1764352800":               "created_before" + rfc3339,
		"created_before=2026-02-30T00:00:00Z":     "created_before" + rfc3339,
		"retry_of=x":                              "retry_of must be the ID of a job",
		"retry_of=" + unknown + "0":               "retry_of must be the ID of a job",
		"owner=an%20na":                           "owner must be the name of an API key",
		"owner=" + strings.Repeat("x", 65):        "owner must be the name of an API key",
		"order=up":                                "order must be newest or oldest",
		"view=images":                             "view must be full or summary",
		"status=failed&status=completed":          "status must not be repeated",
		"order=oldest&order=oldest":               "order must not be repeated",
	} {
		got := r.get("/api/v1/batch?" + query)
		wantError(t, got, 400, text)
		if head := r.do("HEAD", "/api/v1/batch?"+query, nil); head.status != 400 {
			t.Errorf("HEAD with %s: got %d", query, head.status)
		}
	}
}

// TestListOfAnOwner verifies that the filter owner shows nothing of another name, except to
// operators.
func TestListOfAnOwner(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert", "ops operator")
	r := setup(t, options{keys: keys.Store})
	id := r.createAs(keys, "anna", 1)
	r.createAs(keys, "bert", 1)
	r.orphan()
	for name, want := range map[string]int{"anna": 1, "bert": 0, "ops": 1} {
		for _, query := range []string{"owner=anna", "owner=anna&status=processing", "owner=anna&limit=1&view=summary"} {
			got := r.filtered(query, "Authorization", keys.keys[name])
			if len(got.Jobs) != want || want == 1 && got.Jobs[0].JobID != id || got.Next != "" {
				t.Errorf("%s with the key of %s: got %v, want %d jobs", query, name, got.ids(), want)
			}
		}
	}
	for name, want := range map[string]int{"anna": 1, "bert": 1, "ops": 3} {
		if got := r.filtered("status=processing,pending", "Authorization", keys.keys[name]); len(got.Jobs) != want {
			t.Errorf("open jobs with the key of %s: got %v, want %d", name, got.ids(), want)
		}
	}
}

// TestListExaminesLittle verifies that a page that examines its limit of jobs is empty and
// names the next page, and that a list without a limit is whole.
func TestListExaminesLittle(t *testing.T) {
	r := setup(t, options{})
	at := time.Now()
	var creating sync.WaitGroup
	next := make(chan int)
	for range 32 { // The store commits concurrent writes together.
		creating.Go(func() {
			for n := range next {
				r.store(n, at.Add(time.Duration(n)*time.Second), func(j *job.Job) { j.RetryOf = unknown })
			}
		})
	}
	const jobs = job.MaxExamined + 50
	for n := range jobs {
		next <- n
	}
	close(next)
	creating.Wait()
	r.end(numbered(0), 0, errDamaged)
	const query = "view=summary&status=failed&retry_of=" + unknown
	page := r.filtered(query + "&limit=10")
	if len(page.Jobs) != 0 || page.Next == "" {
		t.Errorf("the first page has %d jobs and the next page %q, want no job and a next page", len(page.Jobs), page.Next)
	}
	page = r.filtered(query + "&limit=10&page_token=" + page.Next)
	if !slices.Equal(page.ids(), []string{numbered(0)}) || page.Next != "" {
		t.Errorf("the second page: got %v and next %q, want the oldest job", page.ids(), page.Next)
	}
	if whole := r.filtered(query); !slices.Equal(whole.ids(), []string{numbered(0)}) || whole.Next != "" {
		t.Errorf("the whole list: got %v and next %q, want the oldest job", whole.ids(), whole.Next)
	}
	if most := r.filtered("view=summary&limit=1000&retry_of=" + unknown); len(most.Jobs) != 1000 || most.Next == "" {
		t.Errorf("the largest page has %d jobs and next %q, want 1000 and a next page", len(most.Jobs), most.Next)
	}
}

// TestListSearch verifies that a client finds its jobs by their upload, by the start of their ID and by the names of
// their images, page by page, and never those of another name.
func TestListSearch(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert", "ops operator")
	r := setup(t, options{keys: keys.Store})
	at := time.Date(2026, 11, 28, 18, 0, 0, 0, time.UTC)
	for n := range 6 {
		r.store(n, at.Add(time.Duration(n)*time.Second), func(j *job.Job) {
			j.Owner = []string{"anna", "bert"}[n/3]
			j.Images[0].OriginalFilename, j.Images[0].CustomID = fmt.Sprintf("Strand %d.JPG", n%3), "Urlaub & Meer/x"
			if n%3 > 0 {
				j.Metadata = map[string]string{"upload": "a\n=&+"}
			}
		})
	}
	query := func(name, query string) filtered {
		t.Helper()
		return r.filtered(query, "Authorization", keys.keys[name])
	}
	for _, c := range []struct {
		name, query string
		want        []int
	}{
		{"anna", "upload=a%0A%3D%26%2B", []int{2, 1}},
		{"ops", "upload=a%0A%3D%26%2B", []int{5, 4, 2, 1}},
		{"ops", "upload=a%0A%3D%26%2B&owner=bert&order=oldest", []int{4, 5}},
		{"anna", "upload=a", nil},
		{"anna", "upload=", []int{2, 1, 0}},
		{"anna", "q=strand+1", []int{1}},
		{"bert", "q=STRAND+1", []int{4}},
		{"ops", "q=meer%2F", []int{5, 4, 3, 2, 1, 0}},
		{"ops", "q=" + numbered(4), []int{4}},
		{"ops", "q=" + strings.ToUpper(numbered(4)), []int{4}},
		{"anna", "q=" + numbered(4), nil},
		{"anna", "q=00000000", []int{2, 1, 0}},
		{"anna", "q=0000", []int{2, 1, 0}},
		{"anna", "q=00000001", nil},
		{"anna", "q=2.jpg&upload=a%0A%3D%26%2B", []int{2}},
		{"anna", "q=0.jpg&upload=a%0A%3D%26%2B", nil},
		{"anna", "q=", []int{2, 1, 0}},
	} {
		var want []string
		for _, n := range c.want {
			want = append(want, numbered(n))
		}
		if got := query(c.name, c.query); !slices.Equal(got.ids(), want) || got.Next != "" {
			t.Errorf("%s, %s: got %v and next %q, want %v", c.name, c.query, got.ids(), got.Next, want)
		}
	}
	for _, q := range []string{"q=strand", "upload=a%0A%3D%26%2B", "q=00000000"} {
		first := query("ops", q+"&limit=3&view=summary")
		rest := query("ops", q+"&limit=3&page_token="+first.Next)
		if len(first.Jobs) != 3 || len(rest.Jobs) == 0 || rest.Next != "" || slices.Contains(first.ids(), rest.ids()[0]) {
			t.Errorf("%s: got %v and then %v", q, first.ids(), rest.ids())
		}
		for _, other := range []string{"q=strand+", "upload=b", "q=0000000", ""} {
			wantError(t, r.as(keys, "ops", "GET", "/api/v1/batch?"+other+"&page_token="+first.Next, ""), 400, "page_token belongs to a list with other filters or another order")
		}
	}
	for query, want := range map[string]string{
		"upload=" + strings.Repeat("x", 513): "upload must be the upload in the metadata of a job, at most 512 bytes of UTF-8",
		"upload=%ff":                         "upload must be the upload in the metadata of a job, at most 512 bytes of UTF-8",
		"upload=a&upload=b":                  "upload must not be repeated",
		"q=" + strings.Repeat("x", 256):      "q must be the start of a job's ID or a part of an image's name, at most 255 bytes of UTF-8",
		"q=a%00":                             "q must be the start of a job's ID or a part of an image's name, at most 255 bytes of UTF-8",
		"q=a&q=b":                            "q must not be repeated",
	} {
		wantError(t, r.as(keys, "ops", "GET", "/api/v1/batch?"+query, ""), 400, want)
	}
}
