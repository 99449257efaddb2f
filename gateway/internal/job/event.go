package job

import (
	"bytes"
	"encoding/json"
	"time"
)

// event is the body of a message.
type event struct {
	Type      EventType `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      any       `json:"data"`
}

// dueNow is due by any clock, also by one that was set back.
var dueNow = time.UnixMicro(1).UTC()

// endEvent is the data of a message about the end of a job.
type endEvent struct {
	JobID       string            `json:"job_id"`
	Status      Status            `json:"status"`
	TotalImages int               `json:"total_images"`
	Completed   int               `json:"completed"`
	Failed      int               `json:"failed"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// EndMessage returns the message about the end of the job, without its webhook. Its ID depends
// on the job only, because a job ends once.
func EndMessage(j *Job) Delivery {
	e := event{EventOf(j.Status), j.CompletedAt, endEvent{j.ID, j.Status, j.Total, j.Completed, j.Failed, j.Metadata}}
	return Delivery{
		Message: "msg_" + j.ID, Type: e.Type, JobID: j.ID, Body: e.encode(), Origin: j.Origin,
		CreatedAt: j.CompletedAt, NextAt: dueNow,
	}
}

// TestMessage returns a message that a client requests to test a webhook. id is unique.
func TestMessage(webhook, id string, now time.Time) Delivery {
	e := event{WebhookTest, now, struct {
		WebhookID string `json:"webhook_id"`
	}{webhook}}
	return Delivery{Webhook: webhook, Message: "msg_" + id, Type: e.Type, Body: e.encode(), CreatedAt: now, NextAt: dueNow}
}

// encode returns the body, with the time in whole seconds of UTC like all times of the API.
func (e event) encode() string {
	e.Timestamp = e.Timestamp.UTC().Truncate(time.Second)
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(e) // never fails for these types
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
