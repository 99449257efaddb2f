package job

import (
	"slices"
	"time"
)

// Query is a request for one page of the list.
type Query struct {
	Viewer  Viewer
	Filter  Filter
	Oldest  bool   // oldest jobs first; otherwise newest first
	After   Cursor // position of the previous page's end; zero for the first page
	Limit   int    // maximum number of jobs
	Examine int    // maximum of Page.Examined, which the last job of a search may exceed; 0: MaxExamined
	Summary bool   // without the images
}

// MaxExamined is the maximum number of jobs that are examined for one page of the list, so
// that a filter that few jobs pass does not cost a read of all jobs.
const MaxExamined = 2000

// Filter selects jobs of the list. A job must pass every part that is not zero.
type Filter struct {
	Statuses      []Status // any of these
	FailedImages  bool     // true: only jobs with a failed image
	Uncaptioned   bool     // true: only jobs with a completed image that should have a caption and has none
	CreatedFrom   time.Time
	CreatedBefore time.Time // exclusive
	RetryOf       string    // only the retries of this job
	Owner         string    // only the jobs of this owner
	Upload        string    // only the jobs whose metadata has this upload
	Search        Search    // only the jobs that it finds
}

// UploadKey is the key of the metadata that joins the jobs of one upload.
const UploadKey = "upload"

// Zero reports whether the filter selects all jobs.
func (f Filter) Zero() bool {
	return len(f.Statuses) == 0 && !f.FailedImages && !f.Uncaptioned && f.CreatedFrom.IsZero() && f.CreatedBefore.IsZero() && f.RetryOf == "" && f.Owner == "" && f.Upload == "" && f.Search == ""
}

// Selects reports whether the job passes the filter, apart from its Search.
func (f Filter) Selects(j *Job) bool {
	return (len(f.Statuses) == 0 || slices.Contains(f.Statuses, j.Status)) &&
		(!f.FailedImages || j.Failed > 0) &&
		(!f.Uncaptioned || j.Uncaptioned > 0) &&
		(f.CreatedFrom.IsZero() || !j.CreatedAt.Before(f.CreatedFrom)) &&
		(f.CreatedBefore.IsZero() || j.CreatedAt.Before(f.CreatedBefore)) &&
		(f.RetryOf == "" || j.RetryOf == f.RetryOf) &&
		(f.Owner == "" || j.Owner == f.Owner) &&
		(f.Upload == "" || j.Metadata[UploadKey] == f.Upload)
}

// Cursor is a position in the list: the last job that was examined.
type Cursor struct {
	CreatedAt time.Time
	ID        string
}

// Page is a page of the list. It may be short, or have no jobs, although other pages follow.
type Page struct {
	Jobs     []*Job
	Next     Cursor // position of the next page; zero if there is none
	Examined int    // number of jobs that were examined, and a tenth of their images if these were searched
}

// More reports whether another page follows.
func (p Page) More() bool { return p.Next.ID != "" }
