// Package job is the gateway's domain: batch jobs, their images, how they move
// from one status to the next, and the errors of the store that keeps them.
//
// A status only moves up (pending, processing, then an end), the first end
// wins, and the counters of a job always equal the states of its images. Every
// change of an image gives its job the next revision, and the image keeps the
// revision of its last change, so that whoever has seen revision r catches up by
// reading the images above r.
//
// The package knows neither HTTP nor SQL nor the broker.
package job

import (
	"math"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Status is the status of a job or of an image.
type Status string

// The statuses. Receiving is a job whose request is still being read: it owns
// the objects that were stored for it and is in no answer. Cancelled is for jobs
// only.
const (
	Receiving  Status = "receiving"
	Pending    Status = "pending"
	Processing Status = "processing"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Cancelled  Status = "cancelled"
)

// Ended reports whether nothing can change the status any more.
func (s Status) Ended() bool { return s == Completed || s == Failed || s == Cancelled }

// Job is one batch. Reads may give it with some of its images only.
type Job struct {
	ID        string // a random UUID
	Status    Status
	Total     int // images
	Completed int
	Failed    int
	Revision  int64 // of the last change, from 1

	CreatedAt   time.Time
	UpdatedAt   time.Time
	CompletedAt time.Time // zero while open

	RetryOf     string // id of the job whose failed images these are; empty for a batch
	Fingerprint string // of the request, for one that came with a Key
	Owner       string // name of the API key that made it; empty: made without keys
	Origin      string // of its traces: what the tracer remembers of the request; empty without one

	Lease         Lease // who fetches its URLs or receives its request
	OriginalsGone bool  // retention has deleted the originals

	Images []Image
}

// Progress is the part of the images that have ended, in percent, rounded to
// two decimals.
func (j *Job) Progress() float64 {
	if j.Total == 0 {
		return 0
	}
	return math.Round(float64(j.Completed+j.Failed)/float64(j.Total)*100*100) / 100
}

// Image is one image of a job.
type Image struct {
	Index            int // place in the batch, from 0
	TraceID          pipeline.TraceID
	OriginalFilename string // as the client gave it, or made from the URL
	KeyName          string // the same, safe as the last part of an object key
	URL              string // where to fetch it; empty for an inline image

	Status   Status
	Original Original // zero until it is stored

	ProcessedPath string // when completed
	Error         string // when failed
	ErrorCode     string
	Retryable     bool

	StartTime time.Time // zero while pending
	EndTime   time.Time // zero while open
	Revision  int64     // of the job, at this image's last change

	// Unsent says that the image's Upload is still to be published; Send counts how
	// often it was marked so, which keeps a late confirm of an earlier publish
	// from passing for this one.
	Unsent bool
	Send   int64
}

// Original is a stored original.
type Original struct {
	Path        string // key in the store of originals
	ContentType string
	Size        int64  // bytes
	SHA256      string // hex
}

// Stored reports whether the original is in the store.
func (o Original) Stored() bool { return o.Path != "" }

// ToFetch reports whether the image still waits for its URL to be fetched.
func (i *Image) ToFetch() bool {
	return !i.Status.Ended() && i.URL != "" && !i.Original.Stored()
}

// Upload is the message that asks for the image to be analysed.
func (i *Image) Upload(jobID string, now time.Time) pipeline.Upload {
	e := pipeline.NewEnvelope(jobID, i.Index, now)
	e.TraceID = i.TraceID
	return pipeline.Upload{
		Envelope: e, OriginalFilename: i.OriginalFilename, OriginalPath: i.Original.Path,
		Size: i.Original.Size, ContentType: i.Original.ContentType, SHA256: i.Original.SHA256,
	}
}

// Key names a request of a client, so that the same request sent again makes no
// second job. The zero Key is none.
type Key struct {
	Scope string // whose it is: the name of an API key; empty when there are none
	Name  string // as the client gave it, 255 bytes at most
}

// Viewer is who asks for jobs: the owner of some, or somebody who sees all.
type Viewer struct {
	Owner string // the name of an API key
	All   bool   // an operator's key, or no keys at all
}

// Everybody sees all jobs.
var Everybody = Viewer{All: true}

// Sees reports whether the job is one of the viewer's.
func (v Viewer) Sees(j *Job) bool { return v.All || v.Owner != "" && j.Owner == v.Owner }

// Lease says which gateway may write to a job that is being received or
// fetched. Epoch grows with every claim, so that one that was paused and lost the
// lease is refused. A reservation begins with epoch 1; a job that is created
// without one has epoch 0. Whoever holds owner and epoch holds the lease: its
// end only says from when on another may claim it.
type Lease struct {
	Owner string
	Epoch int64
	Until time.Time
}

// Lease times.
const (
	LeaseTime  = 15 * time.Second
	LeaseRenew = 5 * time.Second
)

// Ref names one image.
type Ref struct {
	JobID string
	Index int
}
