package s3store

import (
	"context"
	"crypto/md5" //nolint:gosec // It is what an ETag is taken for.
	"encoding/hex"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/sse"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/storetest"
)

// TestEncryptedBucket passes the suite in buckets that encrypt by themselves, whose
// ETags are no sums of what was put.
func TestEncryptedBucket(t *testing.T) {
	for name, encryption := range map[string]*sse.Configuration{
		"aws:kms": sse.NewConfigurationSSEKMS("imagebatch"), "AES256": sse.NewConfigurationSSES3(),
	} {
		t.Run(name, func(t *testing.T) {
			c := configOf(t, "TEST_S3")
			s := opened(t, c, standard)
			if err := s.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.client.SetBucketEncryption(t.Context(), c.Bucket, encryption); err != nil {
				t.Skipf("this server has no key to encrypt with: %v", err)
			}
			storetest.Run(t, func(t *testing.T) objectstore.Store { return opened(t, with(c, t.Name()), standard) })

			data := []byte("encrypted at rest")
			if err := s.Put(t.Context(), "key", data, "image/jpeg"); err != nil {
				t.Fatal(err)
			}
			o, err := s.client.StatObject(t.Context(), c.Bucket, "key", minio.StatObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := o.Metadata.Get("X-Amz-Server-Side-Encryption"); got != name {
				t.Errorf("the object is encrypted by %q", got)
			}
			sum := md5.Sum(data) //nolint:gosec // It is what an ETag is taken for.
			if strings.Contains(o.ETag, hex.EncodeToString(sum[:])) {
				t.Errorf("the ETag %s is a sum of the object: the test shows nothing", o.ETag)
			}
			if got, err := objectstore.ReadAll(context.WithoutCancel(t.Context()), s, "key", 100); err != nil || string(got) != string(data) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
