package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client"
)

// TestCreate verifies the form that Create sends, and what it returns.
func TestCreate(t *testing.T) {
	var got []part
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		got = parts(t, r)
		respond(w, http.StatusCreated, map[string]any{
			"job_id": "J", "status": "pending", "created_at": "2026-11-28T18:00:00Z", "message": "Batch job created with 4 images", "warnings": []string{"w"},
		})
	})
	path := filepath.Join(t.TempDir(), "ä \"b\" \\.jpg")
	if err := os.WriteFile(path, []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := client.File(path)
	file.CustomID = "x/ä.jpg"
	named := client.URL("https://example.com/x?y=%2B")
	named.Name, named.Headers = "x.jpg", map[string]string{"Referer": "r"}
	j, err := s.client(client.WithAPIKey("secret")).Create(t.Context(), []client.Image{
		file, client.Bytes("b.png", []byte("data")), client.URL("https://example.com/u.jpg"), named,
	}, client.WithMetadata(map[string]string{"album": "Summer"}), client.WithCaptions(false))
	if err != nil {
		t.Fatal(err)
	}
	if j.ID != "J" || j.Status != client.Pending || j.Total != 4 || !slices.Equal(j.Warnings, []string{"w"}) || j.CreatedAt.IsZero() {
		t.Errorf("job %+v", j)
	}
	var options map[string]any
	if len(got) != 5 || got[0].name != "options" || json.Unmarshal([]byte(got[0].content), &options) != nil {
		t.Fatalf("parts %q, want the options first", got)
	}
	text, _ := json.Marshal(options) // sorted
	if want := `{"captions":false,"custom_ids":["x/ä.jpg","","",""],"headers":[null,null,null,{"Referer":"r"}],"metadata":{"album":"Summer"}}`; string(text) != want {
		t.Errorf("options %s, want %s", text, want)
	}
	want := []part{
		{"image", "ä \"b\" \\.jpg", "file"},
		{"image", "b.png", "data"},
		{"url", "", "https://example.com/u.jpg"},
		{"url", "x.jpg", "https://example.com/x?y=%2B"},
	}
	if !slices.Equal(got[1:], want) {
		t.Errorf("parts %q, want %q", got[1:], want)
	}
	requests, _ := s.log()
	r := requests[0]
	if r.target != "/api/v1/batch" || r.header.Get("Authorization") != "Bearer secret" || len(r.header.Get("Idempotency-Key")) < 20 || r.length <= 0 {
		t.Errorf("request %+v, want the path, the key, an idempotency key and a length", r)
	}
}

// TestUnknownSize verifies that an image whose size is unknown is sent without a length, and
// that an empty image is an image.
func TestUnknownSize(t *testing.T) {
	var got []part
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		got = parts(t, r)
		created(w, "J")
	})
	unknown := client.Image{Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("data")), nil }}
	if _, err := s.client().Create(t.Context(), []client.Image{unknown, client.Bytes("", nil)}); err != nil {
		t.Fatal(err)
	}
	if requests, _ := s.log(); requests[0].length != -1 {
		t.Errorf("length %d, want none", requests[0].length)
	}
	if want := []part{{"image", "image-1", "data"}, {"image", "image-2", ""}}; !slices.Equal(got, want) {
		t.Errorf("parts %q, want %q", got, want)
	}
}

// endless is an image that counts how often it is opened and how much of it is read.
type endless struct {
	opened, closed atomic.Int32
	read           atomic.Int64
	size           int64
}

func (e *endless) image() client.Image {
	return client.Image{Name: "e.jpg", Size: e.size, Open: func() (io.ReadCloser, error) {
		e.opened.Add(1)
		return &endlessReader{e, io.LimitReader(zeros{}, e.size)}, nil
	}}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

type endlessReader struct {
	e *endless
	r io.Reader
}

func (r *endlessReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.e.read.Add(int64(n))
	return n, err
}

func (r *endlessReader) Close() error {
	r.e.closed.Add(1)
	return nil
}

// TestUploadReset verifies that a batch whose upload breaks off is sent again, with the same
// key and from the start of its images.
func TestUploadReset(t *testing.T) {
	e := &endless{size: 8 << 20}
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
			reset(w)
			return
		}
		if got := parts(t, r); len(got) != 1 || len(got[0].content) != 8<<20 {
			t.Errorf("the second attempt has %d parts", len(got))
		}
		created(w, "J")
	})
	if j, err := s.client().Create(t.Context(), []client.Image{e.image()}); err != nil || j.ID != "J" {
		t.Fatalf("job %+v, %v", j, err)
	}
	requests, slept := s.log()
	if len(requests) != 2 || requests[0].header.Get("Idempotency-Key") != requests[1].header.Get("Idempotency-Key") {
		t.Errorf("%d requests, want 2 with the same key", len(requests))
	}
	if len(slept) != 1 || slept[0] < 100*time.Millisecond || slept[0] > time.Minute {
		t.Errorf("waited %v, want once", slept)
	}
	if e.opened.Load() != 2 || e.closed.Load() != 2 {
		t.Errorf("opened %d times and closed %d times, want 2", e.opened.Load(), e.closed.Load())
	}
}

