package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/shared/buildinfo"
)

// newClient returns a client for the system.
func newClient(t *testing.T, s *system, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(s.url(""), options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClient verifies that the Go client and the system understand each other: a batch of a file,
// bytes and URLs, its events, results, objects and archive, the list, a retry and a
// cancellation.
func TestClient(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t, "BASE_PATH=/base")
		site := origin(t, map[string][]byte{"p.jpg": photo(t)})
		seen := &recorder{}
		c, err := client.New(s.url("/base"), client.WithHTTPClient(&http.Client{Transport: seen}))
		if err != nil {
			t.Fatal(err)
		}
		limits, err := c.Limits(t.Context())
		if err != nil || limits.MaxImages != 100 || !slices.Equal(limits.Formats, []string{"jpeg", "png"}) {
			t.Fatalf("limits %+v, %v", limits, err)
		}

		path := filepath.Join(t.TempDir(), "ä \"b\" \\.jpg")
		writeFile(t, path, photo(t))
		file := client.File(path)
		file.CustomID = "x/ä.jpg"
		images := []client.Image{file, client.Bytes("empty.png", nil), client.URL(site + "/p.jpg"), client.URL(site + "/gone.jpg")}
		send := func() (client.Job, error) {
			return c.Create(t.Context(), images, client.WithIdempotencyKey("once"), client.WithMetadata(map[string]string{"album": "Summer"}))
		}
		job, err := send()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := send(); err != nil || again.ID != job.ID {
			t.Errorf("the same batch again is job %q, %v, want %q", again.ID, err, job.ID)
		}

		ends := map[int]client.Status{}
		var last client.Event
		for e, err := range c.Watch(t.Context(), job.ID) {
			if err != nil {
				t.Fatal(err)
			}
			if last = e; e.Image != nil {
				ends[e.Image.Index] = e.Image.Status
			}
		}
		if want := fmt.Sprint(map[int]client.Status{0: "completed", 1: "failed", 2: "completed", 3: "failed"}); fmt.Sprint(ends) != want || last.Type != client.JobCompleteEvent || last.Completed != 2 {
			t.Errorf("events: %v, the last is %+v", ends, last)
		}
		if got := seen.paths(); got[len(got)-1] != "/base/api/v1/batch/"+job.ID+"/events" {
			t.Errorf("requests for %q, want the last one for the events", got)
		}
		groups, err := c.Similar(t.Context(), job.ID, 10)
		if err != nil || len(groups) != 1 || groups[0].Kind != "exact" || groups[0].Images[0] != (client.GroupImage{Index: 0, CustomID: "x/ä.jpg", Suggested: true}) || groups[0].Images[1].Index != 2 {
			t.Errorf("similar images %+v, %v, want 0 and 2, which are one file", groups, err)
		}
		ended, err := c.Wait(t.Context(), job.ID)
		if err != nil || ended.Status != client.Completed || ended.Images[0].OriginalFilename != "ä \"b\" \\.jpg" || ended.Images[0].CustomID != "x/ä.jpg" || ended.Metadata["album"] != "Summer" {
			t.Errorf("job %+v, %v", ended, err)
		}

		var codes []string
		for r, err := range c.Results(t.Context(), job.ID) {
			if err != nil {
				t.Fatal(err)
			}
			var record struct {
				Width int `json:"width"`
			}
			if r.Status == client.Completed && (json.Unmarshal(r.Metadata, &record) != nil || record.Width == 0) {
				t.Errorf("record %s", r.Metadata)
			}
			codes = append(codes, r.ErrorCode)
		}
		if want := []string{"", "not_an_image", "", "download_failed"}; !slices.Equal(codes, want) {
			t.Errorf("codes %q, want %q", codes, want)
		}
		var saved, original bytes.Buffer
		if _, err := c.Download(t.Context(), job.ID, 0, client.ProcessedFile, &saved); err != nil || !bytes.HasPrefix(saved.Bytes(), []byte("\xff\xd8")) {
			t.Errorf("file: %v", err)
		}
		if _, err := c.Download(t.Context(), job.ID, 0, client.Original, &original); err != nil || !bytes.Equal(original.Bytes(), photo(t)) {
			t.Errorf("original: %d bytes, %v", original.Len(), err)
		}
		if _, err := c.Object(t.Context(), job.ID, 1, client.Record); !isStatus(err, http.StatusNotFound) {
			t.Errorf("record of a failed image: %v", err)
		}
		var archive bytes.Buffer
		if _, err := c.Zip(t.Context(), job.ID, &archive, client.ZipOptions{Include: []client.Kind{client.ProcessedFile}, CustomIDPaths: true}); err != nil {
			t.Fatal(err)
		}
		r, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
		if err != nil || r.File[0].Name != "x/ä.jpg" || len(r.File) != 3 {
			t.Errorf("archive %v, %v", r, err)
		}

		retried, err := c.Retry(t.Context(), job.ID)
		if err != nil || retried.RetryOf != job.ID {
			t.Fatalf("retry %+v, %v", retried, err)
		}
		if ended, err := c.Wait(t.Context(), retried.ID); err != nil || ended.Status != client.Failed {
			t.Errorf("retry ended as %+v, %v", ended, err)
		}
		if _, err := c.Cancel(t.Context(), job.ID); !isStatus(err, http.StatusConflict) {
			t.Errorf("cancelling an ended job: %v", err)
		}
		var ids []string
		for j, err := range c.List(t.Context(), client.ListOptions{FailedImages: true, OldestFirst: true, PageSize: 1, WithoutImages: true}) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, j.ID)
		}
		if !slices.Equal(ids, []string{job.ID, retried.ID}) {
			t.Errorf("list %q, want %q and %q", ids, job.ID, retried.ID)
		}
	})
}

// recorder records the paths of requests.
type recorder struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.list = append(r.list, req.URL.Path)
	r.mu.Unlock()
	return http.DefaultTransport.RoundTrip(req)
}

func (r *recorder) paths() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

func isStatus(err error, status int) bool {
	e, ok := err.(*client.Error) //nolint:errorlint // The client returns it as it is.
	return ok && e.Status == status
}

// TestClientVersion verifies that the client and the services have one version, and that the
// command line requires that version of the client.
func TestClientVersion(t *testing.T) {
	if client.Version != buildinfo.Version {
		t.Errorf("the client has the version %s and the services %s", client.Version, buildinfo.Version)
	}
	want := "github.com/imagebatch/imagebatch/client v" + strings.TrimSuffix(client.Version, "-dev")
	for _, file := range []string{"../../client/cmd/imagebatch/go.mod", "../../go.work"} {
		if !strings.Contains(string(readFile(t, file)), want+" ") && !strings.Contains(string(readFile(t, file)), want+"\n") {
			t.Errorf("%s does not name %s", file, want)
		}
	}
}
