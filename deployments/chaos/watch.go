package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// counters contains the state of a job in responses and WebSocket frames.
type counters struct {
	JobID       string  `json:"job_id"`
	Status      string  `json:"status"`
	TotalImages int     `json:"total_images"`
	Completed   int     `json:"completed"`
	Failed      int     `json:"failed"`
	Progress    float64 `json:"progress"`
}

// decreased reports whether a counter or the status went back.
func (c *counters) decreased(before *counters) bool {
	return c.Completed < before.Completed || c.Failed < before.Failed || c.Progress < before.Progress || rank[c.Status] < rank[before.Status]
}

// jobResponse is a job as the API returns it.
type jobResponse struct {
	counters
	Images      []imageResponse `json:"images"`
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
	CompletedAt time.Time       `json:"completed_at"`
	RetryOf     string          `json:"retry_of"`
}

type imageResponse struct {
	Index            int       `json:"index"`
	OriginalFilename string    `json:"original_filename"`
	Status           string    `json:"status"`
	TraceID          string    `json:"trace_id"`
	ProcessedPath    string    `json:"processed_path"`
	Error            string    `json:"error"`
	ErrorCode        string    `json:"error_code"`
	StartTime        time.Time `json:"start_time"`
	EndTime          time.Time `json:"end_time"`
	DurationMS       int64     `json:"duration_ms"`
	Uncaptioned      bool      `json:"uncaptioned"`
}

// rank is the position of a status, which only moves up.
var rank = map[string]int{"pending": 0, "processing": 1, "completed": 2, "failed": 2, "cancelled": 2}

func ended(status string) bool { return rank[status] == 2 }

// contradictions returns the errors in one response, or between two consecutive ones.
func contradictions(before, now *jobResponse) []string {
	var found []string
	wrong := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	count := map[string]int{}
	for i, img := range now.Images {
		count[img.Status]++
		if img.Index != i {
			wrong("image %d is at position %d", img.Index, i)
		}
		if i < len(before.Images) {
			if b := before.Images[i]; rank[img.Status] < rank[b.Status] || ended(b.Status) && img != b {
				wrong("image went from %+v to %+v", b, img)
			}
		}
		if (img.Status == "completed") != (img.ProcessedPath != "") || (img.Status == "failed") != (img.Error != "") {
			wrong("image contradicts itself: %+v", img)
		}
		if ended(img.Status) && (img.StartTime.IsZero() || img.EndTime.Before(img.StartTime) || img.DurationMS < 0) {
			wrong("image ended before it started: %+v", img)
		}
	}
	if len(now.Images) != now.TotalImages || count["completed"] != now.Completed || count["failed"] != now.Failed {
		wrong("counters contradict the images: %d images, %v", len(now.Images), count)
	}
	if now.decreased(&before.counters) || ended(before.Status) && now.Status != before.Status {
		wrong("job went back from %+v to %+v", before.counters, now.counters)
	}
	if all := now.Completed+now.Failed == now.TotalImages; all != ended(now.Status) || all == now.CompletedAt.IsZero() {
		wrong("job contradicts itself: %+v, completed at %s", now.counters, now.CompletedAt)
	}
	if now.UpdatedAt.Before(now.CreatedAt) || now.UpdatedAt.Before(before.UpdatedAt) || ended(now.Status) && now.CompletedAt.Before(now.CreatedAt) {
		wrong("time went back: created at %s, updated at %s after %s, completed at %s", now.CreatedAt, now.UpdatedAt, before.UpdatedAt, now.CompletedAt)
	}
	return found
}

// frame is one message of a WebSocket.
type frame struct {
	Type string `json:"type"`
	counters
	Image *imageResponse `json:"image"`
}

// watcher follows one job over any number of WebSockets.
type watcher struct {
	*run
	id   string
	at   int                   // number of the gateway
	last counters              // last frame of all sockets; no value may decrease
	seen map[int]imageResponse // images seen on the current socket
}

// watch reads the job's events until job_complete.
func (r *run) watch(ctx context.Context, at int, id string) {
	w := &watcher{run: r, id: id, at: at}
	for ; ctx.Err() == nil; w.at++ {
		over, err := w.once(ctx)
		if over {
			r.change(id, func(rec *record) { rec.watched = w.seen })
			return
		}
		r.note("watcher", "watch "+id, err)
		pause(ctx, 100*time.Millisecond)
	}
}

// once reads one socket to its end and reports whether the job has ended.
func (w *watcher) once(ctx context.Context) (over bool, err error) {
	dialing, cancel := context.WithTimeout(ctx, responseTime)
	conn, resp, err := websocket.Dial(dialing, "ws://"+w.entry(w.at)+"/api/v1/batch/"+w.id+"/ws", nil) //nolint:bodyclose // The library closes the body.
	cancel()
	if err != nil {
		if resp != nil && resp.StatusCode == http.StatusNotFound && !w.mayBeGone(w.id) {
			w.breach("job %s was accepted, but its WebSocket returns 404", w.id)
		}
		return false, err
	}
	defer func() { _ = conn.CloseNow() }() // Usually it is closed already.
	conn.SetReadLimit(1 << 20)
	w.seen = map[int]imageResponse{}
	for n := 0; ; n++ {
		// After 20 s without a frame it connects again.
		reading, cancel := context.WithTimeout(ctx, 20*time.Second)
		_, data, err := conn.Read(reading)
		cancel()
		if over {
			if err == nil {
				w.breach("job %s: a frame after job_complete: %s", w.id, data)
			}
			return true, nil
		}
		if err != nil {
			return false, err
		}
		var f frame
		if err := json.Unmarshal(data, &f); err != nil {
			return false, fmt.Errorf("parse frame %.200s: %w", data, err)
		}
		w.judge(ctx, n, &f)
		over = f.Type == "job_complete"
	}
}

