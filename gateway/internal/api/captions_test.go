package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// captions returns what the job store has about the captions of the images of a job, each with a minus if they are removed.
func (r *rig) captions(got response) string {
	r.Helper()
	var list []string
	for _, img := range r.stored(got).Images {
		text := string(img.Captions)
		if img.RemoveCaptions {
			text += "-"
		}
		list = append(list, text)
	}
	return strings.Join(list, ",")
}

// TestCaptionsOptOut verifies that a client, a request or an API key can keep images from every model, and
// that a retry, and reprocessing without a choice of its own, keep it.
func TestCaptionsOptOut(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert captions=off", "root operator")
	r := setup(t, options{keys: keys.Store})
	image := `{"base64":"` + b64(tinyPNG(t)) + `"}`
	post := func(name, path, body string, header ...string) response {
		t.Helper()
		return r.as(keys, name, "POST", "/api/v1/batch"+path, body, header...)
	}
	batch := func(more string) string { return `{"images":[` + image + `,` + image + `]` + more + `}` }
	form := func(more string) (string, string) {
		return "--b\r\nContent-Disposition: form-data; name=\"options\"\r\n\r\n" + more +
			"\r\n--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n" + string(tinyPNG(t)) + "\r\n--b--", "multipart/form-data; boundary=b"
	}
	sent := map[string]response{}
	for name, c := range map[string]struct{ key, body, want string }{
		"no choice":    {"anna", batch(""), ","},
		"true":         {"anna", batch(`,"captions":true`), ","},
		"false":        {"anna", batch(`,"captions":false`), "off,off"},
		"by the key":   {"bert", batch(""), "off,off"},
		"key and true": {"bert", batch(`,"captions":true`), "off,off"},
	} {
		sent[name] = post(c.key, "", c.body)
		if got := r.captions(sent[name]); got != c.want {
			t.Errorf("%s: the images have %q, want %q", name, got, c.want)
		}
	}
	wantError(t, post("anna", "", batch(`,"captions":"no"`)), 400, "captions must be true or false")
	for more, want := range map[string]string{`{"captions":false}`: "off", `{"captions":true}`: "", `{}`: ""} {
		body, kind := form(more)
		if got := r.captions(post("anna", "", body, "Content-Type", kind)); got != want {
			t.Errorf("form with %s: the images have %q, want %q", more, got, want)
		}
	}

	id := r.stored(sent["false"]).ID
	r.end(id, 0, nil)
	r.end(id, 1, errDamaged)
	if got := r.captions(post("anna", "/"+id+"/retry", "")); got != "off" {
		t.Errorf("the retry has %q, want off", got)
	}
	if got := r.captions(post("root", "/"+id+"/reprocess", "")); got != "off,off" {
		t.Errorf("reprocessing has %q, want off for both", got)
	}
	if got := r.captions(post("anna", "/"+id+"/reprocess", `{"captions":true}`)); got != "," {
		t.Errorf("reprocessing with captions has %q, want none off", got)
	}
	if got := r.captions(post("anna", "/"+id+"/reprocess", `{"images":[0],"captions":false}`)); got != "off" {
		t.Errorf("reprocessing without captions has %q, want off", got)
	}
	// The words of a model are removed, over a retry and another repetition too, until a model may see the images again.
	removed := post("anna", "/"+id+"/reprocess", `{"remove_captions":true}`)
	if got := r.captions(removed); got != "off-,off-" {
		t.Errorf("removal has %q, want off and removed for both", got)
	}
	wantError(t, post("anna", "/"+id+"/reprocess", `{"remove_captions":true,"captions":true}`), 400, "captions must not be true with remove_captions")
	rid := r.stored(removed).ID
	r.end(rid, 0, nil)
	r.end(rid, 1, errDamaged)
	for body, want := range map[string]string{
		"": "off-,off-", `{"captions":false}`: "off-,off-", `{"remove_captions":false}`: "off,off", `{"captions":true}`: ",", `{"images":[1],"remove_captions":true}`: "off-",
	} {
		if got := r.captions(post("anna", "/"+rid+"/reprocess", body)); got != want {
			t.Errorf("reprocessing a removal with %s has %q, want %q", body, got, want)
		}
	}
	if got := r.captions(post("anna", "/"+rid+"/retry", "")); got != "off-" {
		t.Errorf("the retry of a removal has %q, want off and removed", got)
	}

	id = r.stored(sent["by the key"]).ID
	r.end(id, 0, nil)
	r.end(id, 1, nil)
	if got := r.captions(post("bert", "/"+id+"/reprocess", `{"captions":true}`)); got != "off,off" {
		t.Errorf("reprocessing by the key has %q, want off", got)
	}
	if got := r.captions(post("bert", "/"+id+"/reprocess", `{"remove_captions":true}`)); got != "off-,off-" {
		t.Errorf("removal by the key has %q, want off and removed", got)
	}
}

