package main

import (
	"context"
	"fmt"
	"image"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
)

// crash is one row of the crash matrix: the service dies once at the point.
type crash struct {
	service, point string
	refused        bool // whether the batch becomes no job and leaves no objects
}

// crashes follow the pipeline, from the first byte of a batch to the last ack.
var crashes = []crash{
	{"gateway", "batch reserved", true},
	{"gateway", "inline image stored", true},
	{"gateway", "job created", false},
	{"gateway", "fetch begun", false},
	{"gateway", "fetched image stored", false},
	{"gateway", "fetched image noted", false},
	{"gateway", "uploads published", false},
	{"gateway", "uploads marked sent", false},
	{"analyzer", "image_upload delivered", false},
	{"analyzer", "analysis", false},
	{"analyzer", "image_upload published", false},
	{"analyzer", "image_upload acked", false},
	{"analyzer", "image_described delivered", false},
	{"analyzer", "caption", false},
	{"analyzer", "answer stored", false},
	{"analyzer", "image_described published", false},
	{"analyzer", "image_described acked", false},
	{"processor", "metadata_generated delivered", false},
	{"processor", "result stored", false},
	{"processor", "results stored", false},
	{"processor", "metadata_generated published", false},
	{"processor", "metadata_generated acked", false},
	{"gateway", "image_processed delivered", false},
	{"gateway", "result settled", false},
	{"gateway", "watchers told", false},
	{"gateway", "image_processed published", false},
	{"gateway", "image_processed acked", false},
}

// TestCrashMatrix kills a service at each point of the pipeline in turn, with captions on. It
// verifies that the batch ends as expected or does not exist, that the vision model is not asked
// twice about a picture, and at the end that no message or object is left over.
func TestCrashMatrix(t *testing.T) {
	r := startPlan(t, &plan{number: 1, names: []string{"gateway", "analyzer", "processor"}, captions: true}, testServers(t))
	accepted := 0
	for i, c := range crashes {
		t.Run(c.point, func(t *testing.T) {
			if !c.refused {
				accepted++
			}
			r.crash(t, c, i)
		})
	}
	limit, cancel := context.WithTimeout(t.Context(), endTime)
	defer cancel()
	jobs := r.allEnded(limit)
	r.compare(jobs, time.Now())
	if len(jobs) != accepted {
		t.Errorf("got %d jobs, want %d", len(jobs), accepted)
	}
	r.atRest(limit)
	r.objects(t.Context(), jobs)
	if n := r.counts["uncaptioned"]; n > 0 {
		t.Errorf("%d images have no caption, although the model always answers", n)
	}
	r.afterRestart(t.Context(), jobs)
}

func (r *run) crash(t *testing.T, c crash, row int) {
	revived := r.arm(t, c.point, c.service)
	b := r.mixedBatch(row)
	ctx, cancel := context.WithTimeout(t.Context(), endTime)
	defer cancel()
	id := r.submit(ctx, 0, b)
	revived()
	if c.refused {
		if found := r.find(t, b); id != "" || found != "" {
			t.Errorf("the batch was accepted as job %q, and the list contains job %q; want none", id, found)
		}
		return
	}
	if id == "" {
		if id = r.find(t, b); id == "" {
			t.Fatal("the job was durable, but is not in the list")
		}
	}
	j := r.job(t, id)
	r.change(id, func(rec *record) { rec.end, rec.ended = j, time.Now() })
	r.watch(ctx, 0, id) // a late watcher receives all events
	if r.model == nil {
		return
	}
	most := 1
	switch {
	case c.service != "analyzer", c.point == "caption", c.point == "answer stored":
	default:
		most = 2 // A request may be in flight when the analyzer dies with another image.
	}
	if n := r.model.asked(freshSize(row)); n < 1 || n > most {
		t.Errorf("%d requests about the picture of this row, want 1 to %d", n, most)
	}
}

// freshSize is the size of an image that only the batch of this row has. No other image is so low.
func freshSize(row int) image.Point { return image.Pt(100+row, 20) }

// find returns the job of a batch whose client got no response, or "".
func (r *run) find(t *testing.T, b *batch) string {
	t.Helper()
	list, err := r.list(t.Context(), 0, "")
	must(t, err)
	for _, j := range list {
		if r.owner(&j) == b {
			return j.JobID
		}
	}
	return ""
}

// mixedBatch returns a batch of every kind of image: good and bad, by URL and inline, and one that no
// other batch has.
func (r *run) mixedBatch(row int) *batch {
	b := new(batch)
	add := func(img source, url string) {
		img.name, img.url = fmt.Sprintf("%d-%d-%s", row, len(b.images), img.name), url
		b.images = append(b.images, img)
	}
	add(r.good[0], "")
	add(r.good[2], "")
	size := freshSize(row)
	add(source{name: "fresh.png", data: imagetest.PNG(size.X, size.Y), size: size}, "")
	for i, img := range r.bad {
		add(img, "")
		if img.name == "rotten.png" {
			add(img, r.site.url("plain", img.name, fmt.Sprintf("%d-bad-%d", row, i)))
		}
	}
	for i, img := range r.good[:4] {
		add(img, r.site.url("plain", img.name, fmt.Sprintf("%d-%d", row, i)))
	}
	return b
}

// TestCrashInRetention kills the gateway between the steps of a deletion. It verifies that
// no response contains the job after the first step, that its originals are deleted, and
// that its results stay.
func TestCrashInRetention(t *testing.T) {
	s := testServers(t)
	for _, point := range []string{"jobs hidden", "originals deleted", "originals forgotten"} {
		t.Run(point, func(t *testing.T) {
			r := start(t, s, []string{"gateway", "analyzer", "processor"}, "JOB_RETENTION=1s")
			originals, processed, err := r.stores()
			must(t, err)
			revived := r.arm(t, point, "gateway")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r.submit(ctx, 0, r.mixedBatch(0))
			revived()
			list, err := r.list(ctx, 0, "")
			must(t, err)
			if len(list) != 0 {
				t.Errorf("%d jobs are listed after their deletion started", len(list))
			}
			left := 0
			if err := poll(ctx, 200*time.Millisecond, func() bool {
				left = 0
				for _, err = range originals.List(ctx, "") {
					left++
				}
				return left == 0
			}); err != nil {
				t.Errorf("%d originals are left: %v", left, err)
			}
			results := 0
			for _, err := range processed.List(ctx, "") {
				must(t, err)
				results++
			}
			if want := 3 * 7; results != want {
				t.Errorf("got %d result objects, want %d", results, want)
			}
		})
	}
}
