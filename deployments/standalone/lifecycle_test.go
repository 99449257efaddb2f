package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// gatedOrigin serves one photo under every name: immediately, except for names that start
// with "slow", which wait until open is called. blocked returns the number of waiting requests.
func gatedOrigin(t *testing.T) (site string, blocked func() int, open func()) {
	t.Helper()
	var mu sync.Mutex // guards waiting
	waiting := 0
	gate := make(chan struct{})
	data := photo(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow") {
			add := func(n int) {
				mu.Lock()
				defer mu.Unlock()
				waiting += n
			}
			add(1)
			defer add(-1)
			select {
			case <-gate:
			case <-r.Context().Done():
				return
			}
		}
		_, _ = w.Write(data) // The client may be gone.
	}))
	open = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(func() {
		open()
		s.Close()
	})
	return s.URL, func() int {
		mu.Lock()
		defer mu.Unlock()
		return waiting
	}, open
}

// post sends a request, with an Idempotency-Key unless it is empty, and returns the response.
func (s *system) post(t *testing.T, path, key, body string) (status int, location string, text []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), text
}

// decodeCreated decodes the response to a request that created a job.
func decodeCreated(t *testing.T, status int, text []byte) jobResponse {
	t.Helper()
	var a jobResponse
	if err := json.Unmarshal(text, &a); err != nil || status != http.StatusCreated || a.JobID == "" {
		t.Fatalf("no job was created: %d %s, %v", status, text, err)
	}
	return a
}

// TestCancelAndRetry cancels a watched job that is half done, in both forms, and retries it.
// It verifies that stored originals are reused and URLs are downloaded again.
func TestCancelAndRetry(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t)
		site, blocked, open := gatedOrigin(t)
		batch := []map[string]string{inline("done.jpg", photo(t)), {"url": site + "/fast.jpg"}}
		for i := range 3 {
			batch = append(batch, map[string]string{"url": fmt.Sprintf("%s/slow%d.jpg", site, i)})
		}
		batch = append(batch, map[string]string{"base64": "?", "name": "bad.jpg"})
		id := s.submit(t, batch...)
		frames := make(chan []frame, 1)
		go func() { frames <- watch(t, s, id) }()
		var before jobResponse
		await(t, func() (bool, string) {
			s.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, &before)
			return before.Completed == 2 && blocked() == 3, fmt.Sprintf("%+v", before)
		})
		status, _, text := s.post(t, "/api/v1/batch/"+id+"/retry", "", "")
		if status != http.StatusConflict {
			t.Errorf("retry of an open job: %d %s", status, text)
		}

		var cancelled, now jobResponse
		if status, _ := s.call(t, http.MethodPost, "/api/v1/batch/"+id+"/cancel", nil, &cancelled); status != http.StatusOK {
			t.Fatalf("cancel: %d %+v", status, cancelled)
		}
		invariants(t, before, cancelled)
		if cancelled.Status != "cancelled" || cancelled.Completed != 2 || cancelled.Failed != 4 || cancelled.Progress != 100 {
			t.Errorf("cancelled job: %+v", cancelled)
		}
		for _, img := range cancelled.Images[2:5] {
			if img.Error != "Cancelled" || img.ErrorCode != "cancelled" {
				t.Errorf("cancelled image: %+v", img)
			}
		}
		checkFrames(t, <-frames, cancelled)
		checkFrames(t, watch(t, s, id), cancelled)
		await(t, func() (bool, string) { return blocked() == 0, fmt.Sprintf("%d downloads continue", blocked()) })
		if status, _, text := s.post(t, "/api/v1/batch/"+id+"/cancel", "", ""); status != http.StatusConflict {
			t.Errorf("second cancel: %d %s", status, text)
		}

		open()
		status, location, text := s.post(t, "/api/v1/batch/"+id+"/retry", "", "")
		retry := decodeCreated(t, status, text)
		if retry.RetryOf != id || retry.Status != "pending" || location != "/api/v1/batch/"+retry.JobID {
			t.Errorf("retry: %s, Location %q", text, location)
		}
		got := s.ended(t, retry.JobID)
		if got.RetryOf != id || got.Status != "completed" || got.TotalImages != 3 || got.Completed != 3 {
			t.Errorf("job of the retry: %+v", got)
		}
		for i, img := range got.Images {
			if want := fmt.Sprintf("slow%d.jpg", i); img.OriginalFilename != want {
				t.Errorf("image %d of the retry is %s, want %s", i, img.OriginalFilename, want)
			}
		}
		if s.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, &now); fmt.Sprint(now) != fmt.Sprint(cancelled) {
			t.Errorf("the cancelled job changed from\n%+v to\n%+v", cancelled, now)
		}
		if status, _, text := s.post(t, "/api/v1/batch/"+retry.JobID+"/retry", "", ""); status != http.StatusBadRequest {
			t.Errorf("retry of a job without failed images: %d %s", status, text)
		}
	})
}

