package job

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Errors of the webhooks in the job store.
var (
	ErrNoWebhook       = errors.New("webhook not found")
	ErrTooManyWebhooks = errors.New("too many webhooks")
	ErrWebhookListed   = errors.New("webhook is listed in a file") // only a change of the file changes it
	ErrWebhookDisabled = errors.New("webhook is disabled")
)

// EventType is the type of the message that a webhook receives.
type EventType string

// The types of messages. A client requests WebhookTest itself.
const (
	JobCompleted EventType = "job.completed"
	JobFailed    EventType = "job.failed"
	JobCancelled EventType = "job.cancelled"
	WebhookTest  EventType = "webhook.test"
)

// EventTypes are the types that a webhook may select.
var EventTypes = []EventType{JobCompleted, JobFailed, JobCancelled}

// EventOf returns the type of the message about the end of a job with this status.
func EventOf(s Status) EventType { return EventType("job." + string(s)) }

// MaxWebhooks is the maximum number of webhooks that one name of API keys may create.
const MaxWebhooks = 10

// Webhook is a URL that receives a message when a job ends.
type Webhook struct {
	ID     string // a UUID
	Owner  string // receives the jobs of this name; empty: all jobs, if it is listed
	URL    string
	Events []EventType
	Secret Secret
	// OldSecret signs as well until OldUntil.
	OldSecret Secret
	OldUntil  time.Time
	Listed    bool // from a file of the operator; the others were created with an API key

	CreatedAt      time.Time
	FailingSince   time.Time // first failed attempt after the last successful one; zero if there is none
	DisabledAt     time.Time // zero while enabled
	DisabledReason string
}

// SeesWebhook reports whether the viewer may see the webhook.
func (v Viewer) SeesWebhook(w *Webhook) bool {
	return v.All || v.Owner != "" && w.Owner == v.Owner && !w.Listed
}

// Secret is the key with which the messages of a webhook are signed, in the form whsec_ and
// base64. It is never printed.
type Secret string

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }

// Format writes a placeholder for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.shown()) }

// MarshalText returns the same placeholder for encoders and the log.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }

func (s Secret) shown() string { return Headers(s).shown() }

// Delivery is one message for one webhook.
type Delivery struct {
	Seq     int64     // order of creation
	Webhook string    // ID of the webhook
	Message string    // the webhook-id header: the same in every attempt
	Type    EventType // of the message
	JobID   string    // empty for a test
	Body    string    // the body, byte for byte
	Origin  string    // trace context of the request that created the job

	CreatedAt time.Time
	Attempts  int // that have ended
	LastAt    time.Time
	// LastStatus is the status of the last response, or 0 if there was none.
	LastStatus int
	LastError  string    // empty after a success
	NextAt     time.Time // when the next attempt is due, or when the lease of the current one ends; zero after the end
	EndedAt    time.Time // zero while pending
	Delivered  bool

	Epoch int64 // grows with every claim: only the last one may record an attempt
}

// Attempt is the outcome of one attempt to deliver a message.
type Attempt struct {
	At        time.Time
	Delivered bool
	Status    int    // 0 without a response
	Error     string // why it failed; a client may see it
	Next      time.Time
	// Disable is why the webhook must be disabled, or empty.
	Disable string
}

// WebhookFailTime is how long all attempts of a webhook must have failed for it to be disabled.
const WebhookFailTime = 5 * 24 * time.Hour

// What is kept of the deliveries of a webhook.
const (
	DeliveryRetention = 7 * 24 * time.Hour // after the end of a delivery
	MaxDeliveries     = 10_000             // of one webhook
)