// TestUncaptioned verifies that a client finds the jobs and the images that an outage of the model has left
// without captions, and no image of a client that did not want any.
func TestUncaptioned(t *testing.T) {
	r := setup(t, options{})
	end := func(id string, index int, uncaptioned bool) {
		t.Helper()
		now := time.Now()
		result := pipeline.Ended(pipeline.NewEnvelope(id, index, now), "x/y.png", now)
		result.Uncaptioned = uncaptioned
		_, _, err := r.jobs.Change(r.Context(), job.Ref{JobID: id, Index: index}, job.Settle(result, now), now)
		r.must(err)
	}
	whole, some := r.create(1), r.create(3)
	end(whole, 0, false)
	end(some, 0, false)
	end(some, 2, true)
	r.end(some, 1, errDamaged)
	if list := r.get("/api/v1/batch?uncaptioned=true&view=summary"); !strings.Contains(string(list.body), `"failed":1,"uncaptioned":1,`) {
		t.Errorf("the summary does not count the images without a caption: %s", list.body)
	}
	if j := r.get("/api/v1/batch/" + whole); strings.Contains(string(j.body), "uncaptioned") {
		t.Errorf("a job with all its captions has %s", j.body)
	}
	for query, want := range map[string][]string{
		"uncaptioned=true": {some}, "uncaptioned=true&status=completed": {some}, "uncaptioned=true&status=failed": nil,
		"uncaptioned=true&failed_images=true&view=summary": {some}, "uncaptioned=true&retry_of=" + whole: nil, "uncaptioned=": {some, whole},
	} {
		var got []string
		for _, j := range r.filtered(query).Jobs {
			got = append(got, j.JobID)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	wantError(t, r.get("/api/v1/batch?uncaptioned=false"), 400, "uncaptioned must be true")
	var got struct {
		Images []struct {
			Index       int  `json:"index"`
			Uncaptioned bool `json:"uncaptioned"`
		} `json:"images"`
	}
	r.json("/api/v1/batch/"+some, &got)
	for _, img := range got.Images {
		if img.Uncaptioned != (img.Index == 2) {
			t.Errorf("image %d: uncaptioned is %v", img.Index, img.Uncaptioned)
		}
	}
}

// TestLimitsShowCaptions verifies that a client learns before it sends anything which model sees its images.
func TestLimitsShowCaptions(t *testing.T) {
	for _, c := range []struct {
		captions *api.Captions
		want     string
	}{{nil, ""}, {&api.Captions{Model: "qwen3-vl:8b", Host: "ollama:11434", Pixels: 640}, `"captions":{"model":"qwen3-vl:8b","host":"ollama:11434","pixels":640}`}} {
		got := setup(t, options{config: api.Config{Captions: c.captions}}).get("/api/v1/limits")
		if got.status != 200 || strings.Contains(string(got.body), "captions") != (c.want != "") || !strings.Contains(string(got.body), c.want) {
			t.Errorf("got %d %s, want %q", got.status, got.body, fmt.Sprint(c.want))
		}
	}
}
