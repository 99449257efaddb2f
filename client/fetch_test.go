package client_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client"
)

// TestResults verifies that results are read line by line, continue after a broken
// connection, and are never silently incomplete.
func TestResults(t *testing.T) {
	line := func(i int) string {
		return fmt.Sprintf(`{"index":%d,"status":"completed","metadata":{"width":%d}}`+"\n", i, i)
	}
	all := line(0) + line(1) + line(2)
	serve := func(bodies ...string) *standIn {
		n := 0
		return newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			if !strings.HasSuffix(r.URL.Path, "/results.jsonl") {
				respond(w, 200, job("completed", "completed", "completed", "completed"))
				return
			}
			body := bodies[min(n, len(bodies)-1)]
			n++
			w.Header().Set("Content-Type", "application/jsonl")
			_, _ = io.WriteString(w, body)
			if len(body) < len(all) {
				cut(w)
			}
		})
	}
	for name, c := range map[string]struct {
		bodies []string
		want   []int
		err    error
	}{
		"whole":           {[]string{all}, []int{0, 1, 2}, nil},
		"cut in a line":   {[]string{all[:len(all)-10], all}, []int{0, 1, 2}, nil},
		"cut at once":     {[]string{"", all[:len(line(0))], all}, []int{0, 1, 2}, nil},
		"always cut":      {[]string{all[:len(all)-1]}, []int{0, 1}, client.ErrTruncated},
		"ended too early": {[]string{line(0) + line(1) + strings.Repeat(" ", len(line(2)))}, []int{0, 1}, client.ErrTruncated},
	} {
		var got []int
		var last error
		for r, err := range serve(c.bodies...).client(client.WithRetries(3)).Results(t.Context(), "J") {
			if last = err; err == nil {
				got = append(got, r.Index)
				if want := fmt.Sprintf(`{"width":%d}`, r.Index); string(r.Metadata) != want {
					t.Errorf("%s: metadata %s, want %s", name, r.Metadata, want)
				}
			}
		}
		if !slices.Equal(got, c.want) || !errors.Is(last, c.err) {
			t.Errorf("%s: %v, %v, want %v, %v", name, got, last, c.want, c.err)
		}
	}
	for name, body := range map[string]string{
		"another line": line(1) + all, "no JSON": "<html>" + all, "endless line": strings.Repeat("x", 6<<20),
	} {
		n := 0
		for _, err := range serve(body).client().Results(t.Context(), "J") {
			if n++; err == nil || errors.Is(err, client.ErrTruncated) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d results, want one error", name, n)
		}
	}
}

// TestObject verifies that a download continues where its connection broke, and never joins
// two objects.
func TestObject(t *testing.T) {
	content := make([]byte, 300_000)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	for name, c := range map[string]struct {
		etag, then string // the ETags of the first and of the later responses
		ignore     bool   // the gateway ignores Range
		err        bool
	}{
		"resumed":         {etag: `"a"`, then: `"a"`},
		"replaced":        {etag: `"a"`, then: `"b"`, err: true},
		"without a range": {etag: `"a"`, then: `"a"`, ignore: true, err: true},
		"without a tag":   {err: true},
		"with a weak tag": {etag: `W/"a"`, then: `W/"a"`, err: true},
	} {
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
			start := 0
			tag := c.etag
			if n > 1 {
				tag = c.then
				if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start); err != nil || r.Header.Get("If-Range") != c.etag {
					t.Errorf("%s: Range %q, If-Range %q", name, r.Header.Get("Range"), r.Header.Get("If-Range"))
				}
			}
			w.Header().Set("ETag", tag)
			w.Header().Set("Content-Disposition", `attachment; filename="../x.jpg"`)
			if n > 1 && tag == c.etag && !c.ignore {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(content)-1, len(content)))
				w.Header().Set("Content-Length", fmt.Sprint(len(content)-start))
				w.WriteHeader(http.StatusPartialContent)
			} else {
				start = 0
				w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			}
			if n < 3 {
				_, _ = w.Write(content[start : start+100_000])
				cut(w)
			}
			_, _ = w.Write(content[start:])
		})
		o, err := s.client().Object(t.Context(), "J", 0, client.ProcessedFile)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o)
		if (err != nil) != c.err || err == nil && !bytes.Equal(got, content) || !bytes.HasPrefix(content, got) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if name == "replaced" && !errors.Is(err, client.ErrChanged) {
			t.Errorf("%s: %v, want ErrChanged", name, err)
		}
		if o.Name != "x.jpg" || o.Size != int64(len(content)) {
			t.Errorf("%s: name %q, size %d", name, o.Name, o.Size)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestStalled verifies that a download continues over another connection if no bytes arrive.
func TestStalled(t *testing.T) {
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("ETag", `"a"`)
		if n == 1 {
			w.Header().Set("Content-Length", "6")
			_, _ = io.WriteString(w, "abc")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Range", "bytes 3-5/6")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, "def")
	})
	var got bytes.Buffer
	n, err := s.client(client.WithStall(50*time.Millisecond)).Download(t.Context(), "J", 0, client.Original, &got)
	if err != nil || n != 6 || got.String() != "abcdef" {
		t.Errorf("%d bytes %q, %v", n, got.String(), err)
	}
}

// TestZip verifies the query, and that an archive that is cut off is an error, even if the
// connection ended properly.
func TestZip(t *testing.T) {
	var whole bytes.Buffer
	w := zip.NewWriter(&whole)
	f, _ := w.Create("a.jpg")
	_, _ = f.Write(make([]byte, 5000))
	_ = w.Close()
	for size, want := range map[int]bool{whole.Len(): true, whole.Len() - 1: false, 10: false, 0: false} {
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			if r.URL.RequestURI() != "/api/v1/batch/J/results.zip?include=file%2Cxmp&paths=custom_id" {
				t.Errorf("request for %s", r.URL.RequestURI())
			}
			_, _ = w.Write(whole.Bytes()[:size])
		})
		var got bytes.Buffer
		n, err := s.client().Zip(t.Context(), "J", &got, client.ZipOptions{Include: []client.Kind{client.ProcessedFile, client.Sidecar}, CustomIDPaths: true})
		if (err == nil) != want || !want && !errors.Is(err, client.ErrTruncated) || n != int64(size) || got.Len() != size {
			t.Errorf("%d of %d bytes: %d, %v", size, whole.Len(), n, err)
		}
	}
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		_, _ = w.Write(whole.Bytes()[:100])
		cut(w)
	})
	if _, err := s.client().Zip(t.Context(), "J", io.Discard, client.ZipOptions{}); err == nil {
		t.Error("a broken connection is no error")
	}
}
