package deadletters

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// deadLetter is a dead letter with what was parsed of its message.
type deadLetter struct {
	broker.Letter
	queue    string // work queue
	envelope pipeline.Envelope
	filename string
	fault    string // reason why the message cannot be processed, or empty
}

// read parses the members that the messages of all versions have in common.
func read(queue string, found broker.Letter) deadLetter {
	l := deadLetter{Letter: found, queue: queue}
	var m struct {
		pipeline.Envelope
		OriginalFilename string `json:"original_filename"`
	}
	err := json.Unmarshal(found.Body, &m)
	l.envelope, l.filename = m.Envelope, m.OriginalFilename
	switch {
	case err != nil:
		l.fault = "invalid message: " + err.Error()
	case !m.Valid():
		l.fault = "invalid message: it identifies no image"
	case m.Version > pipeline.Version || m.Version < pipeline.OldestVersion:
		l.fault = fmt.Sprintf("unsupported message version %d", m.Version)
	}
	return l
}

// when returns the time of death that the broker reports, or else the message's time.
func (l deadLetter) when() time.Time {
	if len(l.Deaths) > 0 {
		return l.Deaths[0].At
	}
	return l.envelope.Timestamp
}

// why returns the reason of the death. A dead letter without a recorded death was
// published by the stage that read it.
func (l deadLetter) why() string {
	switch {
	case len(l.Deaths) > 0:
		d := l.Deaths[0]
		reason := d.Reason + " in " + d.Queue
		if d.Count > 1 {
			reason += ", " + strconv.FormatInt(d.Count, 10) + " times"
		}
		return reason
	case l.fault != "":
		return l.fault
	case l.envelope.Attempt >= pipeline.MaxAttempts:
		return fmt.Sprintf("failed %d times", l.envelope.Attempt)
	}
	return "unknown"
}

// renewed returns the message as a new one for its work queue. It keeps members that
// this version does not know.
func (l deadLetter) renewed(now time.Time) (broker.Message, error) {
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
