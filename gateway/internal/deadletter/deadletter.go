// Package deadletter reads and replays dead letters, the messages that no service could process,
// for the command `gateway dead-letters` and for the API.
//
// Nearly every dead letter has a copy in dead_results, with which the gateway has ended its image
// as failed. An ended job never changes, so the dead letter of such an image is replayed through
// the retry of its job: all failed images of the old job become one new job, however many dead
// letters the job has. The message of an image that is still open is published to its work queue
// again as a new one, with attempt 1 and without its old headers. The dead letter of an image that
// has completed has no work left.
//
// The package removes no dead letters. Its callers ack one only after its replay is durable: the
// new job exists, or the broker has confirmed the message. A replay that was killed before that is
// repeated without further effect, because the Idempotency-Key of the retry is derived from the
// job's ID alone, and a message that is published twice has the same effect as one.
package deadletter

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Queues are the names of the work queues, each of which has a dead-letter queue.
var Queues = pipeline.WorkQueues()

// Queue returns the work queue that a name of it or of its dead-letter queue means, and whether
// there is one.
func Queue(name string) (string, bool) {
	name = strings.TrimSuffix(name, broker.DeadQueue(""))
	return name, slices.Contains(Queues, name)
}

// Letter is a dead letter with what was parsed of its message.
type Letter struct {
	broker.Letter
	Queue    string // work queue
	Envelope pipeline.Envelope
	Filename string
	Fault    string // reason why the message cannot be processed, or empty
}

// Parse reads the members that the messages of all versions have in common.
func Parse(queue string, found broker.Letter) Letter {
	l := Letter{Letter: found, Queue: queue}
	var m struct {
		pipeline.Envelope
		OriginalFilename string `json:"original_filename"`
	}
	err := json.Unmarshal(found.Body, &m)
	l.Envelope, l.Filename = m.Envelope, m.OriginalFilename
	switch {
	case err != nil:
		l.Fault = "invalid message: " + err.Error()
	case !m.Valid():
		l.Fault = "invalid message: it identifies no image"
	case m.Version > pipeline.Version || m.Version < pipeline.OldestVersion:
		l.Fault = fmt.Sprintf("unsupported message version %d", m.Version)
	}
	return l
}

// DiedAt returns the time of death that the broker reports, or else the message's time.
func (l Letter) DiedAt() time.Time {
	if len(l.Deaths) > 0 {
		return l.Deaths[0].At
	}
	return l.Envelope.Timestamp
}

// Reason returns the reason of the death. A dead letter without a recorded death was
// published by the stage that read it.
func (l Letter) Reason() string {
	switch {
	case len(l.Deaths) > 0:
		d := l.Deaths[0]
		reason := d.Reason + " in " + d.Queue
		if d.Count > 1 {
			reason += ", " + strconv.FormatInt(d.Count, 10) + " times"
		}
		return reason
	case l.Fault != "":
		return l.Fault
	case l.Envelope.Attempt >= pipeline.MaxAttempts:
		return fmt.Sprintf("failed %d times", l.Envelope.Attempt)
	}
	return "unknown"
}

// Entry is a dead letter in a JSON output.
type Entry struct {
	Queue    string    `json:"queue"`
	DiedAt   time.Time `json:"died_at,omitzero"`
	JobID    string    `json:"job_id,omitempty"`
	TraceID  string    `json:"trace_id,omitempty"`
	Index    int       `json:"index"`
	Filename string    `json:"original_filename,omitempty"`
	Attempt  int       `json:"attempt"`
	Reason   string    `json:"reason"`
	Fault    string    `json:"not_understood,omitempty"`
	Bytes    int       `json:"bytes"`
}

// Entry returns the dead letter for a JSON output.
func (l Letter) Entry() Entry {
	return Entry{
		l.Queue, l.DiedAt(), l.Envelope.JobID, string(l.Envelope.TraceID), l.Envelope.Index, l.Filename,
		l.Envelope.Attempt, l.Reason(), l.Fault, len(l.Body),
	}
}

// renewed returns the message as a new one for its work queue. It keeps members that
// this version does not know.
func (l Letter) renewed(now time.Time) (broker.Message, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(l.Body, &members); err != nil {
		return broker.Message{}, fmt.Errorf("renew message: %w", err)
	}
	stamp, err := json.Marshal(l.Envelope.Next(now).Timestamp)
	if err != nil {
		return broker.Message{}, fmt.Errorf("renew message: %w", err)
	}
	members["attempt"], members["timestamp"] = json.RawMessage("1"), stamp
	body, err := json.Marshal(members)
	if err != nil {
		return broker.Message{}, fmt.Errorf("renew message: %w", err)
	}
	return broker.Message{Body: body, Headers: map[string]string{
		"traceparent": pipeline.Carried(pipeline.Traceparent(l.Envelope.TraceID), l.Headers["traceparent"]),
	}}, nil
}
