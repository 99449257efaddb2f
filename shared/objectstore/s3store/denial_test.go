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

// permissionOf returns the permission that S3 requires for the request.
func permissionOf(r *http.Request) string {
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

// TestMissingPermissionIsNamed removes one permission at a time: the calls that need it
// name it and return ErrUnavailable, Ready names it too, and all calls succeed when the
// permission is back.
func TestMissingPermissionIsNamed(t *testing.T) {
	for action, needing := range map[string][]string{
		"s3:PutObject": {"Put"}, "s3:GetObject": {"Get", "Stat"}, "s3:DeleteObject": {"Delete"},
		"s3:ListBucket": {"Put", "Get", "Stat", "Delete", "List"},
	} {
		t.Run(action, func(t *testing.T) {
			denied := true
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if denied && permissionOf(r) == action {
					respond(w, http.StatusForbidden, minio.AccessDenied)
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

			denied = false
			if action == listBucket {
				if err := s.Ready(t.Context()); err != nil {
					t.Errorf("Ready with the permission: %v", err)
				}
			}
			for _, name := range needing {
				if err := calls(s)[name](t.Context()); err != nil {
					t.Errorf("%s with the permission: %v", name, err)
				}
			}
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("Ready with the permission: %v", err)
			}
		})
	}
}

// TestBucketThatMayNotBeCreated verifies that Ready names the missing permission and
// the remedy.
func TestBucketThatMayNotBeCreated(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if permissionOf(r) == createBucket {
			respond(w, http.StatusForbidden, minio.AccessDenied)
		}
		return permissionOf(r) == createBucket
	})
	f.missing = true
	c := Config{Endpoint: f.URL, AccessKey: "key", SecretKey: "secret", Bucket: "original"}
	expectUnavailable(t, opened(t, c, quick).Ready(t.Context()), `bucket "original" at `+f.URL+` does not exist: create it, or allow its creation`)
	c.CreateBucket = true
	expectUnavailable(t, opened(t, c, quick).Ready(t.Context()),
		`bucket "original" at `+f.URL+` does not exist, and this access key may not create it (s3:CreateBucket): `)
}

// TestListingOfThePrefixOnly has a policy that allows ListBucket only for the prefix: a
// server would then respond with 403 for a missing object.
func TestListingOfThePrefixOnly(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if permissionOf(r) == listBucket && r.URL.Query().Get("prefix") != "ours/" {
			respond(w, http.StatusForbidden, minio.AccessDenied)
			return true
		}
		return false
	})
	s := opened(t, Config{Endpoint: f.URL, AccessKey: "key", SecretKey: "secret", Bucket: "original", Prefix: "ours/"}, quick)
	expectUnavailable(t, s.Ready(t.Context()), "does not allow s3:ListBucket to this access key: it is allowed for the prefix only")
}

// TestDenialExpires verifies that a denial ends, so that a caller that waits for Ready
// before its next try can make it.
func TestDenialExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d denials
		d.note("put", &actionError{"s3:PutObject", minio.ErrorResponse{Code: minio.AccessDenied}})
		d.note("put", objectstore.ErrUnavailable) // an outage says nothing about permissions
		d.note("get", nil)
		if d.current() == nil {
			t.Error("the denial is not reported")
		}
		<-time.After(denialTTL)
		if err := d.current(); err != nil {
			t.Errorf("the denial is still reported: %v", err)
		}
	})
}
