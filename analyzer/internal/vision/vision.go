// Package vision asks a vision model what an image shows, through any API that is compatible with OpenAI's chat
// completions.
//
// It guarantees that every text of an answer is bounded, valid UTF-8 and free of control and other invisible
// characters, that answers are never logged, that the API key is sent only to the configured URL and never printed,
// and that each request has a timeout and a bounded response. A model's faults are of two types: [Unavailable]
// asks the caller to try later, and [Uncaptioned] to continue without a caption. It does not store answers; the
// caller does.
package vision

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Answer is what a model wrote about one image, cleaned and bounded, and what it cost.
type Answer struct {
	Model            string   `json:"model"`    // as configured
	Language         string   `json:"language"` // BCP 47 tag, as configured
	Title            string   `json:"title"`
	Description      string   `json:"description"`
	Keywords         []string `json:"keywords"`
	AltText          string   `json:"alt_text"`
	DurationMS       int      `json:"duration_ms"`       // of all requests that the answer needed
	PromptTokens     int      `json:"prompt_tokens"`     // of all requests that the answer needed
	CompletionTokens int      `json:"completion_tokens"` // of all requests that the answer needed
}

// Config specifies the models and how to ask them. The analyzer's configuration has validated it.
type Config struct {
	URL               service.SecretURL // base URL of the API
	APIKey            service.Secret    // "": no Authorization header
	Models            []string          // the first available one is asked
	Language          string            // BCP 47 tag
	Prompt            string            // template; "": [DefaultPrompt]
	Pixels            int               // long side of the image that is sent; only part of the hash of [Client.Request]
	Keywords          int               // maximum number of keywords
	Concurrency       int               // requests in flight
	RequestsPerMinute int               // 0: unlimited
	RequestsPerDay    int               // 0: unlimited
	Timeout           time.Duration     // of one request
	MaxTokens         int               // of one answer
	Extra             json.RawMessage   // object that is merged into each request; empty: nothing
}

// Deps are the dependencies of a Client.
type Deps struct {
	Log     *slog.Logger
	Metrics *telemetry.Registry
	Traces  *telemetry.Tracer // may be nil
	Roots   *x509.CertPool    // nil: the system's
	Now     func() time.Time  // nil: time.Now

	// Observe is called with each request and its response, which contain the image and the answer. It is for a person
	// who tries a model; nil in a service. status is 0 if there was no response.
	Observe func(request []byte, status int, response []byte)
}

// Unavailable is the error of an image that no model could be asked about now. The image is not at fault.
type Unavailable struct {
	Reason string        // for the log
	After  time.Duration // the earliest time from now at which asking again makes sense
	Own    bool          // our own limit was the only reason: of the rate, or of the time for one call
	Tried  Tried         // for the next call about the image

	First  time.Time     // time of the first request of this call; zero: none was sent
	Waited time.Duration // part of this call that was spent waiting for our own limits
}

func (e *Unavailable) Error() string {
	return fmt.Sprintf("no vision model is available: %s; try again after %s", e.Reason, e.After)
}

// Tried is what calls about an image have tried that had no time for the rest. The next call continues there.
type Tried struct {
	Model    string // the last model that was asked and had no answer; the models after it are next
	Unusable bool   // one answer was unusable, so that the next one is the last
}

// Uncaptioned is the error of an image that has to continue without a caption.
type Uncaptioned struct {
	Reason string // one of the Reason constants
	Detail string // for the log; never part of an answer
}

func (e *Uncaptioned) Error() string {
	if e.Detail == "" {
		return "not captioned: " + e.Reason
	}
	return "not captioned: " + e.Reason + ": " + e.Detail
}

// The reasons for which an image continues without a caption, as [Client.NotCaptioned] counts them.
const (
	ReasonRefused       = "refused"       // the model refused to describe the image
	ReasonUnusable      = "unusable"      // two answers could not be used
	ReasonRejected      = "rejected"      // the API rejected the request for this image
	ReasonConfiguration = "configuration" // key, money, URL or model is wrong
	ReasonTimeout       = "timeout"       // no model was available within CAPTION_MAX_WAIT
	ReasonStore         = "store"         // the store of answers failed for CAPTION_MAX_WAIT
	ReasonDisabled      = "disabled"      // captions are off, or the client opted out
	ReasonComplete      = "complete"      // the file already has all fields that a model may fill
	ReasonUnreadable    = "unreadable"    // the original is gone or cannot be decoded again
)

var reasons = []string{
	ReasonRefused, ReasonUnusable, ReasonRejected, ReasonConfiguration, ReasonTimeout, ReasonStore, ReasonDisabled, ReasonComplete, ReasonUnreadable,
}
