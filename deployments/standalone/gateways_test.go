package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// twoGateways starts two gateways on one PostgreSQL, one RabbitMQ and one MinIO,
// with one analyzer and one processor. sql runs a query on their database.
func twoGateways(t *testing.T) (a, b *system, sql func(query string) string) {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES_URL")
	if server == "" {
		t.Skip("TEST_POSTGRES_URL is not set")
	}
	need(t, "psql", "--version")
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	schema := "test_" + strings.ToLower(rand.Text())
	sql = func(query string) string {
		t.Helper()
		ctx := context.WithoutCancel(t.Context()) // Cleanups run after t.Context() is done.
		cmd := exec.CommandContext(ctx, "psql", "-XAtq", "-c", "SET search_path = "+schema, "-c", query, server)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", query, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	sql("CREATE SCHEMA " + schema)
	t.Cleanup(func() { sql("SET client_min_messages = warning; DROP SCHEMA " + schema + " CASCADE") })
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()

	env := slices.Concat(serverEnv(t, lentVhost(t)), slowDownloads, []string{"DATABASE_URL=" + u.String()})
	var gateways []*process
	for range 2 {
		gateways = append(gateways, launch(t, "gateway", env...))
	}
	parts := append(gateways, launch(t, "analyzer", env...), launch(t, "processor", env...))
	return &system{gateways[0], parts}, &system{gateways[1], parts}, sql
}

// gate is a site that sends no response until it is opened.
type gate struct {
	url  string
	open func()

	mu       sync.Mutex
	requests int // number of requests, guarded by mu
}

func newGate(t *testing.T, image []byte) *gate {
	t.Helper()
	opened := make(chan struct{})
	g := &gate{open: sync.OnceFunc(func() { close(opened) })}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.requests++
		g.mu.Unlock()
		select {
		case <-opened:
		case <-r.Context().Done():
		}
		_, _ = w.Write(image) // The client may be gone.
	}))
	t.Cleanup(s.Close)
	t.Cleanup(g.open)
	g.url = s.URL
	return g
}

// await waits until the site has received n requests.
func (g *gate) await(t *testing.T, n int) {
	t.Helper()
	await(t, func() (bool, string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.requests >= n, fmt.Sprintf("%d requests of %d", g.requests, n)
	})
}

// TestWatchAtAnotherGateway posts a job to one gateway, and polls and watches it at the
// other. It verifies that the watcher receives every event.
func TestWatchAtAnotherGateway(t *testing.T) {
	t.Parallel()
	a, b, _ := twoGateways(t)
	site := newGate(t, photo(t))
	var batch []map[string]string
	for i := range 6 {
		batch = append(batch, map[string]string{"url": fmt.Sprintf("%s/%d.jpg", site.url, i)}, inline("photo.jpg", photo(t)))
	}
	id := a.submit(t, batch...)
	frames := make(chan []frame, 1)
	go func() { frames <- watch(t, b, id) }()
	await(t, func() (bool, string) {
		var metrics []byte
		b.call(t, http.MethodGet, "/metrics", nil, &metrics)
		return bytes.Contains(metrics, []byte("progress_watchers 1\n")), "there is no watcher"
	})
	site.open()
	at := b.ended(t, id)
	checkFrames(t, <-frames, at)
	if at.Completed != 12 {
		t.Errorf("job %+v", at)
	}
	var there jobResponse
	if status, _ := a.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, &there); status != http.StatusOK || !reflect.DeepEqual(there, at) {
		t.Errorf("one gateway returns %+v, the other %+v", there, at)
	}
}

