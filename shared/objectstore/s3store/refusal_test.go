package s3store

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
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

// TestRefusalExpires verifies that a refusal ends, so that a caller that waits for Ready
// before its next try can make it.
func TestRefusalExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, Config{Endpoint: "http://127.0.0.1", AccessKey: "key", SecretKey: "secret", Bucket: "original"}, relaxed)
		s.note("put", &actionError{putObject, minio.ErrorResponse{Code: minio.AccessDenied, StatusCode: http.StatusForbidden}})
		s.note("put", objectstore.ErrUnavailable) // an outage says nothing about permissions
		s.note("get", nil)
		if s.refusals.current() == nil {
			t.Error("the refusal is not reported")
		}
		<-time.After(refusalTTL)
		if err := s.refusals.current(); err != nil {
			t.Errorf("the refusal is still reported: %v", err)
		}
	})
}

// refuses are ways in which servers refuse every PUT for good.
var refuses = []struct {
	status int
	code   string
}{
	{http.StatusBadRequest, "InvalidRequest"},
	{http.StatusBadRequest, "KMS.DisabledException"},
	{http.StatusBadRequest, "ObjectLocked"},
	{http.StatusForbidden, "QuotaExceeded"},
	{http.StatusForbidden, "AllAccessDisabled"},
	{http.StatusForbidden, "SignatureDoesNotMatch"},
	{http.StatusMethodNotAllowed, "MethodNotAllowed"},
	{http.StatusConflict, "InvalidBucketState"},
	{http.StatusLengthRequired, "MissingContentLength"},
	{http.StatusNotImplemented, "NotImplemented"},
}

// TestRefusalIsNamed has a server that takes every request but a PUT: the call returns at
// once and says so, Ready gives the server's reason, and all is well once the server takes
// it.
func TestRefusalIsNamed(t *testing.T) {
	for _, test := range refuses {
		t.Run(test.code, func(t *testing.T) {
			var refusing atomic.Bool
			var puts atomic.Int32
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut {
					return false
				}
				puts.Add(1)
				if refusing.Load() {
					respond(w, test.status, test.code)
				}
				return refusing.Load()
			})
			s := f.store(t, relaxed)
			refusing.Store(true)
			err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: ""})
			if !errors.Is(err, objectstore.ErrRefused) {
				t.Errorf("Put = %v, want ErrRefused", err)
			}
			want := fmt.Sprintf(`bucket "original" at %s refuses to store objects: said by the server (%s, HTTP status %d)`, f.URL, test.code, test.status)
			expectUnavailable(t, err, "refuses to store objects: said by the server")
			if n := puts.Load(); n > 2 { // the second one with Content-MD5
				t.Errorf("the server got %d PUTs, want at most 2: it refuses for good", n)
			}
			ready := s.Ready(t.Context())
			expectUnavailable(t, ready, want)
			if !errors.Is(ready, objectstore.ErrRefused) {
				t.Errorf("Ready = %v, want ErrRefused", ready)
			}
			refusing.Store(false)
			if err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: ""}); err != nil {
				t.Errorf("Put to a server that takes it: %v", err)
			}
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("Ready after that: %v", err)
			}
		})
	}
}

// TestRefusedListingIsNamed has a server that can be checked for the bucket, but does not
// list it.
func TestRefusedListingIsNamed(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("list-type") {
			respond(w, http.StatusNotImplemented, "NotImplemented")
			return true
		}
		return false
	})
	s := f.store(t, relaxed)
	for _, err := range s.List(t.Context(), "") {
		expectUnavailable(t, err, "refuses to list objects")
	}
	for range 2 {
		expectUnavailable(t, s.Ready(t.Context()), "refuses to list objects: said by the server (NotImplemented, HTTP status 501)")
	}
}

// TestRejectedKeyIsForgotten verifies that Ready is nil as soon as the server accepts the
// access key again: it checks that itself.
func TestRejectedKeyIsForgotten(t *testing.T) {
	var rejecting atomic.Bool
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request) bool {
		if rejecting.Load() {
			respond(w, http.StatusForbidden, "InvalidAccessKeyId")
		}
		return rejecting.Load()
	})
	s := f.store(t, relaxed)
	rejecting.Store(true)
	expectUnavailable(t, s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}), "cannot be used: said by the server (InvalidAccessKeyId, HTTP status 403)")
	expectUnavailable(t, s.Ready(t.Context()), "rejects the access key: said by the server")
	rejecting.Store(false)
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
