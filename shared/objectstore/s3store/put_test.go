package s3store

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/locktest"
	"github.com/imagebatch/imagebatch/shared/objectstore/storetest"
	"github.com/imagebatch/imagebatch/shared/tlstest"
)

// locked returns a store on a fake server that enforces the rule of buckets with Object
// Lock.
func locked(t *testing.T, f *fake, tls bool) (*Store, *locktest.Rule) {
	t.Helper()
	endpoint, rule := locktest.Proxy(t, f.URL)
	c := Config{Endpoint: endpoint, AccessKey: "key", SecretKey: "secret", Bucket: "original"}
	if tls {
		authority := tlstest.NewAuthority(t)
		c.Endpoint, c.Roots = "https://"+authority.Front(strings.TrimPrefix(endpoint, "http://")), authority.Pool()
	}
	return opened(t, c, relaxed), rule
}

// TestEveryPutHasAChecksum puts objects of all sizes into a bucket with Object Lock, with
// and without TLS. The checksum is a header: older servers know no trailers.
func TestEveryPutHasAChecksum(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", tls), func(t *testing.T) {
			var header http.Header
			f := newFake(t, func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut {
					header = r.Header.Clone()
				}
				return false
			})
			s, rule := locked(t, f, tls)
			for i, size := range []int{0, 1, 12_000, 10 << 20} {
				data := bytes.Repeat([]byte{'x'}, size)
				if err := s.Put(t.Context(), "id/a.jpg", objectstore.Content{Data: data, Type: "image/jpeg"}); err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if got, err := objectstore.ReadAll(t.Context(), s, "id/a.jpg", 10<<20); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes were put, and %d are there: %v", size, len(got), err)
				}
				sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
				want := base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
				if got := header.Get("X-Amz-Checksum-Crc32c"); got != want {
					t.Errorf("%d bytes: x-amz-checksum-crc32c is %q, want %q", size, got, want)
				}
				if signed := header.Get("Authorization"); !strings.Contains(signed, "x-amz-checksum-crc32c") {
					t.Errorf("the checksum is not signed: %s", signed)
				}
				for _, name := range []string{"Content-Md5", "X-Amz-Trailer", "Content-Encoding", "X-Amz-Decoded-Content-Length"} {
					if header.Get(name) != "" {
						t.Errorf("%d bytes: header %s: %s, want none", size, name, header.Get(name))
					}
				}
				if rule.Refused.Load() != 0 || rule.Passed.Load() != int64(i+1) {
					t.Errorf("%d PUTs were refused and %d passed, want 0 and %d", rule.Refused.Load(), rule.Passed.Load(), i+1)
				}
			}
		})
	}
}

// TestServerThatRefusesTheHeader has servers that do not know x-amz-checksum-crc32c. They
// get Content-MD5 instead, and then always.
func TestServerThatRefusesTheHeader(t *testing.T) {
	for name, refuse := range map[string]func(http.ResponseWriter){
		"unsupported": func(w http.ResponseWriter) { respond(w, http.StatusBadRequest, "InvalidArgument") },
		"unknown":     func(w http.ResponseWriter) { respond(w, http.StatusNotImplemented, "NotImplemented") },
		"wants MD5":   func(w http.ResponseWriter) { respond(w, http.StatusBadRequest, "InvalidRequest") },
	} {
		t.Run(name, func(t *testing.T) {
			var puts, sums atomic.Int32
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut {
					return false
				}
				puts.Add(1)
				if r.Header.Get("X-Amz-Checksum-Crc32c") != "" {
					refuse(w)
					return true
				}
				if r.Header.Get("Content-Md5") != "" {
					sums.Add(1)
				}
				return false
			})
			s, rule := locked(t, f, false)
			for range 3 {
				if err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: ""}); err != nil {
					t.Fatal(err)
				}
			}
			if puts.Load() != 4 || sums.Load() != 3 || rule.Refused.Load() != 0 {
				t.Errorf("the server got %d PUTs, %d with Content-MD5, want 4 and 3; %d were without a checksum", puts.Load(), sums.Load(), rule.Refused.Load())
			}
			if err := s.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRefusalDoesNotChangeTheChecksum has a server that refuses a PUT for another reason.
