package api_test

import (
	"encoding/json"
	"fmt"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestCustom verifies that a client finds its custom_id and metadata wherever an image or its job
// appears, and in a retry.
func TestCustom(t *testing.T) {
	r := setup(t, options{})
	png := b64(tinyPNG(t))
	const id0, metadata = `"custom_id":"2026/é <1>.png"`, `"metadata":{"":"x","album":"a & b"}`
	body := fmt.Sprintf(`{"images":[{"base64":%q,"name":"a.png",%s},{"base64":%q,"name":"b.png"},{"base64":"!","custom_id":"bad"}],`, png, id0, png) +
		`"metadata":{"album":"a \u0026 b","":"x"}}`
	made := r.do("POST", "/api/v1/batch", strings.NewReader(body))
	id := r.decodeJob(made, 201).JobID
	for _, absent := range []string{"warnings", "metadata"} {
		if strings.Contains(string(made.body), absent) {
			t.Errorf("the response has %s: %s", absent, made.body)
		}
	}
	contains := func(what string, body []byte, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(string(body), text) {
				t.Errorf("%s does not contain %s: %s", what, text, body)
			}
		}
		if n := strings.Count(string(body), `"custom_id":`); strings.Contains(string(body), "null") || n > 2 {
			t.Errorf("%s has %d custom_ids, want those of two images at most, and no null: %s", what, n, body)
		}
	}
	image0, image2 := `{"index":0,`+id0+`,"original_filename":"a.png","status":`, `{"index":2,"custom_id":"bad","original_filename":"image-3","status":"failed"`
	contains("the job", r.get("/api/v1/batch/"+id).body, image0, image2, `,`+metadata+`}`)
	contains("the list", r.get("/api/v1/batch").body, image0, image2, `,`+metadata+`}`)
	contains("a page of the list", r.get("/api/v1/batch?limit=1").body, image0, image2, `,`+metadata+`}`)
	if summary := r.get("/api/v1/batch?view=summary").body; strings.Contains(string(summary), "custom_id") {
		t.Errorf("the summary has images: %s", summary)
	} else {
		contains("the summary", summary, `,`+metadata+`}`)
	}

	conn := r.dialSocket(id)
	frame := func() []byte {
		t.Helper()
		_, data, err := conn.Read(t.Context())
		r.must(err)
		return data
	}
	contains("the first frame", frame(), metadata)
	contains("the frame of a failed image", frame(), `"image":`+image2, metadata)
	r.end(id, 0, nil)
	contains("the frame of an image", frame(), `"image":`+image0+`"completed"`, metadata)
	contains("the cancelled job", r.cancel(id).body, image0, image2, `,`+metadata+`}`)
	frame()
	contains("the last frame", frame(), "job_complete", metadata)

	contains("results.jsonl", r.get("/api/v1/batch/"+id+"/results.jsonl").body, image0+`"completed","metadata":{"format":"png"}}`, image2)
	files, _ := entries(t, r.get(zipPath(id)).body)
	contains("the manifest", []byte(files["manifest.jsonl"]), image0+`"completed","files":`, image2)

	id = r.create(1)
	r.end(id, 0, errDamaged)
	if plain := r.get("/api/v1/batch/" + id).body; strings.Contains(string(plain), "custom_id") || strings.Contains(string(plain), "metadata") {
		t.Errorf("a job without any has them: %s", plain)
	}
}

