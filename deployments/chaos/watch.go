package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// frame is one message of a WebSocket.
type frame struct {
	Type        string       `json:"type"`
	JobID       string       `json:"job_id"`
	Status      string       `json:"status"`
	Progress    float64      `json:"progress"`
	Completed   int          `json:"completed"`
	Failed      int          `json:"failed"`
	TotalImages int          `json:"total_images"`
	Image       *imageAnswer `json:"image"`
}

// watcher follows one job over WebSockets, through any number of them.
type watcher struct {
	run  *run
	id   string
	at   int                 // which gateway, and then the next
	last frame               // over all sockets: nothing may fall
	seen map[int]imageAnswer // on the present socket
}

// watch follows the job to its job_complete.
func (r *run) watch(ctx context.Context, id string, at int) {
	w := &watcher{run: r, id: id, at: at}
	for ; ctx.Err() == nil; w.at++ {
		over, err := w.once(ctx)
		if over {
			r.finished(id, w.seen)
			return
		}
		if err != nil {
			r.history.note("watcher", "watch "+id, "failed", err.Error())
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// silence is how long a watcher waits for a frame before it connects anew. The
// server's pings are answered meanwhile, and no job of a run lasts that long.
const silence = 20 * time.Second

// once follows one socket to its end and tells whether the job has ended.
func (w *watcher) once(ctx context.Context) (over bool, err error) {
	dial, cancel := context.WithTimeout(ctx, answerTime)
	conn, resp, err := websocket.Dial(dial, "ws://"+w.run.gateway(w.at).addr+"/api/v1/batch/"+w.id+"/ws", nil) //nolint:bodyclose // The library closes it.
	cancel()
	if err != nil {
		if resp != nil && resp.StatusCode == http.StatusNotFound && !w.run.mayBeGone(w.id) {
			w.run.history.breach("job %s was accepted and a WebSocket says 404", w.id)
		}
		return false, err
	}
	defer func() { _ = conn.CloseNow() }() // it is mostly closed already
	conn.SetReadLimit(1 << 20)
	w.seen = map[int]imageAnswer{}
	for n := 0; ; n++ {
		reading, cancel := context.WithTimeout(ctx, silence)
		_, data, err := conn.Read(reading)
		cancel()
		if over {
			if status := websocket.CloseStatus(err); status != websocket.StatusNormalClosure && err == nil {
				w.run.history.breach("job %s: a frame after job_complete: %s", w.id, data)
			}
			return true, nil
		}
		if err != nil {
			return false, err
		}
		var f frame
		if err := json.Unmarshal(data, &f); err != nil {
			return false, fmt.Errorf("read frame %.200s: %w", data, err)
		}
		w.judge(ctx, n, &f)
		over = f.Type == "job_complete"
	}
}

// judge holds what is true of every frame and of every two in a row.
func (w *watcher) judge(ctx context.Context, n int, f *frame) {
	wrong := func(format string, args ...any) {
		w.run.history.breach("watcher of %s: "+format, append([]any{w.id}, args...)...)
	}
	if n == 0 && f.Type != "progress" {
		wrong("the first frame is %s", f.Type)
	}
	if l := w.last; f.Completed < l.Completed || f.Failed < l.Failed || f.Progress < l.Progress || rank(f.Status) < rank(l.Status) {
		// What a snapshot tells of images that ended before is told with the present counters.
		wrong("went back from %+v to %+v", l, *f)
	}
	w.last = *f
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
			w.run.fetch(ctx, w.at, w.id, f.Image)
		}
	case "job_complete":
		if len(w.seen) != f.TotalImages || !ended(f.Status) {
			wrong("job_complete with %d of %d images told, status %s", len(w.seen), f.TotalImages, f.Status)
		}
	}
}

// fetch holds that what is told as completed is there.
func (r *run) fetch(ctx context.Context, at int, id string, img *imageAnswer) {
	status, body, err := get(ctx, r.gateway(at).url(fmt.Sprintf("/api/v1/batch/%s/images/%d/file", id, img.Index)))
	switch {
	case err != nil: // nobody answers at this moment
	case status == http.StatusNotFound && !r.mayBeGone(id):
		r.history.breach("image %d of %s is completed and its file is a 404: %.200s", img.Index, id, body)
	case status == http.StatusInternalServerError:
		r.history.breach("file of image %d of %s: %d %.200s", img.Index, id, status, body)
	}
}

// read polls the job to its end, at one gateway and then the next, and judges
// every answer.
func (r *run) read(ctx context.Context, id string, at int) {
	last := new(jobAnswer)
	for ; ctx.Err() == nil; at++ {
		status, body, err := get(ctx, r.gateway(at).url("/api/v1/batch/"+id))
		now := new(jobAnswer)
		switch {
		case err != nil:
			r.history.note("reader", "get "+id, "failed", err.Error())
		case status == http.StatusNotFound:
			if !r.mayBeGone(id) {
				r.history.breach("job %s was accepted and is a 404", id)
			}
			return
		case status != http.StatusOK:
			if status != http.StatusServiceUnavailable {
				r.history.breach("GET %s answered %d: %.200s", id, status, body)
			}
		case json.Unmarshal(body, now) != nil:
			r.history.breach("GET %s answered %.200s", id, body)
		default:
			for _, c := range contradictions(last, now) {
				r.history.breach("job %s: %s", id, c)
			}
			if last = now; ended(now.Status) {
				r.history.note("reader", "get "+id, "ended", now.Status)
				r.over(id, now)
				return
			}
		}
		pause(ctx, time.Duration(100+rand.IntN(400))*time.Millisecond)
	}
}

// overlook reads the whole list again and again, so that no job ends and goes
// unseen, not even one whose client never learned its id.
func (r *run) overlook(ctx context.Context) {
	for at := 0; ctx.Err() == nil; at++ {
		list, err := r.list(ctx, at)
		if err != nil {
			r.history.note("reader", "list", "failed", err.Error())
		}
		for i := range list {
			for _, c := range contradictions(new(jobAnswer), &list[i]) {
				r.history.breach("job %s in the list: %s", list[i].JobID, c)
			}
			if ended(list[i].Status) {
				r.listed(&list[i])
			}
		}
		pause(ctx, time.Second)
	}
}

// pause waits for d, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
