package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"time"
)

// Version is the newest version of the messages, and the version of a new Upload.
const Version = 1

// OldestVersion is the oldest version that this code reads. An upgrade raises the
// version by one, and messages of both versions are on the queues in the meantime.
const OldestVersion = max(1, Version-1)

// TraceID identifies one image of one job for its whole life: 32 lower-case hex digits,
// a valid W3C trace ID. It is known before any data is stored.
type TraceID string

// NewTraceID derives the trace ID of image index (from 0) of a job: the first 16 bytes
// of SHA-256(jobID ‖ decimal index) in hex.
func NewTraceID(jobID string, index int) TraceID {
	sum := sha256.Sum256(strconv.AppendInt([]byte(jobID), int64(index), 10))
	return TraceID(hex.EncodeToString(sum[:16]))
}

// Message is a message of the pipeline, which has an Envelope.
type Message interface {
	Header() Envelope
}

// Envelope is the common part of all messages.
type Envelope struct {
	Version int     `json:"version"`
	JobID   string  `json:"job_id"`
	TraceID TraceID `json:"trace_id"`
	Index   int     `json:"index"` // index in the batch, from 0
	// Store is the ID of the job store of the image. Messages of releases before 0.2.0 have none.
	Store string `json:"store,omitempty"`
	// Attempt counts the tries of the stage that reads the message, from 1 to
	// [MaxAttempts]. It is not the broker's delivery count, which includes deliveries
	// that no handler received.
	Attempt   int       `json:"attempt"`
	Timestamp time.Time `json:"timestamp"` // creation time of the message, UTC
}

// MaxAttempts is the number of attempts of one stage before the image fails.
const MaxAttempts = 5

// NewEnvelope returns the envelope of the first attempt at an image.
func NewEnvelope(jobID string, index int, now time.Time) Envelope {
	return Envelope{
		Version: Version, JobID: jobID, TraceID: NewTraceID(jobID, index), Index: index,
		Attempt: 1, Timestamp: now.UTC().Truncate(time.Millisecond),
	}
}

// Header returns the envelope itself, so that every type that embeds it is a [Message].
func (e Envelope) Header() Envelope { return e }

// Next returns the envelope of the message for the next stage: attempt 1, with the
// timestamp now. It keeps the version, so that the sender of a message can read the
// messages that it causes.
func (e Envelope) Next(now time.Time) Envelope {
	e.Attempt, e.Timestamp = 1, now.UTC().Truncate(time.Millisecond)
	return e
}

// VersionOf returns the version of a message that this code may not be able to decode
// otherwise, or 0 if body is not a message.
func VersionOf(body []byte) int {
	var m struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return 0
	}
	return m.Version
}

// Valid reports whether the envelope identifies an image.
func (e Envelope) Valid() bool { return e.TraceID.Valid() && e.JobID != "" && e.Index >= 0 }

// LogValue returns the IDs that every log line about an image has.
func (e Envelope) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("job_id", e.JobID), slog.String("trace_id", string(e.TraceID)),
		slog.Int("index", e.Index), slog.Int("attempt", e.Attempt),
	)
}

// Upload requests the analysis of a stored original.
type Upload struct {
	Envelope
	OriginalFilename string `json:"original_filename"` // as submitted by the client
	OriginalPath     string `json:"original_path"`     // key in the store of originals
	Size             int64  `json:"size"`              // bytes
	ContentType      string `json:"content_type"`      // image/jpeg or image/png, detected from the bytes
	SHA256           string `json:"sha256"`            // SHA-256 of the original, hex

	// Captions is false if the client does not want a model to see the image. Messages of releases
	// before 0.2.0 have none.
	Captions *bool `json:"captions,omitempty"`
	// RemoveCaptions means that the words of a model that are in the original do not get into the outputs. No
	// model sees the image then.
	RemoveCaptions bool `json:"remove_captions,omitempty"`
}

// CaptionsAllowed reports whether the client lets a model see the image.
func (u Upload) CaptionsAllowed() bool {
	return (u.Captions == nil || *u.Captions) && !u.RemoveCaptions
}

// Analysis requests the captioning or the processing of an analyzed original.
type Analysis struct {
	Upload
	Metadata  Metadata `json:"metadata"`
	Thumbnail []byte   `json:"thumbnail"` // JPEG, at most MaxThumbnailBytes

	// Wait is how long the image has waited for its caption. It is zero before the first request.
	Wait CaptionWait `json:"caption_wait,omitzero"`
	// Uncaptioned reports that the image should have a caption and goes on without one.
	Uncaptioned bool `json:"uncaptioned,omitempty"`
}

// CaptionWait is how long an image has waited for a model. The time in the queue before the first
// request does not count, nor does the time spent on our own rate limit.
type CaptionWait struct {
	Counted int64 `json:"counted_ms,omitempty"` // milliseconds that counted before Since
	// Since is the start of the time that counts now, and zero if none does. After [CaptionWait.Pause],
	// it may be in the future.
	Since time.Time `json:"since,omitzero"`
	// Tried is what the last delivery has tried, if it had no time for the rest.
	Tried CaptionTried `json:"tried,omitzero"`
}