// TestCustomOfARetry verifies that a retry has the metadata, and the custom_id of its images.
func TestCustomOfARetry(t *testing.T) {
	r := setup(t, options{})
	png := b64(tinyPNG(t))
	body := fmt.Sprintf(`{"metadata":{"a":"b","wrong":5},"images":[{"base64":%q,"custom_id":"0"},{"base64":%q,"custom_id":"1"}]}`, png, png)
	id := r.decodeJob(r.do("POST", "/api/v1/batch", strings.NewReader(body)), 201).JobID
	r.end(id, 0, nil)
	r.end(id, 1, &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged image"})
	retried := r.retry(id)
	if strings.Contains(string(retried.body), "warnings") {
		t.Errorf("a retry has the warnings of another request: %s", retried.body)
	}
	again := string(r.get("/api/v1/batch/" + r.decodeJob(retried, 201).JobID).body)
	if !strings.Contains(again, `"images":[{"index":0,"custom_id":"1"`) || !strings.Contains(again, `"metadata":{"a":"b"}}`) {
		t.Errorf("the retry of images[1] is %s", again)
	}
}

// TestWarnings verifies that what cannot be kept is named in the response, and in every response to
// the same request, but fails nothing. A form has the same.
func TestWarnings(t *testing.T) {
	r := setup(t, options{})
	png := tinyPNG(t)
	custom := func(place string) string {
		return `"warnings":["` + place + `metadata[\"n\"] ignored: it must be a string",`
	}
	inForm := func() form {
		var b strings.Builder
		w := multipart.NewWriter(&b) // with a random boundary
		for _, part := range [][2]string{{"options", `{"metadata":{"n":5,"a":"b"},"custom_ids":["x",7]}`}, {"image", string(png)}, {"image", string(png)}} {
			p, err := w.CreateFormField(part[0])
			r.must(err)
			_, err = p.Write([]byte(part[1]))
			r.must(err)
		}
		r.must(w.Close())
		return form{w.FormDataContentType(), b.String()}
	}
	inJSON := func() form {
		return form{"application/json", fmt.Sprintf(`{"metadata":{"n":5,"a":"b"},"images":[{"base64":%q,"custom_id":"x"},{"base64":%q,"custom_id":7}]}`, b64(png), b64(png))}
	}
	for name, c := range map[string]struct {
		send func() form
		want string
	}{
		"JSON": {inJSON, custom("") + `"images[1].custom_id ignored: it must be a string"]}`},
		"form": {inForm, custom("options.") + `"options.custom_ids[1] ignored: it must be a string"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			first := r.send(c.send(), "Idempotency-Key", name)
			job := r.decodeJob(first, 201)
			if !strings.Contains(string(first.body), c.want) {
				t.Errorf("got %s, want %s", first.body, c.want)
			}
			if again := r.send(c.send(), "Idempotency-Key", name); again.status != 201 || string(again.body) != string(first.body) {
				t.Errorf("repeated: got %d %s, want %s", again.status, again.body, first.body)
			}
			var got struct {
				Failed   int
				Metadata map[string]string
				Images   []struct {
					ID string `json:"custom_id"`
				}
				Warnings json.RawMessage
			}
			r.json("/api/v1/batch/"+job.JobID, &got)
			if got.Failed != 0 || fmt.Sprint(got.Metadata, got.Images) != "map[a:b] [{x} {}]" || got.Warnings != nil {
				t.Errorf("the job is %+v", got)
			}
		})
	}
}

// TestCustomPaths verifies that results.zip has the custom_ids as paths if asked to, and the ordinary
// name for an image without a safe one.
func TestCustomPaths(t *testing.T) {
	r := setup(t, options{})
	var images []string
	for i, id := range []string{"2026/a/one.png", "", "../two.png", "2026/A/one.png"} {
		images = append(images, fmt.Sprintf(`{"base64":%q,"name":"image%d.png","custom_id":%q}`, b64(tinyPNG(t)), i+1, id))
	}
	id := r.decodeJob(r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[`+strings.Join(images, ",")+`]}`)), 201).JobID
	for i := range images {
		r.end(id, i, nil)
	}
	for query, want := range map[string]string{
		"":                 "[image1.png image2.png image3.png image4.png manifest.jsonl]",
		"&paths=custom_id": "[2026/a/one.png image2.png image3.png 2026/A/one (2).png manifest.jsonl]",
	} {
		all, names := entries(t, r.get(zipPath(id)+"?include=file"+query).body)
		if fmt.Sprint(names) != want {
			t.Errorf("%q: got %q, want %s", query, names, want)
		}
		if query != "" && !strings.Contains(all["manifest.jsonl"], `"files":{"file":"2026/A/one (2).png"}`) {
			t.Errorf("the manifest is %s", all["manifest.jsonl"])
		}
	}
}
