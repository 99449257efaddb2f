package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// EventType is the type of an [Event].
type EventType string

// The types of events.
const (
	ProgressEvent      EventType = "progress"
	ImageCompleteEvent EventType = "image_complete" // an image is completed or failed
	JobCompleteEvent   EventType = "job_complete"   // the job has ended; the last event
)

// Event is a change of a job.
type Event struct {
	Type      EventType         `json:"type"`
	JobID     string            `json:"job_id"`
	Status    Status            `json:"status"`
	Progress  float64           `json:"progress"` // 0 to 100
	Completed int               `json:"completed"`
	Failed    int               `json:"failed"`
	Total     int               `json:"total_images"`
	Image     *JobImage         `json:"image,omitempty"` // of ImageCompleteEvent
	Timestamp time.Time         `json:"timestamp"`
	Metadata  map[string]string `json:"metadata,omitempty"` // of the job
}

// Watch returns an iterator over the events of a job, from its current state to
// [JobCompleteEvent]. Each image that ends, or has ended already, has one [ImageCompleteEvent].
//
// The events arrive as server-sent events. After a broken connection, Watch continues where it
// stopped. If the gateway has no such events, or a proxy holds them back, Watch requests the
// state of the job again and again, and each request waits for a change.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w := &watch{c: c, id: id, seen: map[int]bool{}, yield: yield}
		err := w.stream(ctx)
		if errors.Is(err, errNoStream) {
			err = w.poll(ctx)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Event{}, err)
		}
	}
}

// Wait waits until a job has ended, and returns its state.
func (c *Client) Wait(ctx context.Context, id string) (Job, error) {
	for _, err := range c.Watch(ctx, id) {
		if err != nil {
			return Job{}, err
		}
	}
	return c.Job(ctx, id)
}

var (
	errStopped  = errors.New("caller has stopped the iteration")
	errNoStream = errors.New("no server-sent events")
)

// watch is one run of Watch.
type watch struct {
	c     *Client
	id    string
	seen  map[int]bool // images with an event
	yield func(Event, error) bool
	last  string        // ID of the last event
	retry time.Duration // time before the next connection, as the gateway prefers
}

// emit passes an event on, except one that the caller has got already.
func (w *watch) emit(e Event) error {
	if e.Image != nil {
		if w.seen[e.Image.Index] {
			return nil
		}
		w.seen[e.Image.Index] = true
	}
	if !w.yield(e, nil) {
		return errStopped
	}
	return nil
}

// silent is the number of connections without a byte after which Watch polls instead.
const silent = 3

// stream reads server-sent events until the job has ended, with as many connections as
// needed.
func (w *watch) stream(ctx context.Context) error {
	w.retry = 2 * time.Second
	for failed := 0; ; {
		any, err := w.connect(ctx)
		if any {
			failed = 0
		}
		if err == nil || errors.Is(err, errStopped) || errors.Is(err, errNoStream) || errors.Is(err, errLongLine) || errors.Is(err, errNotJSON) {
			return err
		}
		failed++
		if _, refused := errors.AsType[*Error](err); !refused && failed == silent && ctx.Err() == nil {
			return errNoStream // a proxy may hold back the stream
		}
		if any { // it worked until now
			err = w.c.sleep(ctx, w.retry/2+rand.N(w.retry))
		} else {
			err = w.c.pause(ctx, err, failed)
		}
		if err != nil {
			return err
		}
	}
}

// connect reads one stream. It returns nil if the job has ended, and reports whether anything
// arrived.
func (w *watch) connect(ctx context.Context) (any bool, err error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if w.last != "" {
		header.Set("Last-Event-ID", w.last)
	}
	resp, err := w.c.send(ctx, request{method: http.MethodGet, path: []string{"batch", w.id, "events"}, header: header})
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
			return false, errNoStream // or no job, which polling finds out
		}
	}
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return true, nil
	}
	if !bytes.HasPrefix([]byte(resp.Header.Get("Content-Type")), []byte("text/event-stream")) {
		return false, errNoStream
	}
	lines := lineReader{in: bufio.NewReader(resp.Body), limit: maxEvent}
	for {
		over, err := w.frame(&lines, &any)
		if over || err != nil {
			return any, err
		}
	}
}

// maxEvent is the maximum size of the data of an event. The metadata of a job has 16 KiB.
const maxEvent = 1 << 20

// frame reads one event. It reports whether that was the last one. A frame that is cut off
// has no effect, as the standard for server-sent events requires.
func (w *watch) frame(lines *lineReader, any *bool) (over bool, err error) {
	var data []byte
	id, hasID := "", false
	for {
		line, err := lines.next()
		if err != nil {
			return false, noEOF(err)
		}
		*any = true
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "data":
			if data = append(append(data, value...), '\n'); len(data) > maxEvent {
				return false, errLongLine
			}
		case "id":
			if !bytes.ContainsRune(value, 0) {
				id, hasID = string(value), true
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				w.retry = min(max(time.Millisecond, time.Duration(ms)*time.Millisecond), w.c.maxWait)
			}
		}
	}
	if data != nil {
		var e Event
		if err := json.Unmarshal(data, &e); err != nil {
			return false, fmt.Errorf("event: %w: %w", errNotJSON, err)
		}
		if err := w.emit(e); err != nil {
			return false, err
		}
		over = e.Type == JobCompleteEvent
	}
	if hasID {
		w.last = id
	}
	return over, nil
}

// pollPause is the time between two requests if the gateway does not wait for a change.
const pollPause = 2 * time.Second

// poll requests the state of the job until it has ended. Each request waits for a change.
func (w *watch) poll(ctx context.Context) error {
	r := request{method: http.MethodGet, path: []string{"batch", w.id}, header: http.Header{"Prefer": {"wait=30"}}}
	for failed := 0; ; {
		resp, _, err := w.c.do(ctx, r)
		if err != nil {
			return err
		}
		var job Job
		changed, waited := resp.StatusCode == http.StatusOK, resp.Header.Get("Preference-Applied") != ""
		tag := resp.Header.Get("ETag")
		if !changed {
			resp.Body.Close()
		} else if err = decode(resp, &job); err != nil {
			if failed++; errors.Is(err, errNotJSON) || errors.Is(err, errTooLong) {
				return err
			}
			if err := w.c.pause(ctx, err, failed); err != nil {
				return err
			}
			continue
		}
		failed = 0
		if changed {
			if over, err := w.changed(job); over || err != nil {
				return err
			}
			r.header.Del("If-None-Match")
			if tag != "" {
				r.header.Set("If-None-Match", tag)
			}
		}
		if first := changed && tag != "" && !waited; !first && !waited {
			if err := w.c.sleep(ctx, pollPause); err != nil {
				return err
			}
		}
	}
}

// changed emits the events that lead to the state of the job.
func (w *watch) changed(job Job) (over bool, err error) {
	e := Event{
		Type: ProgressEvent, JobID: job.ID, Status: job.Status, Progress: job.Progress, Completed: job.Completed,
		Failed: job.Failed, Total: job.Total, Timestamp: job.UpdatedAt, Metadata: job.Metadata,
	}
	for i := range job.Images {
		if !job.Images[i].Status.Ended() {
			continue
		}
		ended := e
		ended.Type, ended.Image = ImageCompleteEvent, &job.Images[i]
		if err := w.emit(ended); err != nil {
			return false, err
		}
	}
	if job.Status.Ended() {
		e.Type = JobCompleteEvent
	}
	return job.Status.Ended(), w.emit(e)
}
