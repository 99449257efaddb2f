package s3store

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// right is the one that S3 asks for the request.
func right(r *http.Request) string {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case key == "" && r.Method == http.MethodPut:
		return createBucket
	case key == "":
		return listBucket
	case r.Method == http.MethodPut:
		return "s3:PutObject"
	case r.Method == http.MethodDelete:
		return "s3:DeleteObject"
	}
	return "s3:GetObject"
}

// TestMissingRightIsNamed takes one right away: the calls that need it say so and are
// no fault of the object, Ready says so too, and all is well when it is given back.
func TestMissingRightIsNamed(t *testing.T) {
	for action, needing := range map[string][]string{
		"s3:PutObject": {"Put"}, "s3:GetObject": {"Get", "Stat"}, "s3:DeleteObject": {"Delete"},
		"s3:ListBucket": {"Put", "Get", "Stat", "Delete", "List"},
	} {
		t.Run(action, func(t *testing.T) {
			taken := true
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if taken && right(r) == action {
					answer(w, http.StatusForbidden, minio.AccessDenied)
					return true
				}
				return false
			})
			f.objects["id/a.jpg"] = []byte("there")
			s := f.store(t, quick)
			want := `bucket "original"`
			for _, name := range needing {
				err := calls(s)[name](t.Context())
				expectUnavailable(t, err, "does not allow "+action+" to this access key: ")
				expectUnavailable(t, err, want)
			}
			expectUnavailable(t, s.Ready(t.Context()), want+" at "+f.URL+" does not allow "+action+" to this access key: ")

			taken = false
			if action == listBucket {
				if err := s.Ready(t.Context()); err != nil {
					t.Errorf("Ready with the right: %v", err)
				}
			}
			for _, name := range needing {
				if err := calls(s)[name](t.Context()); err != nil {
					t.Errorf("%s with the right: %v", name, err)
				}
			}
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("Ready with the right: %v", err)
			}
		})
	}
}

// TestBucketThatMayNotBeCreated names what is missing and what to do.
func TestBucketThatMayNotBeCreated(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if right(r) == createBucket {
			answer(w, http.StatusForbidden, minio.AccessDenied)
		}
		return right(r) == createBucket
	})
	f.missing = true
	c := Config{Endpoint: f.URL, AccessKey: "key", SecretKey: "secret", Bucket: "original"}
	expectUnavailable(t, opened(t, c, quick).Ready(t.Context()), `bucket "original" at `+f.URL+` does not exist: create it, or allow its creation`)
	c.CreateBucket = true
	expectUnavailable(t, opened(t, c, quick).Ready(t.Context()),
		`bucket "original" at `+f.URL+` does not exist, and this access key may not create it (s3:CreateBucket): `)
}

// TestListingOfThePrefixAlone is a policy that allows ListBucket with a condition on
// the prefix: a server would then answer 403 for an object that does not exist.
func TestListingOfThePrefixAlone(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if right(r) == listBucket && r.URL.Query().Get("prefix") != "ours/" {
			answer(w, http.StatusForbidden, minio.AccessDenied)
			return true
		}
		return false
	})
	s := opened(t, Config{Endpoint: f.URL, AccessKey: "key", SecretKey: "secret", Bucket: "original", Prefix: "ours/"}, quick)
	expectUnavailable(t, s.Ready(t.Context()), "does not allow s3:ListBucket to this access key: it is allowed for the prefix alone")
}

// TestDenialIsForgotten: whoever waits for Ready before the next try gets to it.
func TestDenialIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d denials
		d.note("put", &actionError{"s3:PutObject", minio.ErrorResponse{Code: minio.AccessDenied}})
		d.note("put", objectstore.ErrUnavailable) // an outage tells nothing of rights
		d.note("get", nil)
		if d.told() == nil {
			t.Error("a refusal is not told")
		}
		<-time.After(denialStays)
		if err := d.told(); err != nil {
			t.Errorf("it is told for ever: %v", err)
		}
	})
}