// TestDownloadAtAnotherGateway creates one-time downloads at one gateway and uses them at both at the same moment. It verifies
// that each responds once.
func TestDownloadAtAnotherGateway(t *testing.T) {
	t.Parallel()
	a, b, sql := twoGateways(t)
	sent := photo(t)
	id := a.submit(t, inline("photo.jpg", sent))
	a.ended(t, id)
	for n := range 10 {
		var created struct{ Path string }
		if status, _ := a.call(t, http.MethodPost, "/api/v1/batch/"+id+"/download", strings.NewReader(`{"what":"original","image":0}`), &created); status != http.StatusCreated {
			t.Fatalf("POST: %d", status)
		}
		statuses := make([]int, 4)
		var requests sync.WaitGroup
		for i, g := range []*system{a, b, a, b} {
			requests.Go(func() {
				var data []byte
				statuses[i], _ = g.call(t, http.MethodGet, "/"+created.Path, nil, &data)
				if statuses[i] == http.StatusOK && !bytes.Equal(data, sent) {
					t.Errorf("got %d bytes, want the original", len(data))
				}
			})
		}
		requests.Wait()
		slices.Sort(statuses)
		if !slices.Equal(statuses, []int{200, 404, 404, 404}) {
			t.Errorf("download %d: got the statuses %v, want 200 once and 404", n, statuses)
		}
	}
	if left := sql("SELECT count(*) FROM downloads"); left != "0" {
		t.Errorf("%s used downloads are still stored", left)
	}
}

// TestWaitAtAnotherGateway posts a job to one gateway and follows it at the other by requests
// that wait. It verifies that each of them returns a change, until the job has ended.
func TestWaitAtAnotherGateway(t *testing.T) {
	t.Parallel()
	a, b, _ := twoGateways(t)
	site := newGate(t, photo(t))
	id := a.submit(t, map[string]string{"url": site.url + "/1.jpg"}, map[string]string{"url": site.url + "/2.jpg"})
	site.await(t, 2) // Both are processing, so the next change is the end of one.
	tag, changes := "", 0
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url("/api/v1/batch/"+id), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", tag)
		req.Header.Set("Prefer", "wait=30")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var at jobResponse
		err = json.NewDecoder(resp.Body).Decode(&at)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || err != nil || resp.Header.Get("ETag") == tag {
			t.Fatalf("after %d changes: status %d, %v, tag %s after %s", changes, resp.StatusCode, err, resp.Header.Get("ETag"), tag)
		}
		site.open()
		if tag = resp.Header.Get("ETag"); !at.CompletedAt.IsZero() {
			if at.Completed != 2 || changes == 0 {
				t.Errorf("after %d changes: job %+v", changes, at)
			}
			return
		}
		changes++
	}
}

// TestGatewayFailover kills a gateway with signal 9 while it downloads URLs and while it
// receives a request. It verifies that the other gateway finishes the accepted job and
// deletes the incomplete one.
func TestGatewayFailover(t *testing.T) {
	t.Parallel()
	a, b, sql := twoGateways(t)
	site := newGate(t, photo(t))
	var batch []map[string]string
	for i := range 4 {
		batch = append(batch, map[string]string{"url": fmt.Sprintf("%s/%d.jpg", site.url, i)}, inline("photo.jpg", photo(t)))
	}
	id := a.submit(t, batch...)
	site.await(t, 2) // A host that has not answered a job yet gets no more of its requests.

	var request sync.WaitGroup
	defer request.Wait()
	body, rest := io.Pipe()
	defer rest.Close()
	request.Go(func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url("/api/v1/batch"), body)
		if err != nil {
			t.Error(err)
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("half a request got the response %d", resp.StatusCode)
		}
	})
	first, err := json.Marshal(inline("photo.jpg", photo(t)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(rest, `{"images":[%s,`, first); err != nil {
		t.Fatal(err)
	}
	const received = `SELECT count(*) FROM jobs WHERE status = 'receiving'`
	await(t, func() (bool, string) { n := sql(received); return n == "1", n + " received" })

	_ = a.end(syscall.SIGKILL)
	killed := time.Now()
	site.open()
	at := b.ended(t, id)
	if at.Completed != 8 || at.Status != "completed" {
		t.Errorf("job %+v", at)
	}
	await(t, func() (bool, string) { n := sql(received); return n == "0", n + " received" })
	if took := time.Since(killed); took > time.Minute {
		t.Errorf("the failover took %s", took)
	}
	var list struct {
		Total int `json:"total"`
	}
	if b.call(t, http.MethodGet, "/api/v1/batch", nil, &list); list.Total != 1 {
		t.Errorf("%d jobs are listed, want 1", list.Total)
	}

	// The killed gateway is started again and returns the same job.
	a.start()
	a.awaitReady()
	if again := a.ended(t, id); !reflect.DeepEqual(again, at) {
		t.Errorf("one gateway returns %+v, the other %+v", again, at)
	}
}
