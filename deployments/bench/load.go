package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
)

// load is what the system did with batches of one picture.
type load struct {
	rounds  int
	spent   map[string]float64 // CPU ms an image, of each process
	client  float64            // of this program, which shares the machine
	alone   float64            // images a second, one batch at a time
	several float64            // the same, of several batches at once
	peaks   map[string]int64   // bytes
}

// atOnce is how many batches are sent at the same time to keep everything busy.
const atOnce = 3

// load sends batches of the picture.
func (s *system) load(ctx context.Context, p picture, size size) (*load, error) {
	// The first batch finds connections unopened and memory untouched.
	if err := s.batch(ctx, p, min(size.images, 10)); err != nil {
		return nil, err
	}
	for _, name := range processes {
		if err := forgetPeak(s.pids[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	l := &load{spent: map[string]float64{}, peaks: map[string]int64{}}
	perImage := map[string][]float64{}
	var client, rates []float64
	begun := time.Now()
	for l.rounds < size.rounds && (l.rounds == 0 || time.Since(begun) < size.part) {
		say("%s: batch %d of %d", p.name, l.rounds+1, size.rounds)
		before, err := s.spent()
		if err != nil {
			return nil, err
		}
		ours, start := ownTime(), time.Now()
		if err := s.batch(ctx, p, size.images); err != nil {
			return nil, err
		}
		took := time.Since(start)
		after, err := s.spent()
		if err != nil {
			return nil, err
		}
		for name := range after {
			perImage[name] = append(perImage[name], ms(after[name]-before[name])/float64(size.images))
		}
		client = append(client, ms(ownTime()-ours)/float64(size.images))
		rates = append(rates, float64(size.images)/took.Seconds())
		l.rounds++
	}
	for name, each := range perImage {
		l.spent[name] = median(each)
	}
	l.client, l.alone = median(client), median(rates)
	end, err := s.memory()
	if err != nil {
		return nil, err
	}
	for name, m := range end {
		l.peaks[name] = m.peak
	}
	say("%s: %d batches at once", p.name, atOnce)
	n := min(size.images, max(1, int(l.alone*size.part.Seconds()/atOnce))) // what a slow machine does in time
	start := time.Now()
	var g errgroup.Group
	for range atOnce {
		g.Go(func() error { return s.batch(ctx, p, n) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	l.several = float64(atOnce*n) / time.Since(start).Seconds()
	return l, nil
}

// latency is how long one image takes on the idle system, in milliseconds.
type latency struct {
	images, syncs         int
	median, p99           float64 // from the POST to job_complete
	syncMedian, syncP99   float64 // of an fsync of the disk that the jobs lie on
	acceptMedian, acceptP float64 // from the POST to the 201
}

func (s *system) latency(ctx context.Context, p picture, size size) (*latency, error) {
	var whole, accept []float64
	begun := time.Now()
	for len(whole) < size.singles && (len(whole) == 0 || time.Since(begun) < size.part) {
		start := time.Now()
		id, err := s.post(ctx, p, 1)
		if err != nil {
			return nil, err
		}
		accept = append(accept, ms(time.Since(start)))
		if err := s.watch(ctx, id, 1); err != nil {
			return nil, err
		}
		whole = append(whole, ms(time.Since(start)))
	}
	syncs, err := fsyncs(filepath.Join(s.dir, "gateway"), size.syncs)
	if err != nil {
		return nil, err
	}
	return &latency{
		images: len(whole), syncs: len(syncs),
		median: median(whole), p99: quantile(whole, 0.99), acceptMedian: median(accept), acceptP: quantile(accept, 0.99),
		syncMedian: median(syncs), syncP99: quantile(syncs, 0.99),
	}, nil
}

// fsyncs times n appends of a page and their way to the disk.
func fsyncs(dir string, n int) ([]float64, error) {
	file, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return nil, fmt.Errorf("open a file to sync: %w", err)
	}
	defer func() { _ = errors.Join(file.Close(), os.Remove(file.Name())) }() // nobody needs what is in it
	page := make([]byte, 4<<10)
	var all []float64
	for range n {
		start := time.Now()
		if _, err := file.Write(page); err != nil {
			return nil, fmt.Errorf("write: %w", err)
		}
		if err := file.Sync(); err != nil {
			return nil, fmt.Errorf("sync: %w", err)
		}
		all = append(all, ms(time.Since(start)))
	}
	return all, nil
}

// batch sends the picture n times in one batch and follows the job to its end.
func (s *system) batch(ctx context.Context, p picture, n int) error {
	id, err := s.post(ctx, p, n)
	if err != nil {
		return err
	}
	return s.watch(ctx, id, n)
}

// post sends a batch and returns the id of its job. The body is not held in
// memory: it is one element again and again.
func (s *system) post(ctx context.Context, p picture, n int) (string, error) {
	element := p.element()
	parts, length := []io.Reader{bytes.NewReader([]byte(`{"images":[`))}, int64(len(`{"images":[]}`)+n-1)
	for i := range n {
		if i > 0 {
			parts = append(parts, bytes.NewReader([]byte(",")))
		}
		parts, length = append(parts, bytes.NewReader(element)), length+int64(len(element))
	}
	parts = append(parts, bytes.NewReader([]byte("]}")))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.gateway+"/api/v1/batch", io.MultiReader(parts...))
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("send batch: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	var created struct {
		JobID string `json:"job_id"`
	}
	if err := json.Unmarshal(body, &created); err != nil || resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("send batch: answer %d: %.300s", resp.StatusCode, body)
	}
	return created.JobID, nil
}

// watch follows a job to its job_complete; every one of its n images must have
// become what it should.
func (s *system) watch(ctx context.Context, id string, n int) error {
	return s.follow(ctx, id, n, func() {})
}

// follow is watch, and tells each image that ends.
func (s *system) follow(ctx context.Context, id string, n int, ended func()) error {
	conn, _, err := websocket.Dial(ctx, "ws://"+s.gateway+"/api/v1/batch/"+id+"/ws", nil) //nolint:bodyclose // The library closes it.
	if err != nil {
		return fmt.Errorf("watch job: %w", err)
	}
	defer func() { _ = conn.CloseNow() }() // the server mostly has closed it
	conn.SetReadLimit(1 << 20)
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("watch job: %w", err)
		}
		var frame struct {
			Type      string `json:"type"`
			Completed int    `json:"completed"`
		}
		if err := json.Unmarshal(data, &frame); err != nil {
			return fmt.Errorf("read frame: %w", err)
		}
		if frame.Type == "image_complete" {
			ended()
		}
		if frame.Type == "job_complete" {
			if frame.Completed != n {
				return fmt.Errorf("only %d of %d images of job %s were completed: %s", frame.Completed, n, id, data)
			}
			return nil
		}
	}
}
