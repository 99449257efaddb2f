package s3store

import (
	"cmp"
	"context"
	"crypto/rand"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMinIO(t *testing.T) {
	onServer(t, "TEST_S3", func(t *testing.T, c Config) { suite(t, c) })
}

func TestVersityGW(t *testing.T) {
	onServer(t, "TEST_VERSITYGW", func(t *testing.T, c Config) { suite(t, c) })
}

// onServer runs the test on a real server, or skips it.
func onServer(t *testing.T, variables string, test func(t *testing.T, c Config)) {
	test(t, configOf(t, variables))
}

// configOf returns a configuration with a new bucket, which is removed after the test.
func configOf(t testing.TB, variables string) Config {
	t.Helper()
	c := serverOf(t, variables)
	t.Cleanup(func() { removeBucket(t, c) })
	return c
}

// serverOf returns a configuration with the name of a new bucket.
func serverOf(t testing.TB, variables string) Config {
	t.Helper()
	endpoint := os.Getenv(variables + "_ENDPOINT")
	if endpoint == "" {
		t.Skip(variables + "_ENDPOINT is not set")
	}
	return Config{
		Endpoint:     endpoint,
		AccessKey:    cmp.Or(os.Getenv(variables+"_ACCESS_KEY"), os.Getenv("TEST_S3_ACCESS_KEY")),
		SecretKey:    cmp.Or(os.Getenv(variables+"_SECRET_KEY"), os.Getenv("TEST_S3_SECRET_KEY")),
		Bucket:       "test-" + strings.ToLower(rand.Text()),
		PathStyle:    true,
		CreateBucket: true,
	}
}

// somewhere returns a function that opens stores in the bucket, each with a prefix of its
// own.
func somewhere(c Config) func(t *testing.T) objectstore.Store {
	return func(t *testing.T) objectstore.Store {
		c := c
		c.Prefix = "prefix of " + rand.Text() + "/"
		return opened(t, c, standard)
	}
}

func suite(t *testing.T, c Config) {
	storetest.Run(t, somewhere(c))
	t.Run("stores with different prefixes in one bucket are separate", func(t *testing.T) {
		a, b := c, c
		a.Prefix, b.Prefix = "originals/", "originals/2/"
		one, two := opened(t, a, standard), opened(t, b, standard)
		if err := one.Put(t.Context(), "key", objectstore.Content{Data: []byte("one"), Type: ""}); err != nil {
			t.Fatal(err)
		}
		if _, err := two.Stat(t.Context(), "key"); err == nil {
			t.Error("the other store has the object too")
		}
		for info, err := range two.List(t.Context(), "") {
			t.Errorf("the other store lists %q, %v", info.Key, err)
		}
	})
	t.Run("a deleted bucket is reported as missing, and created again if allowed", func(t *testing.T) {
		c := c
		c.Bucket += "-deleted"
		creating := opened(t, c, standard)
		c.CreateBucket = false
		using := opened(t, c, standard)
		expectUnavailable(t, using.Put(t.Context(), "key", objectstore.Content{Data: nil, Type: ""}), "does not exist")
		expectUnavailable(t, using.Ready(t.Context()), "does not exist")
		if err := creating.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := using.Put(t.Context(), "key", objectstore.Content{Data: nil, Type: ""}); err != nil {
			t.Fatal(err)
		}
		removeBucket(t, c)
		_, err := using.Stat(t.Context(), "key")
		expectUnavailable(t, err, "does not exist")
		_, err = using.Get(t.Context(), "key")
		expectUnavailable(t, err, "does not exist")
		expectUnavailable(t, using.Ready(t.Context()), "does not exist")
		if err := creating.Put(t.Context(), "key", objectstore.Content{Data: nil, Type: ""}); err != nil {
			t.Fatal(err)
		}
		removeBucket(t, c)
	})
	t.Run("a rejected access key is reported to the operator", func(t *testing.T) {
		c := c
		c.SecretKey = "this is not the secret"
		s := opened(t, c, standard)
		expectUnavailable(t, s.Ready(t.Context()), "rejects the access key")
		expectUnavailable(t, s.Put(t.Context(), "key", objectstore.Content{Data: nil, Type: ""}), "")
		_, err := s.Get(t.Context(), "key")
		expectUnavailable(t, err, "")
	})
}

func opened(t testing.TB, c Config, l limits) *Store {
	t.Helper()
	s, err := open(c, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// removeBucket removes the bucket and all its objects, which a Store cannot do.
func removeBucket(t testing.TB, c Config) {
	t.Helper()
	s, err := open(c, standard)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	ctx := context.WithoutCancel(t.Context())
	var objects []minio.ObjectInfo
	for o := range s.client.ListObjectsIter(ctx, c.Bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Errorf("list the test's bucket: %v", o.Err)
			return
		}
		objects = append(objects, o)
	}
	removed, err := s.client.RemoveObjectsWithIter(ctx, c.Bucket, slices.Values(objects), minio.RemoveObjectsOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	for o := range removed {
		if o.Err != nil {
			t.Errorf("empty the test's bucket: remove %q: %v", o.ObjectName, o.Err)
			return
		}
	}
	if err := s.client.RemoveBucket(ctx, c.Bucket); err != nil && code(err) != minio.NoSuchBucket {
		t.Errorf("remove the test's bucket: %v", err)
	}
}
