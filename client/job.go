package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Status is the status of a job or of an image.
type Status string

// The statuses. Only a job can be cancelled: its open images become failed, with the
// error code "cancelled".
const (
	Pending    Status = "pending"
	Processing Status = "processing"
	Completed  Status = "completed" // of a job: at least one image is completed, and none is open
	Failed     Status = "failed"    // of a job: every image is failed
	Cancelled  Status = "cancelled"
)

// Ended reports whether the status is final.
func (s Status) Ended() bool { return s == Completed || s == Failed || s == Cancelled }

// Job is a batch of images.
type Job struct {
	ID          string            `json:"job_id"`
	Status      Status            `json:"status"`
	Total       int               `json:"total_images"`
	Completed   int               `json:"completed"`
	Failed      int               `json:"failed"`
	Uncaptioned int               `json:"uncaptioned,omitempty"` // completed images that should have a caption and have none
	Progress    float64           `json:"progress"`              // 0 to 100
	Images      []JobImage        `json:"images,omitempty"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at,omitzero"`
	CompletedAt time.Time         `json:"completed_at,omitzero"` // zero until the job has ended
	RetryOf     string            `json:"retry_of,omitempty"`    // job whose failed images this job repeats
	Metadata    map[string]string `json:"metadata,omitempty"`    // of [WithMetadata]

	// Message and Warnings are only in the response to Create and Retry. The warnings name custom
	// IDs and metadata that the gateway ignored.
	Message  string   `json:"message,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// JobImage is an image of a job.
type JobImage struct {
	Index            int       `json:"index"`               // position in the batch
	CustomID         string    `json:"custom_id,omitempty"` // of [Image]
	OriginalFilename string    `json:"original_filename"`
	Status           Status    `json:"status"`
	TraceID          string    `json:"trace_id"`
	ProcessedPath    string    `json:"processed_path,omitempty"` // key of the file in object storage
	Error            string    `json:"error,omitempty"`          // why the image is failed
	ErrorCode        string    `json:"error_code,omitempty"`     // the same for programs
	StartTime        time.Time `json:"start_time,omitzero"`      // zero in an event
	EndTime          time.Time `json:"end_time,omitzero"`        // zero in an event
	DurationMS       int64     `json:"duration_ms,omitempty"`    // from the start to the end

	// Uncaptioned reports that the completed image should have a caption and has none, because the
	// model did not answer for example. [Client.Reprocess] asks again.
	Uncaptioned bool `json:"uncaptioned,omitempty"`
}

// Limits are the limits of the gateway for a batch.
type Limits struct {
	MaxImages     int      `json:"max_images"`
	MaxImageBytes int64    `json:"max_image_bytes"`
	Formats       []string `json:"formats"` // jpeg and png
	Keys          bool     `json:"keys"`    // requests need an API key

	// Captions is the model that describes images; nil if there is none.
	Captions *Captions `json:"captions,omitempty"`
}

// Captions names the model to which the gateway's analyzers send reduced copies of images, without
// their metadata. Images whose files have all texts already, and those of [WithCaptions](false), are not sent.
type Captions struct {
	Model  string `json:"model"`            // or several, separated by commas
	Host   string `json:"host"`             // where the model runs, with its port if the URL has one
	Pixels int    `json:"pixels,omitempty"` // long side of a copy; 0 if the gateway does not report it
}

// JobOption is an option of [Client.Create], [Client.Retry] and [Client.Reprocess].
type JobOption func(*jobOptions)

type jobOptions struct {
	key      string
	metadata map[string]string
	captions *bool
}

// WithIdempotencyKey sets the key that identifies the request: 1 to 255 printable ASCII
// characters. The same request with the same key returns the same job, for as long as the gateway keeps
// the job. A program that stores the key before it sends the batch can send the batch again
// after its own crash.
func WithIdempotencyKey(key string) JobOption { return func(o *jobOptions) { o.key = key } }

// WithMetadata attaches up to 16 pairs of texts to the job, of up to 512 bytes each. It is an option of
// Create: other jobs have the metadata of the job that they repeat.
func WithMetadata(pairs map[string]string) JobOption {
	return func(o *jobOptions) { o.metadata = pairs }
}

// WithCaptions chooses whether a vision model may see the images, if the gateway has one. Without this
// option, Create lets it see them, and Reprocess repeats the choice of the job. Retry always does.
func WithCaptions(allowed bool) JobOption {
	return func(o *jobOptions) { o.captions = &allowed }
}

func jobOptionsOf(list []JobOption) jobOptions {
	o := jobOptions{key: NewIdempotencyKey()}
	for _, option := range list {
		option(&o)
	}
	return o
}

// Create sends the images as one batch and returns its new job. If the connection breaks,
// it sends them again, with the same idempotency key.
//
// An image that cannot be read is an [*ImageError]. An image that the gateway refuses fails
// alone: it does not fail the batch.
func (c *Client) Create(ctx context.Context, images []Image, options ...JobOption) (Job, error) {
	o := jobOptionsOf(options)
	if len(images) == 0 {
		return Job{}, errors.New("no images")
	}
	body, err := newForm(images, o)
	if err != nil {
		return Job{}, err
	}
	var job Job
	_, err = c.call(ctx, request{
		method: http.MethodPost, path: []string{"batch"}, body: body, header: http.Header{"Idempotency-Key": {o.key}},
	}, &job)
	if err == nil && job.ID == "" {
		err = errNotJSON
	}
	if err != nil {
		return Job{}, err
	}
	job.Total = len(images)
	if job.Metadata == nil {
		job.Metadata = o.metadata
	}
	return job, nil
}

// Retry creates a job from the failed images of a job that has ended. Metadata is that of
// the job.
func (c *Client) Retry(ctx context.Context, id string, options ...JobOption) (Job, error) {
	o := jobOptionsOf(options)
	var job Job
	_, err := c.call(ctx, request{
		method: http.MethodPost, path: []string{"batch", id, "retry"}, header: http.Header{"Idempotency-Key": {o.key}},
	}, &job)
	return job, err
}

// Reprocess creates a job from images of a job that has ended, completed ones included: from those with the
// given indexes, or with nil from all of them. The images keep their names and custom IDs, and the job its
// metadata. The old job and its results stay as they are.
//
// If a vision model may see the images, it is asked about each one that has no stored answer.
func (c *Client) Reprocess(ctx context.Context, id string, images []int, options ...JobOption) (Job, error) {
	if images != nil && len(images) == 0 { // for the gateway, it would be all of them
		return Job{}, errors.New("no images")
	}
	o := jobOptionsOf(options)
	body, err := json.Marshal(struct {
		Images   []int `json:"images,omitempty"`
		Captions *bool `json:"captions,omitempty"`
	}{images, o.captions})
	if err != nil {
		return Job{}, fmt.Errorf("selection of images: %w", err)
	}
	var job Job
	_, err = c.call(ctx, request{
		method: http.MethodPost, path: []string{"batch", id, "reprocess"}, json: body, header: http.Header{"Idempotency-Key": {o.key}},
	}, &job)
	return job, err
}

// Cancel ends a job and returns its new state. A job that has already ended is an *Error with
// the status 409.
func (c *Client) Cancel(ctx context.Context, id string) (Job, error) {
	var job Job
	attempts, err := c.call(ctx, request{method: http.MethodPost, path: []string{"batch", id, "cancel"}}, &job)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusConflict && attempts > 1 {
		// An earlier attempt, whose response was lost, may have done it.
		if now, getErr := c.Job(ctx, id); getErr == nil && now.Status == Cancelled {
			return now, nil
		}
	}
	return job, err
}

// Job returns the state of a job.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	var job Job
	_, err := c.call(ctx, request{method: http.MethodGet, path: []string{"batch", id}}, &job)
	return job, err
}

// Limits returns the limits of the gateway. It needs no API key.
func (c *Client) Limits(ctx context.Context) (Limits, error) {
	var limits Limits
	_, err := c.call(ctx, request{method: http.MethodGet, path: []string{"limits"}}, &limits)
	return limits, err
}

// ListOptions select jobs. The zero value selects all of them, newest first.
type ListOptions struct {
	Status        []Status  // jobs with one of these statuses
	FailedImages  bool      // jobs with a failed image
	Uncaptioned   bool      // jobs with a completed image that should have a caption and has none
	CreatedAfter  time.Time // jobs that were created then or later
	CreatedBefore time.Time // jobs that were created earlier
	RetryOf       string    // retries of this job
	Owner         string    // jobs of this API key's name
	Upload        string    // jobs whose metadata has this value of upload
	Search        string    // jobs whose ID starts with this text, or with an image whose name or custom ID contains it
	OldestFirst   bool
	WithoutImages bool // leave out Job.Images
	PageSize      int  // jobs in one request, 1 to 1000; the default is 100
}

func (o ListOptions) query() url.Values {
	q := url.Values{}
	set := func(name, value string, given bool) {
		if given {
			q.Set(name, value)
		}
	}
	statuses := make([]string, len(o.Status))
	for i, s := range o.Status {
		statuses[i] = string(s)
	}
	set("status", strings.Join(statuses, ","), len(statuses) > 0)
	set("failed_images", "true", o.FailedImages)
	set("uncaptioned", "true", o.Uncaptioned)
	set("created_after", o.CreatedAfter.Format(time.RFC3339), !o.CreatedAfter.IsZero())
	set("created_before", o.CreatedBefore.Format(time.RFC3339), !o.CreatedBefore.IsZero())
	set("retry_of", o.RetryOf, o.RetryOf != "")
	set("owner", o.Owner, o.Owner != "")
	set("upload", o.Upload, o.Upload != "")
	set("q", o.Search, o.Search != "")
	set("order", "oldest", o.OldestFirst)
	set("view", "summary", o.WithoutImages)
	size := o.PageSize
	if size == 0 {
		size = 100
	}
	q.Set("limit", strconv.Itoa(size))
	return q
}

// List returns an iterator over jobs. It requests a page when the jobs of the previous one have been
// used. An error ends the iteration.
func (c *Client) List(ctx context.Context, options ListOptions) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		query := options.query()
		for {
			var page struct {
				Jobs []Job  `json:"jobs"`
				Next string `json:"next_page_token"`
			}
			if _, err := c.call(ctx, request{method: http.MethodGet, path: []string{"batch"}, query: query}, &page); err != nil {
				yield(Job{}, err)
				return
			}
			for _, job := range page.Jobs {
				if !yield(job, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			if page.Next == query.Get("page_token") {
				yield(Job{}, fmt.Errorf("list repeats the page %q", short(page.Next)))
				return
			}
			query.Set("page_token", page.Next)
		}
	}
}
