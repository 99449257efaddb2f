package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// replaceFile replaces the file of an image.
func (r *rig) replaceFile(id string, index int, content []byte) {
	r.Helper()
	path := pipeline.ProcessedKey(pipeline.NewTraceID(id, index), fmt.Sprintf("x/image%d.png", index+1))
	r.must(r.processed.Put(r.Context(), path, objectstore.Content{Data: content, Type: "image/png"}))
}

// TestConditions sends conditional requests and ranges for a file of nine bytes.
func TestConditions(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, nil)
	path := "/api/v1/batch/" + id + "/images/0/file"
	plain := r.get(path)
	etag := plain.header.Get("ETag")
	if !strings.HasPrefix(etag, `"`) || len(etag) < 3 || plain.header.Get("Accept-Ranges") != "bytes" {
		t.Fatalf("got the header %v", plain.header)
	}
	const all = "the image"
	for name, c := range map[string]struct {
		header []string
		status int
		want   string // the body
		part   string // Content-Range
	}{
		"known":                      {[]string{"If-None-Match", etag}, 304, "", ""},
		"known, weak":                {[]string{"If-None-Match", "W/" + etag}, 304, "", ""},
		"known, in a list":           {[]string{"If-None-Match", `"x,y" , W/"z",` + etag}, 304, "", ""},
		"any":                        {[]string{"If-None-Match", " * "}, 304, "", ""},
		"unknown":                    {[]string{"If-None-Match", `"x", "` + etag[1:3] + `"`}, 200, all, ""},
		"inside another":             {[]string{"If-None-Match", `"x,` + etag[1:]}, 200, all, ""},
		"without quotes":             {[]string{"If-None-Match", etag[1 : len(etag)-1]}, 200, all, ""},
		"no end":                     {[]string{"If-None-Match", etag[:len(etag)-1]}, 200, all, ""},
		"known, part":                {[]string{"If-None-Match", etag, "Range", "bytes=0-1"}, 304, "", ""},
		"a date":                     {[]string{"If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"}, 200, all, ""},
		"required":                   {[]string{"If-Match", `"x", ` + etag}, 200, all, ""},
		"anything required":          {[]string{"If-Match", "*"}, 200, all, ""},
		"required, then known":       {[]string{"If-Match", etag, "If-None-Match", etag}, 304, "", ""},
		"the start":                  {[]string{"Range", "bytes=0-2"}, 206, "the", "bytes 0-2/9"},
		"the middle":                 {[]string{"Range", "bytes=4-4"}, 206, "i", "bytes 4-4/9"},
		"from the middle":            {[]string{"Range", "bytes=4-"}, 206, "image", "bytes 4-8/9"},
		"the end":                    {[]string{"Range", "bytes=-5"}, 206, "image", "bytes 4-8/9"},
		"past the end":               {[]string{"Range", "bytes=8-100"}, 206, "e", "bytes 8-8/9"},
		"far past the end":           {[]string{"Range", "bytes=8-99999999999999999999"}, 206, "e", "bytes 8-8/9"},
		"more than all":              {[]string{"Range", "bytes=-99999999999999999999"}, 206, all, "bytes 0-8/9"},
		"upper case":                 {[]string{"Range", "BYTES=0-0"}, 206, "t", "bytes 0-0/9"},
		"several ranges":             {[]string{"Range", "bytes=0-1,4-5"}, 200, all, ""},
		"backwards":                  {[]string{"Range", "bytes=5-3"}, 200, all, ""},
		"no numbers":                 {[]string{"Range", "bytes=-"}, 200, all, ""},
		"no range":                   {[]string{"Range", "bytes=abc"}, 200, all, ""},
		"another unit":               {[]string{"Range", "items=0-1"}, 200, all, ""},
		"a sign":                     {[]string{"Range", "bytes=+0-1"}, 200, all, ""},
		"part of this":               {[]string{"Range", "bytes=0-2", "If-Range", etag}, 206, "the", "bytes 0-2/9"},
		"part of another":            {[]string{"Range", "bytes=0-2", "If-Range", `"x"`}, 200, all, ""},
		"part of this, weak":         {[]string{"Range", "bytes=0-2", "If-Range", "W/" + etag}, 200, all, ""},
		"part since a date":          {[]string{"Range", "bytes=0-2", "If-Range", "Fri, 01 Jan 2100 00:00:00 GMT"}, 200, all, ""},
		"no part of another, past":   {[]string{"Range", "bytes=100-", "If-Range", `"x"`}, 200, all, ""},
		"unknown, part":              {[]string{"If-None-Match", `"x"`, "Range", "bytes=0-2"}, 206, "the", "bytes 0-2/9"},
		"required and the last part": {[]string{"If-Match", etag, "Range", "bytes=-1"}, 206, "e", "bytes 8-8/9"},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.do("GET", path, nil, c.header...)
			if got.status != c.status || string(got.body) != c.want || got.header.Get("Content-Range") != c.part {
				t.Errorf("got %d %q %q, want %d %q %q", got.status, got.body, got.header.Get("Content-Range"), c.status, c.want, c.part)
			}
			if got.header.Get("ETag") != etag || got.header.Get("Cache-Control") != "private, no-cache" || got.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("got the header %v", got.header)
			}
			if got.status != 304 && (got.header.Get("Content-Disposition") == "" || got.header.Get("Content-Length") != fmt.Sprint(len(c.want))) {
				t.Errorf("got the header %v", got.header)
			}
		})
	}
	wantError(t, r.do("GET", path, nil, "If-Match", `"x"`), 412, "The result does not have the ETag in If-Match")
	wantError(t, r.do("GET", path, nil, "If-Match", "W/"+etag), 412, "The result does not have the ETag in If-Match")
	for _, past := range []string{"bytes=9-", "bytes=9-10", "bytes=-0", "bytes=99999999999999999999-"} {
		got := r.do("GET", path, nil, "Range", past)
		wantError(t, got, 416, "Range is outside of the 9 bytes of the result")
		if got.header.Get("Content-Range") != "bytes */9" {
			t.Errorf("%s: got Content-Range %q", past, got.header.Get("Content-Range"))
		}
	}
	for _, c := range []struct {
		header []string
		status int
	}{{nil, 200}, {[]string{"Range", "bytes=0-2"}, 200}, {[]string{"Range", "bytes=100-"}, 200}, {[]string{"If-None-Match", etag}, 304}, {[]string{"If-Match", `"x"`}, 412}} {
		got := r.do("HEAD", path, nil, c.header...)
		if got.status != c.status || c.status == 200 && (got.header.Get("Content-Length") != "9" || got.header.Get("ETag") != etag || got.header.Get("Accept-Ranges") != "bytes") {
			t.Errorf("HEAD with %v: got %d %v, want %d", c.header, got.status, got.header, c.status)
		}
	}
	r.replaceFile(id, 0, []byte("new bytes"))
	if got := r.do("GET", path, nil, "If-None-Match", etag, "Range", "bytes=0-2", "If-Range", etag); got.status != 200 || string(got.body) != "new bytes" || got.header.Get("ETag") == etag {
		t.Errorf("after the file was replaced: got %d %s %v", got.status, got.body, got.header)
	}
}