// TestLostResponse verifies that one job is created if the response is lost after it was
// created.
func TestLostResponse(t *testing.T) {
	var mu sync.Mutex
	jobs := map[string]string{}
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
		parts(t, r)
		mu.Lock()
		defer mu.Unlock()
		key := r.Header.Get("Idempotency-Key")
		if jobs[key] == "" {
			jobs[key] = "J" + string(rune('0'+len(jobs)))
		}
		if n == 1 {
			reset(w)
			return
		}
		created(w, jobs[key])
	})
	j, err := s.client().Create(t.Context(), []client.Image{client.Bytes("a.jpg", []byte("a"))})
	if err != nil || j.ID != "J0" || len(jobs) != 1 {
		t.Errorf("job %q, %v, and the gateway has %v; want one job", j.ID, err, jobs)
	}
	if _, err := s.client().Create(t.Context(), []client.Image{client.Bytes("a.jpg", []byte("a"))}, client.WithIdempotencyKey("mine")); err != nil || jobs["mine"] == "" {
		t.Errorf("the given key was not used: %v, %v", jobs, err)
	}
}

// TestRefusedBeforeUpload verifies that a batch that the gateway refuses is not uploaded.
func TestRefusedBeforeUpload(t *testing.T) {
	e := &endless{size: 8 << 20}
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		refuse(w, http.StatusUnauthorized, "API key required")
	})
	_, err := s.client().Create(t.Context(), []client.Image{e.image()})
	got, ok := errors.AsType[*client.Error](err)
	if !ok || got.Status != http.StatusUnauthorized || got.Text != "API key required" {
		t.Errorf("error %v, want 401", err)
	}
	if n := e.read.Load(); n != 0 {
		t.Errorf("%d bytes of the image were read", n)
	}
}

// TestUnreadableImage verifies that an image that cannot be read, or has another size than
// announced, is an ImageError, and that the batch is not sent again.
func TestUnreadableImage(t *testing.T) {
	var completed atomic.Int32
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			completed.Add(1)
		}
		created(w, "J")
	})
	resized := func(size int64) client.Image {
		img := client.Bytes("r.jpg", make([]byte, 100_000))
		img.Size = size
		return img
	}
	broken := errors.New("disk failed")
	failing := client.Image{Name: "f.jpg", Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, 100_000)), errorReader{broken})), nil
	}}
	for name, c := range map[string]struct {
		image client.Image
		want  error
	}{
		"missing":          {client.File(filepath.Join(t.TempDir(), "no.jpg")), fs.ErrNotExist},
		"shrunk":           {resized(100_001), nil},
		"grown":            {resized(99_999), nil},
		"failing":          {failing, broken},
		"both":             {client.Image{URL: "http://x/", Open: failing.Open}, nil},
		"neither":          {client.Image{}, nil},
		"URL of one space": {client.URL(" "), nil},
	} {
		before, _ := s.log()
		_, err := s.client().Create(t.Context(), []client.Image{client.Bytes("a.jpg", []byte("a")), c.image})
		got, ok := errors.AsType[*client.ImageError](err)
		if !ok || got.Index != 1 || got.Name != c.image.Name || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want an ImageError of image 1", name, err)
		}
		if after, slept := s.log(); len(after) > len(before)+1 || len(slept) > 0 {
			t.Errorf("%s: the batch was sent again", name)
		}
	}
	if n := completed.Load(); n != 0 {
		t.Errorf("%d incomplete batches arrived as complete ones", n)
	}
	if _, err := s.client().Create(t.Context(), nil); err == nil {
		t.Error("a batch without images was sent")
	}
}

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