func TestRefusalDoesNotChangeTheChecksum(t *testing.T) {
	var refusing atomic.Bool
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && refusing.Load() {
			respond(w, http.StatusBadRequest, "InvalidRequest")
			return true
		}
		if r.Method == http.MethodPut && r.Header.Get("X-Amz-Checksum-Crc32c") == "" {
			t.Error("a PUT has another checksum")
		}
		return false
	})
	s := f.store(t, relaxed)
	refusing.Store(true)
	expectUnavailable(t, s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}), "")
	refusing.Store(false)
	if err := s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}); err != nil {
		t.Error(err)
	}
}

// TestCorruptedUpload changes a byte in transit, once.
func TestCorruptedUpload(t *testing.T) {
	for _, code := range []string{"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"} {
		var puts atomic.Int32
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || puts.Add(1) > 1 {
				return false
			}
			respond(w, http.StatusBadRequest, code)
			return true
		})
		s := f.store(t, relaxed)
		if err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: ""}); err != nil || puts.Load() != 2 || s.sendMD5.Load() {
			t.Errorf("%s: %v after %d PUTs, want none after 2; Content-MD5: %v, want false", code, err, puts.Load(), s.sendMD5.Load())
		}
	}
}

// TestGoogleGetsMD5 verifies what minio-go does too: Google's servers have no
// x-amz-checksum headers.
func TestGoogleGetsMD5(t *testing.T) {
	for endpoint, want := range map[string]bool{"https://storage.googleapis.com": true, "https://s3.eu-central-1.amazonaws.com": false} {
		if s := opened(t, Config{Endpoint: endpoint, AccessKey: "key", SecretKey: "secret", Bucket: "original"}, relaxed); s.sendMD5.Load() != want {
			t.Errorf("%s: Content-MD5 is %v, want %v", endpoint, s.sendMD5.Load(), want)
		}
	}
}

// TestLockedBucket runs the suite on real servers, in a bucket with Object Lock and behind
// the rule of AWS, which they do not enforce.
func TestLockedBucket(t *testing.T) {
	for _, variables := range []string{"TEST_S3", "TEST_VERSITYGW"} {
		t.Run(variables, func(t *testing.T) {
			c := serverOf(t, variables)
			locktest.NewBucket(t, c.Endpoint, c.AccessKey, c.SecretKey, c.Bucket)
			endpoint, rule := locktest.Proxy(t, c.Endpoint)
			c.Endpoint, c.CreateBucket = endpoint, false
			t.Run("suite", func(t *testing.T) { storetest.RunWithVersions(t, somewhere(c)) })
			if rule.Refused.Load() != 0 || rule.Passed.Load() == 0 {
				t.Errorf("%d PUTs were refused and %d passed, want 0 and some", rule.Refused.Load(), rule.Passed.Load())
			}
		})
	}
}

// TestKnownSum verifies that a sum that the caller knows is used instead of a new one: the right one stores the data, and the
// servers refuse data with another one.
func TestKnownSum(t *testing.T) {
	for _, server := range []string{"TEST_S3", "TEST_VERSITYGW"} {
		t.Run(server, func(t *testing.T) {
			c := configOf(t, server)
			c.CreateBucket = true
			s := opened(t, c, standard)
			data := []byte("the data of the sum")
			sum := fmt.Sprintf("%x", sha256.Sum256(data))
			if err := s.Put(t.Context(), "right", objectstore.Content{Data: data, SHA256: sum}); err != nil {
				t.Errorf("with the right sum: %v", err)
			}
			if got, err := objectstore.ReadAll(t.Context(), s, "right", 100); err != nil || !bytes.Equal(got, data) {
				t.Errorf("stored %q, %v, want %q", got, err, data)
			}
			if err := s.Put(t.Context(), "wrong", objectstore.Content{Data: []byte("other data"), SHA256: sum}); err == nil {
				t.Error("with the sum of other data: no error")
			}
			if _, err := s.Stat(t.Context(), "wrong"); !errors.Is(err, objectstore.ErrNotExist) {
				t.Errorf("with the sum of other data: Stat = %v, want objectstore.ErrNotExist", err)
			}
		})
	}
}