// TestTwoRangeHeaders verifies that two headers with a range are several ranges.
func TestTwoRangeHeaders(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, nil)
	got := r.raw("GET /api/v1/batch/" + id + "/images/0/file HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nRange: bytes=4-5\r\n\r\n")
	if got.status != 200 || string(got.body) != "the image" {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// TestRangesOfAnEmptyFile verifies that no range is inside an empty file.
func TestRangesOfAnEmptyFile(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, nil)
	r.replaceFile(id, 0, nil)
	for _, header := range []string{"bytes=0-", "bytes=-5", "bytes=0-0"} {
		wantError(t, r.do("GET", "/api/v1/batch/"+id+"/images/0/file", nil, "Range", header), 416, "Range is outside of the 0 bytes of the result")
	}
}

// TestReplacedWhileRead verifies that a part is never taken from a file whose ETag the
// response does not name, even if the file is replaced while the request is served.
func TestReplacedWhileRead(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, nil)
	path := "/api/v1/batch/" + id + "/images/0/file"
	replaced := 0
	replace := func(times int) {
		replaced = 0
		hook := func() {
			if replaced++; replaced <= times {
				r.replaceFile(id, 0, []byte(fmt.Sprintf("file %04d", replaced)))
			}
		}
		r.processed.part.Store(&hook)
	}
	replace(2)
	got := r.do("GET", path, nil, "Range", "bytes=-4")
	if got.status != 206 || string(got.body) != "0002" || got.header.Get("ETag") != r.get(path).header.Get("ETag") {
		t.Errorf("replaced twice: got %d %s %v", got.status, got.body, got.header)
	}
	replace(1000)
	wantError(t, r.do("GET", path, nil, "Range", "bytes=-4"), 503, "Service temporarily unavailable, try again later")
	if replaced != 3 {
		t.Errorf("a file that changes all the time was read %d times, want 3", replaced)
	}
}

