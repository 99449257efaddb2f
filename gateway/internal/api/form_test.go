package api_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
)

// form is a request body of files, and its media type.
type form struct{ contentType, body string }

// formOf returns a form of files. Each name and content alternates.
func formOf(t testing.TB, files ...string) form {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b) // with a random boundary
	for i := 0; i < len(files); i += 2 {
		part, err := w.CreateFormFile("image", files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return form{w.FormDataContentType(), b.String()}
}

func (r *rig) send(f form, header ...string) response {
	r.Helper()
	return r.do(http.MethodPost, "/api/v1/batch", strings.NewReader(f.body), append([]string{"Content-Type", f.contentType}, header...)...)
}

func TestForms(t *testing.T) {
	r := setup(t, options{config: api.Config{MaxImageBytes: 1 << 10}})
	png := string(tinyPNG(t))
	made := r.decodeJob(r.send(formOf(t, "a.png", png, "ü/b.png", png, "large.png", png+strings.Repeat("x", 1<<10), "text.png", "text")), 201)
	var got struct {
		Images []struct {
			Name   string `json:"original_filename"`
			Status string `json:"status"`
			Error  string `json:"error"`
		} `json:"images"`
	}
	r.json("/api/v1/batch/"+made.JobID, &got)
	if text, want := fmt.Sprint(got.Images), fmt.Sprint([][3]string{
		{"a.png", "processing", ""},
		{"b.png", "processing", ""},
		{"large.png", "failed", intake.TooLarge(1 << 10).Text},
		{"text.png", "failed", "Not an image"},
	}); strings.NewReplacer("{", "[", "}", "]").Replace(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}

	for name, c := range map[string]struct {
		form form
		want string
	}{
		"no image":       {formOf(t), "No images provided"},
		"101 images":     {formOf(t, strings.Split(strings.Repeat("a,b,", 101), ",")[:202]...), "Too many images (>100)"},
		"no boundary":    {form{"multipart/form-data", "x"}, "Invalid form: Content-Type must have a boundary of 1 to 70 characters"},
		"other boundary": {form{"multipart/form-data; boundary=other", formOf(t, "a.png", png).body}, "Invalid form: the last boundary is missing"},
		"half a form":    {form{formOf(t).contentType, ""}, "Invalid form: the last boundary is missing"},
	} {
		t.Log(name)
		wantError(t, r.send(c.form), 400, c.want)
	}
	if n := len(r.list()); n != 1 {
		t.Errorf("got %d jobs, want 1: an invalid form must create none", n)
	}

	// Any other media type is JSON, also the one that curl -d sends.
	for _, contentType := range []string{"", "application/x-www-form-urlencoded", "text/plain", "multipart/mixed; boundary=b"} {
		r.decodeJob(r.send(form{contentType, inlineBatch(t)}), 201)
	}
}

// TestFormsOfForeignPages verifies that a page of another origin cannot send a form, although browsers send it without a
// preflight.
func TestFormsOfForeignPages(t *testing.T) {
	r := setup(t, options{})
	f := formOf(t, "a.png", string(tinyPNG(t)))
	for _, origin := range []string{"https://evil.example", "null"} {
		if got := r.send(f, "Origin", origin); got.status != 403 {
			t.Errorf("from %s: got %d %s, want 403", origin, got.status, got.body)
		}
	}
	if got := r.send(f, "Origin", r.url); got.status != 201 {
		t.Errorf("from the own page: got %d %s, want 201", got.status, got.body)
	}
	if n := len(r.list()); n != 1 {
		t.Errorf("got %d jobs, want 1", n)
	}
}

// TestRepeatedForm repeats a form with the same key. Its boundary is another one each time.
func TestRepeatedForm(t *testing.T) {
	r := setup(t, options{})
	png := string(tinyPNG(t))
	first := r.send(formOf(t, "a.png", png), "Idempotency-Key", "k")
	r.decodeJob(first, 201)
	if again := r.send(formOf(t, "a.png", png), "Idempotency-Key", "k"); again.status != 201 || string(again.body) != string(first.body) {
		t.Errorf("repeated: got %d %s, want %s", again.status, again.body, first.body)
	}
	for name, other := range map[string]form{
		"another name": formOf(t, "b.png", png), "another file": formOf(t, "a.png", png+"x"), "one more": formOf(t, "a.png", png, "a.png", png),
		"JSON": {"application/json", inlineBatch(t)},
	} {
		t.Log(name)
		wantError(t, r.send(other, "Idempotency-Key", "k"), 422, "Idempotency-Key was used with a different request")
	}
	if n := len(r.list()); n != 1 {
		t.Errorf("got %d jobs, want 1", n)
	}
}

// TestMemoryOfForms sends one form with files of ten megabytes, one of which is far too large: 443 MB in full size.
func TestMemoryOfForms(t *testing.T) {
	files, large := 5, 40_000_000
	if os.Getenv("TEST_FULL_SIZE") != "" {
		files, large = 35, 103_000_000
	}
	r := setup(t, options{})
	r.client.Timeout = time.Hour
	var before, now runtime.MemStats
	var peak uint64
	runtime.GC()
	runtime.ReadMemStats(&before)
	measure := func() {
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
	}

	out, in := io.Pipe()
	w := multipart.NewWriter(in)
	go func() {
		noise := bytes.Repeat([]byte("no image"), 8<<10)
		in.CloseWithError(func() error {
			for i := range files {
				part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="image"; filename="%d.jpg"`, i)}})
				if err != nil {
					return err
				}
				size := 10_000_000
				if i == 2 {
					size = large
				}
				for ; size > 0; size -= len(noise) {
					if _, err := part.Write(noise[:min(size, len(noise))]); err != nil {
						return err
					}
				}
			}
			return w.Close()
		}())
	}()
	got := r.do(http.MethodPost, "/api/v1/batch", &probe{r: out, do: measure}, "Content-Type", w.FormDataContentType())
	if got.status != 201 || !bytes.Contains(got.body, fmt.Appendf(nil, "%d images", files)) {
		t.Fatalf("got %d %s, want 201 with %d images", got.status, got.body, files)
	}
	if grown := int64(peak - before.HeapAlloc); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB, want at most 64", grown>>20)
	} else {
		t.Logf("the heap grew by %d MiB", grown>>20)
	}
}
