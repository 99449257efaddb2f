package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore/locktest"
)

// lockedStore is a server with two buckets with Object Lock, behind the rule of AWS for
// them.
type lockedStore struct {
	*system
	originals, processed *locktest.Bucket
	rule                 *locktest.Rule
}

// startLocked starts the services on locked buckets. With the given prefix of their
// variables, the server is MinIO or versitygw.
func startLocked(t *testing.T, variables string) *lockedStore {
	t.Helper()
	endpoint, key, secret := os.Getenv(variables+"_ENDPOINT"), os.Getenv("TEST_S3_ACCESS_KEY"), os.Getenv("TEST_S3_SECRET_KEY")
	if endpoint == "" {
		t.Skip(variables + "_ENDPOINT is not set")
	}
	env := serverEnv(t, lentVhost(t))
	name := "locked-" + strings.ToLower(rand.Text())
	l := &lockedStore{
		originals: locktest.NewBucket(t, endpoint, key, secret, name+"-a"),
		processed: locktest.NewBucket(t, endpoint, key, secret, name+"-b"),
	}
	endpoint, l.rule = locktest.Proxy(t, endpoint)
	env = append(env, "S3_ENDPOINT="+endpoint, "S3_CREATE_BUCKETS=false", "S3_BUCKET_ORIGINAL="+name+"-a", "S3_BUCKET_PROCESSED="+name+"-b",
		"S3_PREFIX_ORIGINAL=", "S3_PREFIX_PROCESSED=", "JOB_RETENTION=2s", "RESULT_RETENTION=2s")
	parts := []*process{launch(t, "gateway", env...), launch(t, "analyzer", env...), launch(t, "processor", env...)}
	l.system = &system{parts[0], parts}
	return l
}

// TestLockedBuckets sends a batch through buckets with Object Lock: it completes, and
// retention ends although no version can be deleted. The probes of /readyz leave one version
// each.
func TestLockedBuckets(t *testing.T) {
	t.Parallel()
	for _, variables := range []string{"TEST_S3", "TEST_VERSITYGW"} {
		t.Run(variables, func(t *testing.T) {
			t.Parallel()
			testLockedBuckets(t, startLocked(t, variables))
		})
	}
}

func testLockedBuckets(t *testing.T, l *lockedStore) {
	t.Helper()
	site := origin(t, map[string][]byte{"photo.jpg": photo(t)})
	id := l.submit(t, inline("inline.jpg", photo(t)), map[string]string{"url": site + "/photo.jpg"})
	if got := l.ended(t, id); got.Completed != 2 {
		t.Errorf("job %+v, want 2 completed", got)
	}
	for _, what := range []string{"file", "thumbnail", "metadata"} {
		var data []byte
		if status, _ := l.call(t, http.MethodGet, "/api/v1/batch/"+id+"/images/1/"+what, nil, &data); status != http.StatusOK || len(data) == 0 {
			t.Errorf("%s: %d %.200s", what, status, data)
		}
	}
	await(t, func() (bool, string) {
		status, _ := l.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, nil)
		return status == http.StatusNotFound, "the job is still there"
	})
	for range 20 {
		for _, p := range l.parts {
			if said := readyz(t, p); said != "" {
				t.Errorf("%s is not ready: %s", p.name, said)
			}
		}
	}
	if l.rule.Refused.Load() != 0 || l.rule.Passed.Load() == 0 {
		t.Errorf("%d PUTs were refused and %d passed, want 0 and some", l.rule.Refused.Load(), l.rule.Passed.Load())
	}
	for service, bucket := range map[string]*locktest.Bucket{"gateway": l.originals, "processor": l.processed} {
		versions, markers := bucket.Versions(t)
		if probe := ".imagebatch-probe/" + service; versions[probe] != 1 || markers[probe] != 1 {
			t.Errorf("the probe of the %s has %d versions and %d delete markers, want 1 and 1", service, versions[probe], markers[probe])
		}
		for key, n := range versions {
			if n != 1 || markers[key] != 1 {
				t.Errorf("%s has %d versions and %d delete markers, want 1 and 1", key, n, markers[key])
			}
		}
	}
}

// TestStoreThatRefuses has a server that refuses every object for good, as a bucket does
// whose policy or key has been changed: each service that puts objects names the reason, no
// image fails, and everything continues when an operator has corrected it.
func TestStoreThatRefuses(t *testing.T) {
	t.Parallel()
	l := startLocked(t, "TEST_S3")
	site := origin(t, map[string][]byte{"photo.jpg": photo(t)})
	l.rule.RefuseAll.Store(true)
	body, err := json.Marshal(map[string]any{"images": []map[string]string{inline("inline.jpg", photo(t))}})
	if err != nil {
		t.Fatal(err)
	}
	status, _, text := l.post(t, "/api/v1/batch", "", string(body))
	if want := []byte("Object storage refuses requests until an operator corrects it"); status != http.StatusServiceUnavailable || !bytes.Contains(text, want) {
		t.Errorf("POST of an inline image: %d %s, want 503 with %q", status, text, want)
	}
	waiting := l.submit(t, map[string]string{"url": site + "/photo.jpg"})
	const reason = "refuses to store objects: refused by the test (InvalidRequest, HTTP status 400)"
	await(t, func() (bool, string) {
		said := readyz(t, l.parts[0])
		return strings.Contains(said, "store of originals: ") && strings.Contains(said, reason), "the gateway reports " + said
	})
	// A process that starts now says so before any image meets the refusal.
	processor := l.parts[2]
	if err := processor.end(os.Interrupt); err != nil {
		t.Error(err)
	}
	processor.start()
	await(t, func() (bool, string) {
		said := readyz(t, processor)
		return strings.Contains(said, "store of processed images: ") && strings.Contains(said, reason), "the processor reports " + said
	})
	l.rule.RefuseAll.Store(false)
	if got := l.ended(t, waiting); got.Completed != 1 || got.Failed != 0 {
		t.Errorf("job %+v, want 1 completed", got)
	}
	for _, p := range l.parts {
		p.awaitReady()
	}
	if got := l.ended(t, l.submit(t, inline("inline.jpg", photo(t)))); got.Completed != 1 {
		t.Errorf("job after the correction: %+v", got)
	}
}
