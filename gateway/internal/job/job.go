// Package job is the gateway's domain: batch jobs, their images, their status transitions, and
// the errors of the job store.
//
// A status only moves forward (pending, processing, then a final status), the first final
// status wins, and the counters of a job always equal the states of its images. Every change
// of an image gives its job the next revision, and the image keeps the revision of its last
// change, so a reader that has seen revision r catches up by reading the images with a higher
// revision.
//
// The package does not depend on HTTP, SQL or the broker.
package job

import (
	"math"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Status is the status of a job or of an image.
type Status string

// The statuses. Receiving is a job whose request is still being read: it owns its stored
// objects and is not in any response. Only jobs can be Cancelled.
const (
	Receiving  Status = "receiving"
	Pending    Status = "pending"
	Processing Status = "processing"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Cancelled  Status = "cancelled"
)

// Ended reports whether the status is final.
func (s Status) Ended() bool { return s == Completed || s == Failed || s == Cancelled }

// Job is one batch. Reads may return it with only some of its images.
type Job struct {
	ID        string // a random UUID
	Status    Status
	Total     int // number of images
	Completed int
	Failed    int

	Uncaptioned int // completed images that should have a caption and have none

	Revision int64 // revision of the last change; the first is 1

	CreatedAt   time.Time
	UpdatedAt   time.Time
	CompletedAt time.Time // zero while open

	RetryOf     string // ID of the job whose images these are; empty for a batch
	Fingerprint string // fingerprint of a request with a Key
	Owner       string // name of the API key that created it; empty without API keys
	Origin      string // trace context of the request, stored for the tracer; empty without one

	Metadata map[string]string // what the client keeps with the job, within the limits of custom.go
	Warnings []string          // about the request, for its response

	Lease         Lease // which gateway receives its request or fetches its URLs
	OriginalsGone bool  // retention has deleted the originals

	Images []Image
}

// Progress returns the percentage of images that have ended, rounded to two decimals.
func (j *Job) Progress() float64 {
	if j.Total == 0 {
		return 0
	}
	return math.Round(float64(j.Completed+j.Failed)/float64(j.Total)*100*100) / 100
}

// Image is one image of a job.
type Image struct {
	Index            int // index in the batch, from 0
	TraceID          pipeline.TraceID
	OriginalFilename string // sent by the client, or derived from the URL
	KeyName          string // the same name, safe as the last part of an object key
	URL              string // URL to fetch; empty for an inline image
	Headers          Headers
	Captions         Captions
	RemoveCaptions   bool   // a model's words in the original do not get into the results; Captions is off then
	CustomID         string // what the client calls the image; at most MaxCustomIDBytes

	Status   Status
	Original Original // zero until the original is stored

	ProcessedPath string // if completed
	Appearance    pipeline.Appearance
	Error         string // if failed
	ErrorCode     string
	Retryable     bool

	StartTime time.Time // zero while pending
	EndTime   time.Time // zero while open
	Revision  int64     // the job's revision at this image's last change

	// Unsent is true while the image's Upload must be published. Send counts how often it was
	// marked unsent, so that a late confirm of an earlier publish is not taken for the
	// current one.
	Unsent bool
	Send   int64
}

// Captions is what is known about the caption of an image.
type Captions string

// The values of Captions.
const (
	CaptionsUsual   Captions = ""        // a model may see the image, if captioning is on
	CaptionsOff     Captions = "off"     // the client or its API key does not want a model to see the image
	CaptionsMissing Captions = "missing" // the image is completed; it should have a caption and has none
)

// Original is a stored original.
type Original struct {
	Path        string // object key in the store of originals
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

// Upload returns the message that requests the analysis of the image.
func (i *Image) Upload(jobID string, now time.Time) pipeline.Upload {
	e := pipeline.NewEnvelope(jobID, i.Index, now)
	e.TraceID = i.TraceID
	u := pipeline.Upload{
		Envelope: e, OriginalFilename: i.OriginalFilename, OriginalPath: i.Original.Path,
		Size: i.Original.Size, ContentType: i.Original.ContentType, SHA256: i.Original.SHA256,
	}
	if i.Captions == CaptionsOff {
		u.Captions = new(bool)
	}
	u.RemoveCaptions = i.RemoveCaptions
	return u
}

// Key identifies a client's request, so that sending it again creates no second job. The zero
// Key means no key.
type Key struct {
	Scope string // name of the client's API key; empty without API keys
	Name  string // as sent by the client; at most 255 bytes
}

// Viewer is a client that requests jobs: the owner of some jobs, or a client that sees all jobs.
type Viewer struct {
	Owner string // the name of an API key
	All   bool   // an operator's key, or no keys at all
}

// Everybody is the Viewer of a client that sees all jobs.
var Everybody = Viewer{All: true}

// Sees reports whether the viewer may see the job.
func (v Viewer) Sees(j *Job) bool { return v.All || v.Owner != "" && j.Owner == v.Owner }

// Lease defines which gateway may write to a job that is being received or fetched. Epoch
// grows with every claim, so a gateway that was paused and lost the lease is rejected. A
// reservation starts with epoch 1; a job created without one has epoch 0. The gateway that
// matches owner and epoch holds the lease. Until only limits when another
// gateway may claim it.
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

// Ref identifies one image.
type Ref struct {
	JobID string
	Index int
}
