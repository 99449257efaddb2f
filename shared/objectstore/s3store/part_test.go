package s3store

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// TestPartsOfOddServers requests a part from servers that ignore a header of the request or
// return another part. No byte of a wrong part reaches the caller.
func TestPartsOfOddServers(t *testing.T) {
	respond := func(w http.ResponseWriter, etag, part, body string) {
		h := w.Header()
		h.Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		h.Set("ETag", etag)
		if part == "" {
			_, _ = io.WriteString(w, body)
			return
		}
		h.Set("Content-Range", part)
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, body)
	}
	for name, c := range map[string]struct {
		etag, part, body string
		want             error // nil: an argument error
	}{
		"Range ignored":            {`"now"`, "", "0123456789", objectstore.ErrUnavailable},
		"If-Match ignored":         {`"later"`, "bytes 2-5/10", "2345", objectstore.ErrChanged},
		"both ignored":             {`"later"`, "", "0123456789", objectstore.ErrChanged},
		"no ETag":                  {"", "bytes 2-5/10", "2345", objectstore.ErrChanged},
		"the object is shorter":    {`"now"`, "bytes 2-3/4", "23", nil},
		"another part":             {`"now"`, "bytes 3-6/10", "3456", nil},
		"a length that is not its": {`"now"`, "bytes 2-5/10", "23456", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || r.Header.Get("Range") == "" {
					return false
				}
				if r.Header.Get("Range") != "bytes=2-5" || r.Header.Get("If-Match") != `"now"` {
					t.Errorf("the request has the header %v", r.Header)
				}
				respond(w, c.etag, c.part, c.body)
				return true
			})
			o, err := f.store(t, quick).GetPart(t.Context(), "photo.jpg", "now", 2, 4)
			if err == nil {
				o.Body.Close()
			}
			known := errors.Is(err, objectstore.ErrUnavailable) || errors.Is(err, objectstore.ErrChanged) || errors.Is(err, objectstore.ErrNotExist)
			if err == nil || !errors.Is(err, c.want) && (c.want != nil || known) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestETagsOfOddServers verifies that an ETag that cannot be part of a header is none.
func TestETagsOfOddServers(t *testing.T) {
	for sent, want := range map[string]string{
		`"0123-4"`: "0123-4", "0123": "0123", `W/"weak"`: "", `"a"b"`: "", "": "", `"with space"`: "", `"ü"`: "",
	} {
		f := newFake(t, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("ETag", sent)
			return false
		})
		s := f.store(t, quick)
		f.objects["photo.jpg"] = []byte("x")
		info, err := s.Stat(t.Context(), "photo.jpg")
		if err != nil || info.ETag != want {
			t.Errorf("the ETag %s is %q, want %q; %v", sent, info.ETag, want, err)
		}
	}
}
