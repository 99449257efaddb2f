package locktest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Bucket is a bucket with Object Lock, which retains each version of an object for a day.
type Bucket struct {
	client *minio.Client
	name   string
}

// NewBucket creates a bucket. At the end of the test it is removed with all versions. The
// test is skipped if the server cannot retain objects.
func NewBucket(t testing.TB, endpoint, accessKey, secretKey, name string) *Bucket {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Secure: u.Scheme == "https", Region: "us-east-1", Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &Bucket{client, name}
	if err := client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{ObjectLocking: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.remove(t) })
	mode, days, unit := minio.Governance, uint(1), minio.Days
	if err := client.SetObjectLockConfig(t.Context(), name, &mode, &days, &unit); err != nil {
		t.Skipf("server cannot retain objects: %v", err)
	}
	return b
}

// Versions returns the number of versions of each key, and of its delete markers.
func (b *Bucket) Versions(t testing.TB) (versions, markers map[string]int) {
	t.Helper()
	versions, markers = map[string]int{}, map[string]int{}
	for _, o := range b.list(t) {
		if o.IsDeleteMarker {
			markers[o.Key]++
		} else {
			versions[o.Key]++
		}
	}
	return versions, markers
}

func (b *Bucket) list(t testing.TB) (all []minio.ObjectInfo) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // The bucket is removed in a cleanup.
	for o := range b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		if o.Err != nil {
			t.Fatalf("list versions: %v", o.Err)
		}
		all = append(all, o)
	}
	return all
}

func (b *Bucket) remove(t testing.TB) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	results, err := b.client.RemoveObjectsWithIter(ctx, b.name, slices.Values(b.list(t)), minio.RemoveObjectsOptions{GovernanceBypass: true})
	if err != nil {
		t.Errorf("empty the test's bucket: %v", err)
		return
	}
	for r := range results {
		if r.Err != nil {
			t.Errorf("empty the test's bucket: remove %q: %v", r.ObjectName, r.Err)
			return
		}
	}
	if err := b.client.RemoveBucket(ctx, b.name); err != nil {
		t.Errorf("remove the test's bucket: %v", err)
	}
}
