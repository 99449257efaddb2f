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
	"strings"
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
		w := &watch{c: c, id: id, seen: map[int]bool{}, yield: yield, ended: -1}
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
	errEvents   = errors.New("job has more images than any gateway accepts")
)

// maxImages limits the memory for the images of a job.
const maxImages = 100_000

// watch is one run of Watch.
type watch struct {
	c     *Client
	id    string
	seen  map[int]bool // images with an event
	yield func(Event, error) bool
	ended int           // images that had ended in the latest event
	last  string        // ID of the last event
	retry time.Duration // time before the next connection, as the gateway prefers
}

// emit passes an event on, except one that the caller has got already.
func (w *watch) emit(e Event) error {
	if e.Image != nil {
		if w.seen[e.Image.Index] {
			return nil
		}
		if len(w.seen) == maxImages {
			return errEvents
		}
		w.seen[e.Image.Index] = true
	}
	if !w.yield(e, nil) {
		return errStopped
	}
	return nil
}

// silent is the number of streams without a byte after which Watch polls instead: a proxy may
// hold the stream back.
const silent = 3

// stream reads server-sent events until the job has ended, with as many connections as
// needed.
func (w *watch) stream(ctx context.Context) error {
	w.retry = 2 * time.Second
	for failed, quiet := 0, 0; ; {
		got, err := w.connect(ctx)
		switch {
		case err == nil, errors.Is(err, errStopped), errors.Is(err, errNoStream), errors.Is(err, errLongLine), errors.Is(err, errNotJSON), errors.Is(err, errEvents):
			return err
		case got == progressed:
			failed, quiet = 0, 0
		case got == opened:
			quiet++
		}
		if failed++; quiet == silent && ctx.Err() == nil {
			return errNoStream
		}
		if failed == 1 && got == progressed {
			err = w.c.sleep(ctx, w.retry/2+rand.N(w.retry))
		} else {
			err = w.c.pause(ctx, err, failed)
		}
		if err != nil {
			return err
		}
	}
}

// received is how much arrived over one connection.
type received int

const (
	refused    received = iota
	opened              // the header of the response
	started             // lines
	progressed          // news of the job, or lines for some time, so that the connection was of use
)

// useful is the time after which a connection with lines was of use although there was no
// news: the gateway sends a comment every 25 s, and a proxy may close a stream once a minute.
const useful = 10 * time.Second

// connect reads one stream. It returns nil if the job has ended.
func (w *watch) connect(ctx context.Context) (got received, err error) {
	// A proxy that compresses would hold events back.
	header := http.Header{"Accept": {"text/event-stream"}, "Accept-Encoding": {"identity"}}
	if w.last != "" {
		header.Set("Last-Event-ID", w.last)
	}
	resp, err := w.c.send(ctx, request{method: http.MethodGet, path: []string{"batch", w.id, "events"}, header: header})
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
			return refused, errNoStream // or no job, which polling finds out
		}
	}
	if err != nil {
		return refused, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return progressed, nil
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return refused, errNoStream
	}
	lines, start := lineReader{in: bufio.NewReader(resp.Body), limit: maxEvent}, time.Now()
	for got = opened; ; {
		over, err := w.frame(&lines, &got)
		if got == started && time.Since(start) >= useful {
			got = progressed
		}
		if over || err != nil {
			return got, err
		}
	}
}

// maxEvent is the maximum size of the data of an event. The metadata of a job has 16 KiB.
const maxEvent = 1 << 20

// frame reads one event. It reports whether that was the last one. A frame that is cut off
// has no effect, as the standard for server-sent events requires.
func (w *watch) frame(lines *lineReader, got *received) (over bool, err error) {
	var data []byte
	id, hasID := "", false
	for {
		line, err := lines.next()
		if err != nil {
			return false, noEOF(err)
		}
		*got = max(*got, started)
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
		if e.Completed+e.Failed > w.ended || e.Image != nil && !w.seen[e.Image.Index] {
			*got = progressed
		}
		w.ended = max(w.ended, e.Completed+e.Failed)
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
		tag, waited := resp.Header.Get("ETag"), resp.Header.Get("Preference-Applied") != ""
		unchanged := resp.StatusCode == http.StatusNotModified
		if unchanged {
			resp.Body.Close()
		} else {
			var job Job
			if err := decode(resp, &job); err != nil {
				failed++
				if errors.Is(err, errNotJSON) || errors.Is(err, errTooLong) {
					return err
				}
				if err := w.c.pause(ctx, err, failed); err != nil {
					return err
				}
				continue
			}
			if over, err := w.changed(job); over || err != nil {
				return err
			}
		}
		failed = 0
		if tag != "" {
			r.header.Set("If-None-Match", tag)
		}
		if !waited && (unchanged || tag == "") { // an old gateway, or a proxy that drops the preference
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