// judge checks a frame against the previous ones.
func (w *watcher) judge(ctx context.Context, n int, f *frame) {
	wrong := func(format string, args ...any) {
		w.breach("watcher of %s: "+format, append([]any{w.id}, args...)...)
	}
	if n == 0 && f.Type != "progress" {
		wrong("the first frame is %s", f.Type)
	}
	if f.decreased(&w.last) {
		wrong("went back from %+v to %+v", w.last, *f)
	}
	w.last = f.counters
	switch f.Type {
	case "image_complete":
		if f.Image == nil || !ended(f.Image.Status) {
			wrong("image_complete of %+v", f.Image)
			return
		}
		if _, twice := w.seen[f.Image.Index]; twice {
			wrong("image_complete twice for %d", f.Image.Index)
		}
		w.seen[f.Image.Index] = *f.Image
		if f.Image.Status == "completed" { // Its file must exist.
			a, err := get(ctx, fmt.Sprintf("http://%s/api/v1/batch/%s/images/%d/file", w.entry(w.at), w.id, f.Image.Index))
			if err == nil && (a.status == http.StatusNotFound && !w.mayBeGone(w.id) || a.status == http.StatusInternalServerError) {
				wrong("file of image %d: %s", f.Image.Index, a)
			}
		}
	case "job_complete":
		if len(w.seen) != f.TotalImages || !ended(f.Status) {
			wrong("job_complete after %d of %d images, status %s", len(w.seen), f.TotalImages, f.Status)
		}
	}
}

// read polls the job until it has ended, at one gateway after the other, and checks
// every response.
func (r *run) read(ctx context.Context, at int, id string) {
	last := new(jobResponse)
	for ; ctx.Err() == nil; at++ {
		a, err := get(ctx, "http://"+r.entry(at)+"/api/v1/batch/"+id)
		now := new(jobResponse)
		switch {
		case err != nil:
			r.note("reader", "get "+id, err)
		case a.status == http.StatusNotFound:
			if !r.mayBeGone(id) {
				r.breach("job %s was accepted, but GET returns 404", id)
			}
			return
		case a.status == http.StatusServiceUnavailable:
		case a.status != http.StatusOK || json.Unmarshal(a.body, now) != nil:
			r.breach("GET %s: %s", id, a)
		default:
			for _, c := range contradictions(last, now) {
				r.breach("job %s: %s", id, c)
			}
			if last = now; ended(now.Status) {
				r.note("reader", "get "+id, now.Status)
				r.change(id, func(rec *record) { rec.end, rec.ended = now, time.Now() })
				return
			}
		}
		pause(ctx, time.Duration(100+rand.IntN(400))*time.Millisecond)
	}
}

// list returns the jobs that a gateway lists. The error is errWrong if the response is
// not a list.
func (r *run) list(ctx context.Context, at int, query string) ([]jobResponse, error) {
	a, err := get(ctx, r.gateway(at).url("/api/v1/batch"+query))
	if err != nil {
		return nil, err
	}
	var list struct {
		Jobs []jobResponse `json:"jobs"`
	}
	if err := json.Unmarshal(a.body, &list); a.status != http.StatusOK || err != nil {
		return nil, fmt.Errorf("%w: %s", errWrong, a)
	}
	return list.Jobs, nil
}

// pollList lists the jobs repeatedly, at one gateway after the other. It sees the end of
// every job, even if its client never got the ID. If strict is set, every response must be
// complete and correct, and responses may not be more than readyTime apart: during a
// rolling restart, connections are refused or reset.
func (r *run) pollList(ctx context.Context, at int, query string, interval time.Duration, strict bool) {
	for lastResponse := time.Now(); ctx.Err() == nil; pause(ctx, interval) {
		at++
		list, err := r.list(ctx, at, query)
		if err != nil && ctx.Err() == nil {
			r.note("reader", "list", err)
			if strict && (errors.Is(err, errWrong) || time.Since(lastResponse) > readyTime) {
				r.breach("GET during a rolling restart, %s after the last response: %v", time.Since(lastResponse), err)
			}
			continue
		}
		lastResponse = time.Now()
		for i := range list {
			j := &list[i]
			for _, c := range contradictions(new(jobResponse), j) {
				r.breach("job %s in the list: %s", j.JobID, c)
			}
			if ended(j.Status) {
				r.change(j.JobID, func(rec *record) { rec.end = cmp.Or(rec.end, j) })
			}
		}
	}
}
