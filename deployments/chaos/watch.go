package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// frame is one message of a WebSocket.
type frame struct {
	Type string `json:"type"`
	counters
	Image *imageAnswer `json:"image"`
}

// watcher follows one job over any number of WebSockets.
type watcher struct {
	*run
	id   string
	at   int                 // the gateway
	last counters            // over all sockets: nothing may fall
	seen map[int]imageAnswer // on the current socket
}

// watch follows the job to its job_complete.
func (r *run) watch(ctx context.Context, at int, id string) {
	w := &watcher{run: r, id: id, at: at}
	for ; ctx.Err() == nil; w.at++ {
		over, err := w.once(ctx)
		if over {
			r.ledger.note(id, func(rec *record) { rec.told = w.seen })
			return
		}
		r.history.note("watcher", "watch "+id, err)
		pause(ctx, 100*time.Millisecond)
	}
}

// silence is how long a watcher waits for a frame before it connects again.
const silence = 20 * time.Second

// once follows one socket to its end and reports whether the job has ended.
func (w *watcher) once(ctx context.Context) (over bool, err error) {
	dialing, cancel := context.WithTimeout(ctx, answerTime)
	conn, resp, err := websocket.Dial(dialing, "ws://"+w.gateway(w.at).addr+"/api/v1/batch/"+w.id+"/ws", nil) //nolint:bodyclose // The library closes it.
	cancel()
	if err != nil {
		if resp != nil && resp.StatusCode == http.StatusNotFound && !w.mayBeGone(w.id) {
			w.history.breach("job %s was accepted and its WebSocket is a 404", w.id)
		}
		return false, err
	}
	defer func() { _ = conn.CloseNow() }() // Usually it is closed already.
	conn.SetReadLimit(1 << 20)
	w.seen = map[int]imageAnswer{}
	for n := 0; ; n++ {
		reading, cancel := context.WithTimeout(ctx, silence)
		_, data, err := conn.Read(reading)
		cancel()
		if over {
			if err == nil {
				w.history.breach("job %s: a frame after job_complete: %s", w.id, data)
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

// judge checks a frame against those before it.
func (w *watcher) judge(ctx context.Context, n int, f *frame) {
	wrong := func(format string, args ...any) {
		w.history.breach("watcher of %s: "+format, append([]any{w.id}, args...)...)
	}
	if n == 0 && f.Type != "progress" {
		wrong("the first frame is %s", f.Type)
	}
	if f.fell(&w.last) {
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
		if f.Image.Status == "completed" {
			w.fetch(ctx, f.Image)
		}
	case "job_complete":
		if len(w.seen) != f.TotalImages || !ended(f.Status) {
			wrong("job_complete after %d of %d images, status %s", len(w.seen), f.TotalImages, f.Status)
		}
	}
}

// fetch checks that the file of a completed image exists.
func (w *watcher) fetch(ctx context.Context, img *imageAnswer) {
	a, err := get(ctx, w.gateway(w.at).url(fmt.Sprintf("/api/v1/batch/%s/images/%d/file", w.id, img.Index)))
	if err == nil && (a.status == http.StatusNotFound && !w.mayBeGone(w.id) || a.status == http.StatusInternalServerError) {
		w.history.breach("file of image %d of %s, which is completed: %s", img.Index, w.id, a)
	}
}

// read polls the job until it has ended, at one gateway after the other, and checks
// every response.
func (r *run) read(ctx context.Context, at int, id string) {
	last := new(jobAnswer)
	for ; ctx.Err() == nil; at++ {
		a, err := get(ctx, r.gateway(at).url("/api/v1/batch/"+id))
		now := new(jobAnswer)
		switch {
		case err != nil:
			r.history.note("reader", "get "+id, err)
		case a.status == http.StatusNotFound:
			if !r.mayBeGone(id) {
				r.history.breach("job %s was accepted and is a 404", id)
			}
			return
		case a.status == http.StatusServiceUnavailable:
		case a.status != http.StatusOK || json.Unmarshal(a.body, now) != nil:
			r.history.breach("GET %s: %s", id, a)
		default:
			for _, c := range contradictions(last, now) {
				r.history.breach("job %s: %s", id, c)
			}
			if last = now; ended(now.Status) {
				r.history.note("reader", "get "+id, now.Status)
				r.ledger.note(id, func(rec *record) { rec.end, rec.ended = now, time.Now() })
				return
			}
		}
		pause(ctx, time.Duration(100+rand.IntN(400))*time.Millisecond)
	}
}

// list returns all jobs as one of the gateways lists them.
func (r *run) list(ctx context.Context, at int) ([]jobAnswer, error) {
	a, err := get(ctx, r.gateway(at).url("/api/v1/batch"))
	if err != nil {
		return nil, err
	}
	var list struct {
		Jobs []jobAnswer `json:"jobs"`
	}
	if err := json.Unmarshal(a.body, &list); a.status != http.StatusOK || err != nil {
		return nil, fmt.Errorf("list jobs: %s: %w", a, err)
	}
	return list.Jobs, nil
}

// overlook lists all jobs again and again, so that it sees the end of every job,
// even of one whose client never got its ID.
func (r *run) overlook(ctx context.Context) {
	for at := 0; ctx.Err() == nil; at++ {
		list, err := r.list(ctx, at)
		if err != nil {
			r.history.note("reader", "list", err)
		}
		for i := range list {
			j := &list[i]
			for _, c := range contradictions(new(jobAnswer), j) {
				r.history.breach("job %s in the list: %s", j.JobID, c)
			}
			if ended(j.Status) {
				r.ledger.note(j.JobID, func(rec *record) {
					if rec.end == nil {
						rec.end = j
					}
				})
			}
		}
		pause(ctx, time.Second)
	}
}

// steadyReader repeats a GET during a rolling restart, at the next gateway when it
// gets no response: usually the connection is refused, and the kernel resets one
// that waited to be accepted when the gateway stopped listening. Every response
// must be complete and right.
func (r *run) steadyReader(ctx context.Context, at int) {
	for answered := time.Now(); ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		a, err := get(ctx, r.gateway(at).url("/api/v1/batch?limit=5"))
		if ctx.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, errCut) && time.Since(answered) < readyTime {
			r.history.note("steady reader", "get", err)
			at++
			continue
		}
		if err != nil || a.status != http.StatusOK {
			r.history.breach("GET during a rolling restart, %s after the last response: %s (%v)", time.Since(answered), a, err)
		}
		answered = time.Now()
	}
}