// CaptionTried is what was tried for the caption of an image.
type CaptionTried struct {
	Model    string `json:"model,omitempty"`    // the last model that was asked and had no answer; the models after it are next
	Unusable bool   `json:"unusable,omitempty"` // one answer was unusable, so that the next one is the last
}

// Elapsed returns the time that has counted until now.
func (w CaptionWait) Elapsed(now time.Time) time.Duration {
	counted := time.Duration(w.Counted) * time.Millisecond
	if !w.Since.IsZero() {
		counted += now.Sub(w.Since)
	}
	return max(0, counted)
}

// Pause returns the wait of an image that is tried again after d. All of d counts before Since, so that what follows
// Since is the time in the queue.
func (w CaptionWait) Pause(now time.Time, d time.Duration) CaptionWait {
	w.Counted, w.Since = (w.Elapsed(now) + d).Milliseconds(), now.Add(d).UTC().Truncate(time.Millisecond)
	return w
}

// Start returns the wait with a clock that runs.
func (w CaptionWait) Start(now time.Time) CaptionWait {
	if w.Since.IsZero() {
		w.Since = now.UTC().Truncate(time.Millisecond)
	}
	return w
}

// Stop returns the wait with a clock that stands.
func (w CaptionWait) Stop(now time.Time) CaptionWait {
	w.Counted, w.Since = w.Elapsed(now).Milliseconds(), time.Time{}
	return w
}

// Limits on one message, in bytes.
const (
	MaxThumbnailBytes = 48 << 10
	MaxMetadataBytes  = 128 << 10
	MaxMessageBytes   = 256 << 10
)

// Status is the final status of an image in a Result.
type Status string

// The values of Status.
const (
	Completed Status = "completed"
	Failed    Status = "failed"
)

// Result reports the end of an image to the gateway.
type Result struct {
	Envelope
	Status        Status `json:"status"`
	ProcessedPath string `json:"processed_path,omitempty"` // {trace_id}/{name}, when completed
	Error         string `json:"error,omitempty"`          // for the client, when failed
	ErrorCode     string `json:"error_code,omitempty"`     // one of the Code constants, when failed
	Retryable     bool   `json:"retryable,omitempty"`      // the same image may succeed in a later job

	Appearance Appearance `json:"appearance,omitzero"` // when completed; releases before 0.2.0 send none

	// Uncaptioned reports that a completed image has no caption although it should have one.
	Uncaptioned bool `json:"uncaptioned,omitempty"`
}

// Appearance is what the search for similar images needs to know about an image. It is zero if
// the image cannot be compared.
type Appearance struct {
	PHash  string `json:"phash"`  // as in [Metadata]
	Width  int    `json:"width"`  // pixels, as in [Metadata]
	Height int    `json:"height"` // likewise
}

// AppearanceOf returns the appearance of an analyzed image. The hash of a blank image depends on
// its noise, so that it would be similar to any other; its appearance is zero.
func AppearanceOf(m Metadata) Appearance {
	if slices.Contains(m.Flags, "blank") {
		return Appearance{}
	}
	return Appearance{m.PHash, m.Width, m.Height}
}

// Hash returns the bits of the perceptual hash. It reports false if the appearance is zero or
// malformed.
func (a Appearance) Hash() (bits uint64, ok bool) {
	if len(a.PHash) != 16 || a.Width <= 0 || a.Height <= 0 {
		return 0, false
	}
	bits, err := strconv.ParseUint(a.PHash, 16, 64)
	return bits, err == nil
}

// Ended returns the result of a processed image.
func Ended(e Envelope, processedPath string, now time.Time) Result {
	return Result{Envelope: e.Next(now), Status: Completed, ProcessedPath: processedPath}
}

// Result returns the result of an image that failed with f.
func (f *Failure) Result(e Envelope, now time.Time) Result {
	return Result{
		Envelope: e.Next(now), Status: Failed,
		Error: f.Text, ErrorCode: f.Code, Retryable: f.Retryable,
	}
}

// Queue is a work queue with messages of one type. Publishing a message of another type
// does not compile.
type Queue[M Message] struct{ Name string }

func (q Queue[M]) String() string { return q.Name }

// The queues of the pipeline.
var (
	ImageUpload       = Queue[Upload]{"image_upload"}
	ImageDescribed    = Queue[Analysis]{"image_described"} // only if captioning is on
	MetadataGenerated = Queue[Analysis]{"metadata_generated"}
	ImageProcessed    = Queue[Result]{"image_processed"}
)

// WorkQueues returns the names of the queues of the pipeline, in the order of the steps.
func WorkQueues() []string {
	return []string{ImageUpload.Name, ImageDescribed.Name, MetadataGenerated.Name, ImageProcessed.Name}
}

// JobEvents is the fan-out topic of change notifications.
const JobEvents = "job_events"

// ChangeNotification reports that a job has reached a revision. Its watchers then read the
// store. A notification may be lost, repeated or late without harm.
type ChangeNotification struct {
	JobID    string `json:"job_id"`
	Revision int64  `json:"revision"`
}

// Valid reports whether id has the format of a trace ID.
func (id TraceID) Valid() bool {
	if len(id) != 32 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