// TestRetried verifies which responses are repeated, and when.
func TestRetried(t *testing.T) {
	date := time.Date(2026, 11, 28, 18, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		status   int
		header   http.Header
		min, max time.Duration // 0: not repeated
	}{
		"429 in seconds":       {429, http.Header{"Retry-After": {"7"}}, 7 * time.Second, 9 * time.Second},
		"503 in seconds":       {503, http.Header{"Retry-After": {" 60 "}}, time.Minute, 68 * time.Second},
		"503 at a date":        {503, http.Header{"Retry-After": {"Sat, 28 Nov 2026 18:00:30 GMT"}, "Date": {date.Format(http.TimeFormat)}}, 30 * time.Second, 35 * time.Second},
		"503 at a date before": {503, http.Header{"Retry-After": {"Sat, 28 Nov 2026 17:00:00 GMT"}, "Date": {date.Format(http.TimeFormat)}}, time.Second, 3 * time.Second},
		"503 with 0":           {503, http.Header{"Retry-After": {"0"}}, time.Second, 3 * time.Second},
		"503 without":          {503, nil, 250 * time.Millisecond, 2 * time.Second},
		"429 without":          {429, nil, 250 * time.Millisecond, 2 * time.Second},
		"503 with nonsense":    {503, http.Header{"Retry-After": {"soon"}}, 250 * time.Millisecond, 2 * time.Second},
		"409 in flight":        {409, http.Header{"Retry-After": {"1"}}, time.Second, 3 * time.Second},
		"408":                  {408, nil, 250 * time.Millisecond, 2 * time.Second},
		"502 of a proxy":       {502, nil, 250 * time.Millisecond, 2 * time.Second},
		"504 of a proxy":       {504, nil, 250 * time.Millisecond, 2 * time.Second},
		"409 of a state":       {409, nil, 0, 0},
		"429 that is too long": {429, http.Header{"Retry-After": {"3600"}}, 0, 0},
		"400":                  {400, nil, 0, 0},
		"401":                  {401, nil, 0, 0},
		"403":                  {403, nil, 0, 0},
		"404":                  {404, nil, 0, 0},
		"413":                  {413, nil, 0, 0},
		"422 with Retry-After": {422, http.Header{"Retry-After": {"1"}}, 0, 0},
		"500":                  {500, nil, 0, 0},
	} {
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				maps.Copy(w.Header(), c.header)
				refuse(w, c.status, "no")
				return
			}
			parts(t, r)
			created(w, "J")
		})
		_, err := s.client().Create(t.Context(), []client.Image{client.Bytes("a.jpg", []byte("a"))})
		requests, slept := s.log()
		if c.max == 0 {
			got, ok := errors.AsType[*client.Error](err)
			if !ok || got.Status != c.status || got.Text != "no" || len(requests) != 1 {
				t.Errorf("%s: %d requests, %v", name, len(requests), err)
			}
			if c.header.Get("Retry-After") == "3600" && got.RetryAfter != time.Hour {
				t.Errorf("%s: RetryAfter %s", name, got.RetryAfter)
			}
			continue
		}
		if err != nil || len(requests) != 2 || len(slept) != 1 || slept[0] < c.min || slept[0] > c.max {
			t.Errorf("%s: %d requests, waited %v, %v; want a wait of %s to %s", name, len(requests), slept, err, c.min, c.max)
		}
	}
}

// TestJitter verifies that clients that were refused together do not return together.
func TestJitter(t *testing.T) {
	waits := map[time.Duration]bool{}
	for range 5 {
		s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			if n < 3 {
				w.Header().Set("Retry-After", "5")
				refuse(w, 503, "no")
				return
			}
			respond(w, 200, job("pending", "pending"))
		})
		if _, err := s.client().Job(t.Context(), "J"); err != nil {
			t.Fatal(err)
		}
		_, slept := s.log()
		for _, d := range slept {
			waits[d] = true
		}
	}
	if len(waits) < 9 {
		t.Errorf("%d different waits of 10: %v", len(waits), waits)
	}
}

// TestAttempts verifies that a request is repeated only so often, and that the error is still
// the gateway's.
func TestAttempts(t *testing.T) {
	for _, n := range []int{0, 3} {
		s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) { refuse(w, 503, "busy") })
		var notices atomic.Int32
		_, err := s.client(client.WithRetries(n), client.WithRetryNotice(func(error, time.Duration) { notices.Add(1) })).Job(t.Context(), "J")
		got, ok := errors.AsType[*client.Error](err)
		if requests, _ := s.log(); !ok || got.Status != 503 || len(requests) != n+1 || int(notices.Load()) != n {
			t.Errorf("%d retries: %d requests, %d notices, %v", n, len(requests), notices.Load(), err)
		}
	}
	gone := newStandIn(t, nil)
	c := gone.client(client.WithRetries(2))
	gone.Close()
	if _, err := c.Job(t.Context(), "J"); err == nil || len(gone.slept) != 2 {
		t.Errorf("without a gateway: waited %v, %v", gone.slept, err)
	}
}

// TestSilentServer verifies that the context ends a request that is never answered, and a
// wait between two attempts.
func TestSilentServer(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	s := newStandIn(t, func(_ http.ResponseWriter, r *http.Request, _ int) {
		cancel(cause)
		<-r.Context().Done()
	})
	if _, err := s.client().Job(ctx, "J"); !errors.Is(err, cause) {
		t.Errorf("error %v, want that of the context", err)
	}
	s = newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) { refuse(w, 503, "busy") })
	waiting, stop := context.WithCancelCause(t.Context())
	c, err := client.New(s.URL, client.WithRetryNotice(func(error, time.Duration) { stop(cause) }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Job(waiting, "J"); !errors.Is(err, cause) {
		t.Errorf("error %v while waiting, want that of the context", err)
	}
}
