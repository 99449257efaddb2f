package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/prometheus/procfs"
	"golang.org/x/sync/errgroup"
)

// concurrentBatches is the number of concurrent batches that keep all processes busy.
const concurrentBatches = 3

// load sends batches of the photo: first one at a time, then several concurrently.
func (s *system) load(ctx context.Context, p photo, size size) (*column, error) {
	// The first batch opens connections and touches memory.
	if err := s.batch(ctx, p, min(size.images, 10)); err != nil {
		return nil, err
	}
	if _, err := ofEach(s, forgetPeak); err != nil {
		return nil, err
	}
	c := &column{photo: p, spent: map[string]float64{}, peaks: map[string]uint64{}}
	perImage := map[string][]float64{}
	var client, rates []float64
	for started := time.Now(); c.rounds < size.rounds && (c.rounds == 0 || time.Since(started) < size.part); c.rounds++ {
		progress("%s: batch %d of %d", p.name, c.rounds+1, size.rounds)
		b, err := s.cost(ctx, p, size.images)
		if err != nil {
			return nil, err
		}
		rates, client = append(rates, b.rate), append(client, b.client)
		for name, value := range b.spent {
			perImage[name] = append(perImage[name], value)
		}
	}
	end, err := ofEach(s, procfs.Proc.NewStatus)
	if err != nil {
		return nil, err
	}
	for _, name := range processes {
		c.spent[name], c.peaks[name] = median(perImage[name]), end[name].VmHWM
	}
	c.client, c.alone = median(client), median(rates)
	progress("%s: %d concurrent batches", p.name, concurrentBatches)
	n := min(size.images, max(1, int(c.alone*size.part.Seconds()/concurrentBatches))) // fits into the time on a slow machine
	start := time.Now()
	var g errgroup.Group
	for range concurrentBatches {
		g.Go(func() error { return s.batch(ctx, p, n) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	c.several = float64(concurrentBatches*n) / time.Since(start).Seconds()
	return c, nil
}

// cost contains the results of one batch.
type cost struct {
	spent  map[string]float64 // CPU ms per image, by process
	client float64            // CPU ms per image of this program
	rate   float64            // images per second
}

// cost sends a batch and measures it.
func (s *system) cost(ctx context.Context, p photo, n int) (*cost, error) {
	before, err := ofEach(s, spent)
	if err != nil {
		return nil, err
	}
	ours, start := ownTime(), time.Now()
	if err := s.batch(ctx, p, n); err != nil {
		return nil, err
	}
	images := float64(n)
	c := &cost{spent: map[string]float64{}, rate: images / time.Since(start).Seconds(), client: ms(ownTime()-ours) / images}
	after, err := ofEach(s, spent)
	for name := range after {
		c.spent[name] = ms(after[name]-before[name]) / images
	}
	return c, err
}

// latency contains the durations of single images on the idle system, in milliseconds.
type latency struct {
	whole  []float64 // POST to job_complete
	accept []float64 // POST to the 201
	syncs  []float64 // append of a page and its fsync, on the disk of the jobs
}

func (s *system) latency(ctx context.Context, p photo, size size) (*latency, error) {
	l := &latency{}
	for started := time.Now(); len(l.whole) < size.singles && (len(l.whole) == 0 || time.Since(started) < size.part); {
		accepted, whole, err := s.single(ctx, p)
		if err != nil {
			return nil, err
		}
		l.accept, l.whole = append(l.accept, accepted), append(l.whole, whole)
	}
	file, err := os.CreateTemp(filepath.Join(s.dir, "gateway"), "fsync-")
	if err != nil {
		return nil, fmt.Errorf("open a file to sync: %w", err)
	}
	for range size.syncs {
		start := time.Now()
		_, err := file.Write(make([]byte, 4<<10))
		if err = errors.Join(err, file.Sync()); err != nil {
			return nil, fmt.Errorf("write and sync: %w", err)
		}
		l.syncs = append(l.syncs, ms(time.Since(start)))
	}
	return l, errors.Join(file.Close(), os.Remove(file.Name()))
}

// single sends one image, and returns the milliseconds from POST to the 201 and to job_complete.
func (s *system) single(ctx context.Context, p photo) (accepted, whole float64, err error) {
	start := time.Now()
	id, err := s.post(ctx, p, 1)
	accepted = ms(time.Since(start))
	if err == nil {
		err = s.watch(ctx, id, 1, func() {})
	}
	return accepted, ms(time.Since(start)), err
}

// batch sends the photo n times in one batch and watches the job until it ends.
func (s *system) batch(ctx context.Context, p photo, n int) error {
	id, err := s.post(ctx, p, n)
	if err != nil {
		return err
	}
	return s.watch(ctx, id, n, func() {})
}

// post sends a batch and returns the ID of its job. The body repeats one element, so the
// whole body is never in memory, unless each image is another picture.
func (s *system) post(ctx context.Context, p photo, n int) (string, error) {
	element := func() string {
		return `{"name":"` + p.name + `.jpg","base64":"` + base64.StdEncoding.EncodeToString(p.next()) + `"}`
	}
	one := element()
	before := `{` + p.options + `"images":[`
	parts, length := []io.Reader{}, int64(n*len(","+one)-1+len(before)+len(`]}`))
	for i := range n {
		if i > 0 && p.varied != nil {
			one = element()
		}
		parts = append(parts, strings.NewReader(before), strings.NewReader(one))
		before = ","
	}
	parts = append(parts, strings.NewReader("]}"))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.gateway+"/api/v1/batch", io.MultiReader(parts...))
	if err != nil {
		return "", fmt.Errorf("create request: %w", err)
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("send batch: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var created struct {
		JobID string `json:"job_id"`
	}
	if err == nil {
		err = json.Unmarshal(body, &created)
	}
	if err != nil || resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("send batch: status %d: %.300s", resp.StatusCode, body)
	}
	return created.JobID, nil
}

// watch reads a job's events until job_complete and calls ended for each image that ends.
// It returns an error unless all n images were completed.
func (s *system) watch(ctx context.Context, id string, n int, ended func()) error {
	conn, _, err := websocket.Dial(ctx, "ws://"+s.gateway+"/api/v1/batch/"+id+"/ws", nil) //nolint:bodyclose // The library closes the body.
	if err != nil {
		return fmt.Errorf("watch job: %w", err)
	}
	defer func() { _ = conn.CloseNow() }() // usually the server has closed it
	conn.SetReadLimit(1 << 20)
	for {
		var frame struct {
			Type      string `json:"type"`
			Completed int    `json:"completed"`
		}
		if err := wsjson.Read(ctx, conn, &frame); err != nil {
			return fmt.Errorf("watch job: %w", err)
		}
		switch frame.Type {
		case "image_complete":
			ended()
		case "job_complete":
			if frame.Completed != n {
				return fmt.Errorf("only %d of %d images of job %s were completed", frame.Completed, n, id)
			}
			return nil
		}
	}
}
