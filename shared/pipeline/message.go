package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"strconv"
	"time"
)

// Version is the newest version of the messages, and the one that a new Upload has.
const Version = 1

// OldestVersion is the oldest version that this code reads: an upgrade goes from one
// version to the next, and messages of both are on the queues meanwhile.
const OldestVersion = max(1, Version-1)

// TraceID names one image of one job for its whole life: 32 lower-case hex
// digits, a valid W3C trace id. It is known before anything is stored.
type TraceID string

// NewTraceID derives the trace id of image index (from 0) of a job: the first 16
// bytes of SHA-256(jobID ‖ decimal index) in hex.
func NewTraceID(jobID string, index int) TraceID {
	sum := sha256.Sum256(strconv.AppendInt([]byte(jobID), int64(index), 10))
	return TraceID(hex.EncodeToString(sum[:16]))
}

// Message is what every message of the pipeline is: it can tell its envelope
// and be copied with another one.
type Message interface {
	Header() Envelope
}

// Envelope is the part that all messages share.
type Envelope struct {
	Version int     `json:"version"`
	JobID   string  `json:"job_id"`
	TraceID TraceID `json:"trace_id"`
	Index   int     `json:"index"` // place in the batch, from 0
	// Attempt counts the tries of the stage that reads the message, from 1 to
	// [MaxAttempts]. It is ours and not the broker's delivery count, which counts
	// deliveries that no code ever saw.
	Attempt   int       `json:"attempt"`
	Timestamp time.Time `json:"timestamp"` // when the message was made, UTC
}

// MaxAttempts is how often one stage tries one image before it fails it.
const MaxAttempts = 5

// NewEnvelope is the envelope of the first attempt at an image.
func NewEnvelope(jobID string, index int, now time.Time) Envelope {
	return Envelope{
		Version: Version, JobID: jobID, TraceID: NewTraceID(jobID, index), Index: index,
		Attempt: 1, Timestamp: now.UTC().Truncate(time.Millisecond),
	}
}

// Header returns the envelope itself, which makes everything that embeds it a
// [Message].
func (e Envelope) Header() Envelope { return e }

// Next is the envelope of what the next stage reads: attempt 1, stamped now. It keeps
// the version, so that whoever has sent a message can read what comes of it.
func (e Envelope) Next(now time.Time) Envelope {
	e.Attempt, e.Timestamp = 1, now.UTC().Truncate(time.Millisecond)
	return e
}

// VersionOf reads the version of a message of which nothing else need be understood.
// It is 0 for what is no message.
func VersionOf(body []byte) int {
	var m struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return 0
	}
	return m.Version
}

// Valid reports whether the envelope names an image.
func (e Envelope) Valid() bool { return e.TraceID.Valid() && e.JobID != "" && e.Index >= 0 }

// LogValue gives the ids that every log line about an image carries.
func (e Envelope) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("job_id", e.JobID), slog.String("trace_id", string(e.TraceID)),
		slog.Int("index", e.Index), slog.Int("attempt", e.Attempt),
	)
}

// Upload tells the analyzer that an original is stored and is to be described.
type Upload struct {
	Envelope
	OriginalFilename string `json:"original_filename"` // as the client gave it
	OriginalPath     string `json:"original_path"`     // key in the store of originals
	Size             int64  `json:"size"`              // bytes
	ContentType      string `json:"content_type"`      // image/jpeg or image/png, by the bytes
	SHA256           string `json:"sha256"`            // of the original, hex
}

// Analysis tells the processor what was found in the original.
type Analysis struct {
	Upload
	Metadata  Metadata `json:"metadata"`
	Thumbnail []byte   `json:"thumbnail"` // JPEG, at most MaxThumbnailBytes
}

// Bounds on what one message carries, in bytes.
const (
	MaxThumbnailBytes = 48 << 10
	MaxMetadataBytes  = 128 << 10
	MaxMessageBytes   = 256 << 10
)

// Status is how an image ended.
type Status string

// The two ends of an image.
const (
	Completed Status = "completed"
	Failed    Status = "failed"
)

// Result tells the gateway how an image ended.
type Result struct {
	Envelope
	Status        Status `json:"status"`
	ProcessedPath string `json:"processed_path,omitempty"` // {trace_id}/{name}, when completed
	Error         string `json:"error,omitempty"`          // for the client, when failed
	ErrorCode     string `json:"error_code,omitempty"`     // one of the Code constants, when failed
	Retryable     bool   `json:"retryable,omitempty"`      // the same image may succeed another time
}

// Ended makes the result of an image that was processed.
func Ended(e Envelope, processedPath string, now time.Time) Result {
	return Result{Envelope: e.Next(now), Status: Completed, ProcessedPath: processedPath}
}

// Result makes the result of an image that failed with f.
func (f *Failure) Result(e Envelope, now time.Time) Result {
	return Result{
		Envelope: e.Next(now), Status: Failed,
		Error: f.Text, ErrorCode: f.Code, Retryable: f.Retryable,
	}
}

// Queue is a work queue whose messages are of one type: publishing another one
// does not compile.
type Queue[M Message] struct{ Name string }

func (q Queue[M]) String() string { return q.Name }

// The three queues of the line.
var (
	ImageUpload       = Queue[Upload]{"image_upload"}
	MetadataGenerated = Queue[Analysis]{"metadata_generated"}
	ImageProcessed    = Queue[Result]{"image_processed"}
)

// JobEvents is the fan-out topic of change notifications.
const JobEvents = "job_events"

// ChangeNotification reports that a job has reached a revision. Its watchers then read the
// store. A notification may be lost, repeated or late without harm.
type ChangeNotification struct {
	JobID    string `json:"job_id"`
	Revision int64  `json:"revision"`
}

// Valid reports whether the trace id has its form.
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
