package deadletters

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// letter is a dead letter as far as it is understood.
type letter struct {
	broker.Letter
	queue    string // the work queue
	envelope pipeline.Envelope
	filename string
	fault    string // why it is not understood; empty when it is
}

// read reads what all messages have in common, of whatever version.
func read(queue string, found broker.Letter) letter {
	l := letter{Letter: found, queue: queue}
	var m struct {
		pipeline.Envelope
		OriginalFilename string `json:"original_filename"`
	}
	err := json.Unmarshal(found.Body, &m)
	l.envelope, l.filename = m.Envelope, m.OriginalFilename
	switch {
	case err != nil:
		l.fault = "no message: " + err.Error()
	case !m.Valid():
		l.fault = "no message: it names no image"
	case m.Version > pipeline.Version || m.Version < pipeline.OldestVersion:
		l.fault = fmt.Sprintf("message version %d is not known", m.Version)
	}
	return l
}

// when is the time of death as the broker tells it, else that of the message.
func (l letter) when() time.Time {
	if len(l.Deaths) > 0 {
		return l.Deaths[0].At
	}
	return l.envelope.Timestamp
}

// why is the reason of the death. A letter that tells of no death was put here by
// the stage that read it.
func (l letter) why() string {
	switch {
	case len(l.Deaths) > 0:
		d := l.Deaths[0]
		why := d.Reason + " in " + d.Queue
		if d.Count > 1 {
			why += ", " + strconv.FormatInt(d.Count, 10) + " times"
		}
		return why
	case l.fault != "":
		return l.fault
	case l.envelope.Attempt >= pipeline.MaxAttempts:
		return fmt.Sprintf("went wrong %d times", l.envelope.Attempt)
	}
	return "unknown"
}

// renewed is the message as a new one, for its work queue. Members that this
// version does not know stay.
func (l letter) renewed(now time.Time) (broker.Message, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(l.Body, &members); err != nil {
		return broker.Message{}, fmt.Errorf("renew message: %w", err)
	}
	stamp, err := json.Marshal(l.envelope.Next(now).Timestamp)
	if err != nil {
		return broker.Message{}, fmt.Errorf("renew message: %w", err)
	}
	members["attempt"], members["timestamp"] = json.RawMessage("1"), stamp
	body, err := json.Marshal(members)
	if err != nil {
		return broker.Message{}, fmt.Errorf("renew message: %w", err)
	}
	return broker.Message{Body: body, Headers: map[string]string{
		"traceparent": pipeline.Carried(pipeline.Traceparent(l.envelope.TraceID), l.Headers["traceparent"]),
	}}, nil
}
