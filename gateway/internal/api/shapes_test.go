package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// member is one member of a JSON object, at any depth.
type member struct{ path, form string }

// members lists the members in a JSON text in their order. Equal elements of an array
// count once.
func members(t *testing.T, text []byte) []member {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var all []member
	var walk func(path string)
	walk = func(path string) {
		token, err := d.Token()
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		form := ""
		switch v := token.(type) {
		case json.Delim:
			form = v.String()
			for d.More() {
				if v == '{' {
					key, err := d.Token()
					if err != nil {
						t.Fatal(err)
					}
					walk(path + "." + key.(string))
				} else {
					walk(path + "[]")
				}
			}
			if _, err := d.Token(); err != nil {
				t.Fatal(err)
			}
		case string:
			form = "string"
			if _, err := time.Parse("2006-01-02T15:04:05Z", v); err == nil {
				form = "time"
			}
		case json.Number:
			form = "integer"
			if regexp.MustCompile(`^\d+\.\d{1,2}$`).MatchString(v.String()) {
				form = "decimal"
			}
		case nil:
			form = "null"
		}
		all = append(all, member{path, form})
	}
	walk("$")
	// An object comes after its members; only the order among siblings matters.
	return all
}

// siblings returns the names in an object, in order, each once.
func siblings(all []member) map[string][]string {
	m := map[string][]string{}
	for _, e := range all {
		i := strings.LastIndex(e.path, ".")
		if i < 0 {
			continue
		}
		if parent := e.path[:i]; !slices.Contains(m[parent], e.path[i+1:]) {
			m[parent] = append(m[parent], e.path[i+1:])
		}
	}
	return m
}

// wantShape compares a response with an example of the document: it has all members of
// the example, in the same order and form, and no others except those in extra.
func wantShape(t *testing.T, example, got []byte, extra ...string) {
	t.Helper()
	want, have := members(t, example), members(t, got)
	forms := map[member]bool{}
	for _, m := range have {
		forms[m] = true
	}
	for _, m := range want {
		if !forms[m] {
			t.Errorf("%s is missing or does not have the form %s\n%s", m.path, m.form, got)
		}
	}
	documented := siblings(want)
	for parent, names := range siblings(have) {
		rest := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(extra, n) })
		if !slices.Equal(rest, documented[parent]) {
			t.Errorf("%s has %v, the document has %v", parent, rest, documented[parent])
		}
	}
	if bytes.Contains(got, []byte("null")) {
		t.Errorf("the response contains null: %s", got)
	}
}

// examples returns the JSON blocks of the document in their order, by their content.
func examples(t *testing.T) [][]byte {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/batch-api.md")
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, m := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(doc, -1) {
		all = append(all, bytes.ReplaceAll(m[1], []byte("[...]"), []byte("[]")))
	}
	return all
}