// TestNoETag reads from a store without ETags: there are no conditions and no ranges.
func TestNoETag(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, nil)
	store := noETags{r.processed.Store}
	r.processed.Store = store
	got := r.do("GET", "/api/v1/batch/"+id+"/images/0/file", nil, "Range", "bytes=0-2", "If-None-Match", `""`)
	if got.status != 200 || string(got.body) != "the image" || got.header.Get("ETag")+got.header.Get("Accept-Ranges") != "" {
		t.Errorf("got %d %s %v", got.status, got.body, got.header)
	}
}

type noETags struct{ objectstore.Store }

func (s noETags) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	info, err := s.Store.Stat(ctx, key)
	info.ETag = ""
	return info, err
}

func (s noETags) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	o, err := s.Store.Get(ctx, key)
	if err == nil {
		o.ETag = ""
	}
	return o, err
}

// TestResume verifies that a client that lost the connection gets the rest of a file.
func TestResume(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, nil)
	whole := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	r.replaceFile(id, 0, whole)
	path := "/api/v1/batch/" + id + "/images/0/file"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, nil)
	r.must(err)
	resp, err := r.client.Do(req)
	r.must(err)
	have := make([]byte, 100_003)
	_, err = io.ReadFull(resp.Body, have)
	r.must(err)
	resp.Body.Close()
	rest := r.do("GET", path, nil, "Range", fmt.Sprintf("bytes=%d-", len(have)), "If-Range", resp.Header.Get("ETag"))
	if rest.status != 206 || !bytes.Equal(append(have, rest.body...), whole) {
		t.Errorf("got %d with %d bytes, which are not the rest", rest.status, len(rest.body))
	}
}

func TestOriginal(t *testing.T) {
	r := setup(t, options{})
	id := r.create(3)
	r.end(id, 1, nil)
	r.end(id, 2, errDamaged)
	base := "/api/v1/batch/" + id + "/images/"
	for i := range 3 { // open, completed, failed
		path := fmt.Sprintf("%s%d/original", base, i)
		got := r.get(path)
		if got.status != 200 || !bytes.Equal(got.body, tinyPNG(t)) {
			t.Errorf("images[%d]: got %d with %d bytes", i, got.status, len(got.body))
		}
		name := fmt.Sprintf("image%d.png", i+1)
		for key, value := range map[string]string{
			"Content-Type": "image/png", "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes",
			"Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
			"Content-Disposition":     `attachment; filename="` + name + `"; filename*=UTF-8''` + name,
		} {
			if got.header.Get(key) != value {
				t.Errorf("images[%d]: got %s %q, want %q", i, key, got.header.Get(key), value)
			}
		}
		if again := r.do("GET", path, nil, "If-None-Match", got.header.Get("ETag")); again.status != 304 {
			t.Errorf("images[%d] again: got %d", i, again.status)
		}
		if part := r.do("GET", path, nil, "Range", "bytes=1-3"); part.status != 206 || string(part.body) != "PNG" {
			t.Errorf("a part of images[%d]: got %d %q", i, part.status, part.body)
		}
	}
	wantError(t, r.get(base+"3/original"), 404, "Image not found: images[3]")
	for o, err := range r.originals.List(t.Context(), "") {
		r.must(err)
		r.must(r.originals.Delete(t.Context(), o.Key))
	}
	wantError(t, r.get(base+"1/original"), 404, "No original: that of images[1] is no longer kept")
	refused := r.decodeJob(r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[{"base64":"?"}]}`)), 201)
	wantError(t, r.get("/api/v1/batch/"+refused.JobID+"/images/0/original"), 404, "No original: that of images[0] is not stored")
	breakWith(&r.originals.fault, objectstore.ErrUnavailable)
	wantError(t, r.get(base+"1/original"), 503, "Service temporarily unavailable, try again later")
}
