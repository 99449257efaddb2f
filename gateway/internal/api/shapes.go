package api

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
)

// The JSON of the API, in the order of docs/batch-api.md. Absent members are left out.

type errorJSON struct {
	Error  string `json:"error"`
	Status int    `json:"status"`
}

type createdJSON struct {
	JobID     string     `json:"job_id"`
	Status    job.Status `json:"status"`
	CreatedAt time.Time  `json:"created_at"`
	Message   string     `json:"message"`
	RetryOf   string     `json:"retry_of,omitempty"`
	Warnings  []string   `json:"warnings,omitempty"`
}

type jobJSON struct {
	JobID       string      `json:"job_id"`
	Status      job.Status  `json:"status"`
	TotalImages int         `json:"total_images"`
	Completed   int         `json:"completed"`
	Failed      int         `json:"failed"`
	Uncaptioned int         `json:"uncaptioned,omitempty"` // completed images that should have a caption and have none
	Progress    percent     `json:"progress"`
	Images      []imageJSON `json:"images,omitzero"` // nil in a summary
	CreatedAt   time.Time   `json:"created_at"`
	UpdatedAt   time.Time   `json:"updated_at"`
	CompletedAt time.Time   `json:"completed_at,omitzero"`
	RetryOf     string      `json:"retry_of,omitempty"`

	Metadata map[string]string `json:"metadata,omitempty"`
}

type imageJSON struct {
	Index            int        `json:"index"`
	CustomID         string     `json:"custom_id,omitempty"`
	OriginalFilename string     `json:"original_filename"`
	Status           job.Status `json:"status"`
	TraceID          string     `json:"trace_id"`
	ProcessedPath    string     `json:"processed_path,omitempty"`
	Error            string     `json:"error,omitempty"`
	ErrorCode        string     `json:"error_code,omitempty"`
	StartTime        time.Time  `json:"start_time,omitzero"`
	EndTime          time.Time  `json:"end_time,omitzero"`
	DurationMS       *int64     `json:"duration_ms,omitempty"` // set when the image has ended
	Uncaptioned      bool       `json:"uncaptioned,omitempty"` // it should have a caption and has none
}

// limitsJSON is what a client must know before it sends a batch.
type limitsJSON struct {
	MaxImages     int      `json:"max_images"`
	MaxImageBytes int64    `json:"max_image_bytes"`
	Formats       []string `json:"formats"`
	Keys          bool     `json:"keys"` // requests need an API key

	Captions *captionsJSON `json:"captions,omitempty"` // nil: captions are off
}

// captionsJSON says which model sees the images, where, and how large.
type captionsJSON struct {
	Model  string `json:"model"`
	Host   string `json:"host"`
	Pixels int    `json:"pixels"` // long side
}

// keyJSON is what an API key may do.
type keyJSON struct {
	Name     string `json:"name,omitempty"` // absent without API keys
	Operator bool   `json:"operator"`
	Captions bool   `json:"captions"` // a model may see its images
}

type eventJSON struct {
	Type        progress.Kind `json:"type"`
	JobID       string        `json:"job_id"`
	Status      job.Status    `json:"status"`
	Progress    percent       `json:"progress"`
	Completed   int           `json:"completed"`
	Failed      int           `json:"failed"`
	TotalImages int           `json:"total_images"`
	Image       *imageJSON    `json:"image,omitempty"`
	Timestamp   time.Time     `json:"timestamp"`

	Metadata map[string]string `json:"metadata,omitempty"` // of the job
}

func jobShape(j *job.Job) jobJSON {
	images := make([]imageJSON, len(j.Images))
	for i := range j.Images {
		img := &j.Images[i]
		images[i] = imageShape(img)
		images[i].StartTime, images[i].EndTime = second(img.StartTime), second(img.EndTime)
		if !img.EndTime.IsZero() {
			took := img.EndTime.Sub(img.StartTime).Milliseconds()
			images[i].DurationMS = &took
		}
	}
	return jobJSON{
		JobID: j.ID, Status: j.Status, TotalImages: j.Total, Completed: j.Completed, Failed: j.Failed, Uncaptioned: j.Uncaptioned,
		Progress: percent(j.Progress()), Images: images,
		CreatedAt: second(j.CreatedAt), UpdatedAt: second(j.UpdatedAt), CompletedAt: second(j.CompletedAt),
		RetryOf: j.RetryOf, Metadata: j.Metadata,
	}
}

// imageShape returns an image without its times, as in an event.
func imageShape(img *job.Image) imageJSON {
	return imageJSON{
		Index: img.Index, CustomID: img.CustomID, OriginalFilename: img.OriginalFilename, Status: img.Status, TraceID: string(img.TraceID),
		ProcessedPath: img.ProcessedPath, Error: img.Error, ErrorCode: img.ErrorCode, Uncaptioned: img.Captions == job.CaptionsMissing,
	}
}

// eventShape returns one frame. Its timestamp is the time of the reported change, so that
// all watchers get the same.
func eventShape(e progress.Event) eventJSON {
	shape := eventJSON{
		Type: e.Kind, JobID: e.Job.ID, Status: e.Job.Status, Progress: percent(e.Job.Progress()),
		Completed: e.Job.Completed, Failed: e.Job.Failed, TotalImages: e.Job.Total, Timestamp: second(e.Job.UpdatedAt),
		Metadata: e.Job.Metadata,
	}
	if e.Image != nil {
		img := imageShape(e.Image)
		shape.Image = &img
	}
	return shape
}

// second returns a time as the API formats it, in whole seconds of UTC:
// 2025-11-18T10:30:15Z.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// percent is a number that is formatted with one or two decimals: 50.0, 66.67.
type percent float64

// MarshalJSON implements json.Marshaler.
func (p percent) MarshalJSON() ([]byte, error) {
	s := strconv.FormatFloat(math.Round(float64(p)*100)/100, 'f', 2, 64)
	return []byte(strings.TrimSuffix(s, "0")), nil
}