// TestShapes compares every JSON example of the document with a response of the server.
func TestShapes(t *testing.T) {
	r := setup(t, options{})
	all := examples(t)
	const request, created, noImages, status, notFound, list, progress, imageComplete, created3, status3, generalError, failedImage = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	if len(all) != failedImage+1 {
		t.Fatalf("the document has %d examples", len(all))
	}
	png := b64(tinyPNG(t))
	body := strings.NewReplacer("https://example.com/image1.jpg", "http://192.0.2.1/", "/9j/4AAQSkZJRg...", png).Replace(string(all[request]))
	got := r.do("POST", "/api/v1/batch", strings.NewReader(body))
	if got.status != 201 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	wantShape(t, all[created], got.body)
	wantShape(t, all[created3], got.body)
	var answer map[string]string
	r.must(json.Unmarshal(got.body, &answer))
	id := answer["job_id"]
	if answer["status"] != "pending" || answer["message"] != "Batch job created with 2 images" || got.header.Get("Location") != "/api/v1/batch/"+id {
		t.Errorf("got %s, Location %s", got.body, got.header.Get("Location"))
	}
	wantShape(t, all[noImages], r.do("POST", "/api/v1/batch", strings.NewReader("{}")).body)
	wantShape(t, all[generalError], r.do("POST", "/api/v1/batch", strings.NewReader("{}")).body)
	wantShape(t, all[notFound], r.get("/api/v1/batch/"+unknown).body)

	id = r.create(3)
	r.end(id, 0, nil)
	extras := []string{"duration_ms", "error_code"}
	wantShape(t, all[status], r.get("/api/v1/batch/"+id).body, extras...)
	r.end(id, 1, nil)
	wantShape(t, all[status3], r.get("/api/v1/batch/"+id).body, extras...)
	if b := r.get("/api/v1/batch/" + id).body; !bytes.Contains(b, []byte(`"progress":66.67,`)) {
		t.Errorf("progress of 2 in 3: got %s", b)
	}

	conn := r.dialSocket(id)
	for _, example := range []int{progress, imageComplete} {
		_, frame, err := conn.Read(t.Context())
		r.must(err)
		wantShape(t, all[example], frame)
	}
	r.end(id, 2, errDamaged)
	for range 2 {
		_, frame, err := conn.Read(t.Context())
		r.must(err)
		if bytes.Contains(frame, []byte("failed\",")) && bytes.Contains(frame, []byte("image_complete")) {
			var f struct{ Image json.RawMessage }
			r.must(json.Unmarshal(frame, &f))
			wantShape(t, all[failedImage], f.Image, "trace_id", "error_code")
		}
	}
	_, last, err := conn.Read(t.Context())
	r.must(err)
	wantShape(t, bytes.Replace(all[progress], []byte("50.0"), []byte("100.0"), 1), last)

	var whole struct{ Images []json.RawMessage }
	r.json("/api/v1/batch/"+id, &whole)
	wantShape(t, all[failedImage], whole.Images[2], "trace_id", "error_code", "start_time", "end_time", "duration_ms")

	// The example of the list omits the images.
	listed := r.get("/api/v1/batch").body
	listed = regexp.MustCompile(`"images":\[.*?\]`).ReplaceAll(listed, []byte(`"images":[]`))
	wantShape(t, all[list], listed)
}

func TestNumbers(t *testing.T) {
	r := setup(t, options{})
	for total, want := range map[int][]string{1: {"0.0", "100.0"}, 3: {"0.0", "33.33", "66.67", "100.0"}, 8: {"0.0", "12.5", "25.0", "37.5"}} {
		id := r.create(total)
		for ended, progress := range want {
			if b := r.get("/api/v1/batch/" + id).body; !bytes.Contains(b, []byte(`"progress":`+progress+`,`)) {
				t.Errorf("%d of %d: want %s in %s", ended, total, progress, b)
			}
			if ended < len(want)-1 {
				r.end(id, ended, errDamaged)
			}
		}
	}
}

// Times are truncated to whole seconds and returned in UTC, whatever the store contains.
func TestTimes(t *testing.T) {
	r := setup(t, options{})
	zone := time.FixedZone("east", 3600)
	at := time.Date(2025, 11, 18, 11, 30, 15, 999_999_999, zone)
	images := []job.Image{{OriginalFilename: "a <b> & c.jpg", Original: job.Original{Path: "x/y", ContentType: "image/jpeg", Size: 1, SHA256: "0"}}}
	r.must(r.jobs.Create(t.Context(), job.New(unknown, images, at)))
	_, _, err := r.jobs.Change(t.Context(), job.Ref{JobID: unknown}, job.Settle(pipeline.Ended(pipeline.NewEnvelope(unknown, 0, at), "x/y", at), at.Add(1500*time.Millisecond)), at.Add(1500*time.Millisecond))
	r.must(err)
	want := fmt.Sprintf(`{"job_id":"%s","status":"completed","total_images":1,"completed":1,"failed":0,"progress":100.0,"images":[`+
		`{"index":0,"original_filename":"a <b> & c.jpg","status":"completed","trace_id":"%s","processed_path":"x/y",`+
		`"start_time":"2025-11-18T10:30:15Z","end_time":"2025-11-18T10:30:17Z","duration_ms":1500}],`+
		`"created_at":"2025-11-18T10:30:15Z","updated_at":"2025-11-18T10:30:17Z","completed_at":"2025-11-18T10:30:17Z"}`+"\n",
		unknown, pipeline.NewTraceID(unknown, 0))
	if got := r.get("/api/v1/batch/" + unknown); string(got.body) != want {
		t.Errorf("got  %s\nwant %s", got.body, want)
	}
}
