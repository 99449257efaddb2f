package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/visiontest"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// TestLeastPermissions verifies that the whole system works with only the documented
// permissions, in one bucket that others also use, and on queues that an operator declared.
func TestLeastPermissions(t *testing.T) {
	t.Parallel()
	ours := strings.ToLower(rand.Text()) + "/"
	model := visiontest.Start(t, "secret")
	r := startRestricted(t, true, place{"original", ours + "originals/"}, place{"original", ours + "processed/"}, captionEnv(model)...)
	foreign := place{"original", ours}.all(t)
	others := []string{"a", "originals", "originals-of-others/a.jpg", "processed-of-others/a.jpg", "processed.jpg", "z/originals/a.jpg"}
	for _, key := range others {
		if err := foreign.Put(t.Context(), key, objectstore.Content{Data: []byte("foreign object"), Type: ""}); err != nil {
			t.Fatal(err)
		}
	}

	site := origin(t, map[string][]byte{"photo.jpg": photo(t)})
	id := r.submit(t, inline("inline.jpg", photo(t)), map[string]string{"url": site + "/photo.jpg"}, map[string]string{"url": site + "/none.jpg"})
	if got := r.ended(t, id); got.Completed != 2 || got.Failed != 1 {
		t.Errorf("job %+v", got)
	}
	if record := r.record(t, id, 0); record.AltText != visiontest.AltText {
		t.Errorf("record %+v, want the model's words", record)
	}
	for _, what := range []string{"file", "thumbnail", "metadata"} {
		var data []byte
		if status, _ := r.call(t, http.MethodGet, "/api/v1/batch/"+id+"/images/1/"+what, nil, &data); status != http.StatusOK || len(data) == 0 {
			t.Errorf("%s: %d %.200s", what, status, data)
		}
	}
	for _, p := range r.parts {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
		p.start()
	}
	for _, p := range r.parts {
		p.awaitReady()
	}
	if got := r.ended(t, r.submit(t, inline("inline.jpg", photo(t)))); got.Completed != 1 {
		t.Errorf("job after a restart: %+v", got)
	}
	await(t, func() (bool, string) {
		left := append(r.originals.keys(t), r.processed.keys(t)...)
		return len(left) == 0, fmt.Sprint("left by retention: ", left)
	})
	if got := (place{"original", ours}).keys(t); !slices.Equal(got, others) {
		t.Errorf("foreign objects left: %v, want %v", got, others)
	}
}