// TestCancelInThePipeline cancels a job whose images are in flight in every service. It
// verifies that late results do not change the job, and that a retry completes every
// cancelled image.
func TestCancelInThePipeline(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t)
		site, _, open := gatedOrigin(t)
		batch := []map[string]string{{"url": site + "/slow.jpg"}} // It keeps the job open, no matter how fast the other images are.
		for i := range 60 {
			batch = append(batch, inline(fmt.Sprintf("%d.jpg", i), goImage(t, "video-001.jpeg")))
		}
		id := s.submit(t, batch...)
		await(t, func() (bool, string) {
			var now jobResponse
			s.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, &now)
			return now.Completed > 0, fmt.Sprintf("%+v", now)
		})
		var cancelled, now jobResponse
		if status, _ := s.call(t, http.MethodPost, "/api/v1/batch/"+id+"/cancel", nil, &cancelled); status != http.StatusOK {
			t.Fatalf("cancel: %d", status)
		}
		open()
		invariants(t, jobResponse{}, cancelled)
		status, _, text := s.post(t, "/api/v1/batch/"+id+"/retry", "", "")
		retry := decodeCreated(t, status, text)
		// Queues are first in, first out: the late results arrive before the retry's results.
		got := s.ended(t, retry.JobID)
		if got.Completed != cancelled.Failed || got.Failed != 0 {
			t.Errorf("%d images were cancelled, their retry: %+v", cancelled.Failed, got)
		}
		if s.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, &now); fmt.Sprint(now) != fmt.Sprint(cancelled) {
			t.Errorf("late results changed the job from\n%+v to\n%+v", cancelled, now)
		}
	})
}

// TestLostResponse kills a gateway immediately after it accepted a request. It verifies that
// the client finds the same job under its key, and that there is no second job.
func TestLostResponse(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t)
		var body bytes.Buffer
		if err := json.NewEncoder(&body).Encode(map[string]any{"images": []any{inline("a.jpg", photo(t)), inline("b.jpg", photo(t))}}); err != nil {
			t.Fatal(err)
		}
		status, location, first := s.post(t, "/api/v1/batch", "order 4711", body.String())
		job := decodeCreated(t, status, first)
		_ = s.end(syscall.SIGKILL)
		s.start()
		s.awaitReady()
		for range 2 {
			status, again, text := s.post(t, "/api/v1/batch", "order 4711", body.String())
			if status != http.StatusCreated || again != location || !bytes.Equal(text, first) {
				t.Errorf("again: %d %s at %q, want %s at %q", status, text, again, first, location)
			}
			if got := s.ended(t, job.JobID); got.Completed != 2 {
				t.Errorf("job %+v", got)
			}
		}
		if status, _, text := s.post(t, "/api/v1/batch", "order 4711", `{"images":[]}`); status != http.StatusUnprocessableEntity {
			t.Errorf("another request under the key: %d %s", status, text)
		}
		var list struct{ Jobs []jobResponse }
		if s.call(t, http.MethodGet, "/api/v1/batch", nil, &list); len(list.Jobs) != 1 {
			t.Errorf("%d jobs, want 1", len(list.Jobs))
		}
	})
}
