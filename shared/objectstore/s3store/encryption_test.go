package s3store

import (
	"crypto/md5" //nolint:gosec // ETags are often MD5 sums.
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/sse"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/storetest"
)

// TestEncryptedBucket runs the suite in a bucket with server-side encryption (SSE-KMS),
// whose ETags are not checksums of the objects.
func TestEncryptedBucket(t *testing.T) {
	c := configOf(t, "TEST_S3")
	s := opened(t, c, standard)
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.client.SetBucketEncryption(t.Context(), c.Bucket, sse.NewConfigurationSSEKMS("imagebatch")); err != nil {
		t.Skipf("server has no encryption key: %v", err)
	}
	storetest.Run(t, func(t *testing.T) objectstore.Store {
		c := c
		c.Prefix = rand.Text() + "/"
		return opened(t, c, standard)
	})

	data := []byte("encrypted at rest")
	if err := s.Put(t.Context(), "key", objectstore.Content{Data: data, Type: "image/jpeg"}); err != nil {
		t.Fatal(err)
	}
	o, err := s.client.StatObject(t.Context(), c.Bucket, "key", minio.StatObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Metadata.Get("X-Amz-Server-Side-Encryption"); got != "aws:kms" {
		t.Errorf("the object is encrypted with %q, want aws:kms", got)
	}
	sum := md5.Sum(data) //nolint:gosec // ETags are often MD5 sums.
	if strings.Contains(o.ETag, hex.EncodeToString(sum[:])) {
		t.Errorf("the ETag %s is a checksum of the object, so the test is not conclusive", o.ETag)
	}
	if got, err := objectstore.ReadAll(t.Context(), s, "key", 100); err != nil || string(got) != string(data) {
		t.Errorf("%q, %v", got, err)
	}
}