// TestEveryPermissionIsNeeded revokes each permission for a while, from services that may
// declare their queues and ask a model for captions. It verifies that some function stops, that /readyz
// names the permission, that no image fails or loses its caption, and that work continues when the
// permission is back.
func TestEveryPermissionIsNeeded(t *testing.T) {
	t.Parallel()
	ours := strings.ToLower(rand.Text()) + "/"
	model := visiontest.Start(t, "secret")
	r := startRestricted(t, false, place{"original", ours}, place{"processed", ours}, captionEnv(model)...)
	completes := func(t *testing.T, id string) {
		t.Helper()
		if got := r.ended(t, id); got.Completed != got.TotalImages {
			t.Errorf("job %+v", got)
		}
	}
	img := inline("a.jpg", goImage(t, "video-001.jpeg"))
	// works starts an operation that needs the permission, and returns a check of its result for
	// when the permission is back.
	type works func(t *testing.T) (later func(t *testing.T))
	refusedPost := func(path string, body func() string) works {
		return func(t *testing.T) func(*testing.T) {
			if status, _, text := r.post(t, path, "", body()); status != http.StatusServiceUnavailable {
				t.Errorf("POST %s: %d %s", path, status, text)
			}
			return func(t *testing.T) {
				r.settled(t, "gateway")
				completes(t, r.submit(t, img))
			}
		}
	}
	batch := func(images ...map[string]string) string {
		text, err := json.Marshal(map[string]any{"images": images})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	waiting := func(t *testing.T) func(*testing.T) {
		id := r.submit(t, img)
		return func(t *testing.T) { completes(t, id) }
	}
	nothing := func(*testing.T) func(*testing.T) {
		return func(t *testing.T) { completes(t, r.submit(t, img)) }
	}
	pictures := 0
	// captions submits a picture that the model has not seen. Its image gets its caption, which is paid for once.
	captions := func(t *testing.T) func(*testing.T) {
		pictures++
		before := len(model.Requests())
		id := r.submit(t, pngInline("tile.png", tile(t, pictures)))
		return func(t *testing.T) {
			completes(t, id)
			if record := r.record(t, id, 0); record.AltText != visiontest.AltText || len(record.Warnings) > 0 {
				t.Errorf("record %+v, want the model's words", record)
			}
			if n := asked(model, before); n != 1 {
				t.Errorf("%d requests to the model, want 1", n)
			}
		}
	}
	empty := func(p place) func(t *testing.T) {
		return func(t *testing.T) {
			await(t, func() (bool, string) { left := p.keys(t); return len(left) == 0, fmt.Sprint("left: ", left) })
		}
	}
	needs := map[string]works{
		"gateway s3:ListBucket original": nothing, "gateway s3:ListBucket processed": nothing,
		"gateway s3:PutObject original": refusedPost("/api/v1/batch", func() string { return batch(img) }),
		"gateway s3:GetObject original": func(t *testing.T) func(*testing.T) {
			// The processor is blocked, so that the image stays open and can be cancelled.
			r.roles["processor"].allow(without(r.roles["processor"].rights, "s3:PutObject", "processed"))
			defer r.roles["processor"].allow(r.roles["processor"].rights)
			r.settled(t, "processor")
			id := r.submit(t, img)
			if status, _ := r.call(t, http.MethodPost, "/api/v1/batch/"+id+"/cancel", nil, nil); status != http.StatusOK {
				t.Errorf("cancel: %d", status)
			}
			return refusedPost("/api/v1/batch/"+id+"/retry", func() string { return "" })(t)
		},
		"gateway s3:DeleteObject original": func(t *testing.T) func(*testing.T) {
			// The second image makes the request invalid after the first was stored.
			if status, _, text := r.post(t, "/api/v1/batch", "", batch(img, map[string]string{"name": "neither"})); status != http.StatusBadRequest {
				t.Errorf("POST: %d %s", status, text)
			}
			return empty(r.originals)
		},
		"gateway s3:GetObject processed": func(t *testing.T) func(*testing.T) {
			id := r.submit(t, img)
			completes(t, id)
			var text []byte
			if status, _ := r.call(t, http.MethodGet, "/api/v1/batch/"+id+"/images/0/file", nil, &text); status != http.StatusServiceUnavailable {
				t.Errorf("download: %d %.200s", status, text)
			}
			return nothing(t)
		},
		"gateway s3:DeleteObject processed": func(t *testing.T) func(*testing.T) {
			completes(t, r.submit(t, img))
			return empty(r.processed) // by retention
		},
		"analyzer s3:ListBucket original": waiting, "analyzer s3:GetObject original": waiting,
		"analyzer s3:ListBucket processed": captions, "analyzer s3:GetObject processed": captions,
		"analyzer s3:PutObject processed": func(t *testing.T) func(*testing.T) {
			p := r.parts["analyzer"]
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Errorf("analyzer: %v", err)
			}
			probes := len(model.Requests())
			p.start()
			// It finds out before any image, by its probe.
			await(t, func() (bool, string) {
				said := readyz(t, p)
				return strings.Contains(said, "does not allow s3:PutObject"), "analyzer reports " + said
			})
			await(t, func() (bool, string) {
				n := len(model.Requests()) - probes
				return n > 0, "the analyzer has not asked the model"
			})
			return captions(t)
		},
		"processor s3:ListBucket original": waiting, "processor s3:ListBucket processed": waiting,
		"processor s3:GetObject original": waiting, "processor s3:PutObject processed": waiting,
	}
	for service, probe := range map[string]string{"processor": ".imagebatch-probe/processor", "analyzer": "captions/.imagebatch-probe/analyzer"} {
		needs[service+probeDeleted] = func(t *testing.T) func(*testing.T) {
			r.again(t, service)
			if left := r.processed.keys(t); !slices.Contains(left, probe) {
				t.Errorf("the processed bucket has %v, want the probe %s too", left, probe)
			}
			return func(t *testing.T) {
				r.again(t, service)
				empty(r.processed)(t)
			}
		}
	}
	for _, service := range services {
		role := r.roles[service]
		for _, taken := range role.rights {
			bucket, _, _ := strings.Cut(strings.TrimPrefix(taken.Resource, "arn:aws:s3:::"), "/")
			name := service + " " + taken.Action + " " + bucket
			t.Run(name, func(t *testing.T) {
				begin := needs[name]
				if begin == nil {
					t.Fatal("no operation here needs this permission: remove it from the policy, or add an operation")
				}
				delete(needs, name)
				role.allow(without(role.rights, taken.Action, bucket))
				r.settled(t, service)
				later := begin(t)
				store := map[string]string{"original": "originals", "processed": "processed images"}[bucket]
				want := regexp.MustCompile(fmt.Sprintf(`store of %s: [^;]*bucket "%s" at [^;]* does not allow %s to this access key`, store, bucket, taken.Action))
				if name != service+probeDeleted {
					await(t, func() (bool, string) {
						said := readyz(t, r.parts[service])
						return want.MatchString(said), service + " reports " + said
					})
				}
				role.allow(role.rights)
				later(t)
			})
		}
	}
	for name := range needs {
		t.Errorf("no policy contains %s", name)
	}

	t.Run("analyzer read image_described", func(t *testing.T) {
		p := r.parts["analyzer"]
		r.mayRead(t, "analyzer", "image_upload|image_upload\\.suspect")
		if err := p.end(syscall.SIGTERM); err != nil { // A running consumer is not checked again.
			t.Errorf("analyzer: %v", err)
		}
		probes := len(model.Requests())
		p.start()
		await(t, func() (bool, string) {
			said := readyz(t, p)
			return strings.Contains(said, "the user has no read permission on queue image_described"), "analyzer reports " + said
		})
		await(t, func() (bool, string) {
			n := len(model.Requests()) - probes
			return n > 0, "the analyzer has not asked the model"
		})
		later := captions(t)
		r.mayRead(t, "analyzer", "image_upload|image_upload\\.suspect|image_described|image_described\\.suspect")
		later(t)
	})
}

// probeDeleted are the only permissions without which a service is ready: its probe stays.
const probeDeleted = " s3:DeleteObject processed"

// mayRead changes which queues a service may read, as a regular expression.
func (r *restricted) mayRead(t *testing.T, service, queues string) {
	t.Helper()
	u := r.users[service]
	operate(t, fmt.Sprintf(`rabbitmqctl set_permissions --vhost %s %s '^$' '^(amq\.default)$' '^(%s)$'`, strings.TrimPrefix(u.Path, "/"), u.User.Username(), queues))
}

// again restarts the service.
func (r *restricted) again(t *testing.T, service string) {
	t.Helper()
	p := r.parts[service]
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("%s: %v", service, err)
	}
	p.start()
	p.awaitReady()
}

// without returns the rights except one.
func without(rights []right, action, bucket string) []right {
	return slices.DeleteFunc(slices.Clone(rights), func(r right) bool {
		of, _, _ := strings.Cut(strings.TrimPrefix(r.Resource, "arn:aws:s3:::"), "/")
		return r.Action == action && of == bucket
	})
}
