package s3store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// pageKeys is the number of keys in one request and in memory, the maximum of S3.
const pageKeys = 1000

// List yields the objects whose keys start with prefix. It holds no connection between
// two pages, so a slow consumer is harmless. It skips objects of other clients in the
// bucket whose keys are invalid.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[objectstore.Info, error] {
	return func(yield func(objectstore.Info, error) bool) {
		if err := objectstore.CheckPrefix(prefix); err != nil {
			yield(objectstore.Info{}, err)
			return
		}
		for after := ""; ; {
			page, err := s.page(ctx, prefix, after)
			if err != nil {
				yield(objectstore.Info{}, err)
				return
			}
			for _, o := range page {
				key := strings.TrimPrefix(o.Key, s.prefix)
				if objectstore.CheckKey(key) != nil || !strings.HasPrefix(key, prefix) {
					continue
				}
				o.ContentType = ""
				if !yield(s.info(key, o), nil) {
					return
				}
			}
			if len(page) < pageKeys {
				return
			}
			after = page[len(page)-1].Key
		}
	}
}

// page reads the next keys after the key after. A page that breaks off is read again,
// which a stream over all pages could not do.
func (s *Store) page(ctx context.Context, prefix, after string) ([]minio.ObjectInfo, error) {
	options := minio.ListObjectsOptions{
		Prefix: requestPrefix(s.prefix + prefix), StartAfter: after, MaxKeys: pageKeys,
		Recursive: true, FetchOwner: new(bool),
	}
	var page []minio.ObjectInfo
	err := s.do(ctx, "list", prefix, s.limits.call, func(ctx context.Context) error {
		page = make([]minio.ObjectInfo, 0, pageKeys)
		for o := range s.client.ListObjectsIter(ctx, s.bucket, options) {
			if o.Err != nil {
				return o.Err
			}
			last := after
			if len(page) > 0 {
				last = page[len(page)-1].Key
			}
			if o.Key <= last {
				return fmt.Errorf("server lists %q after %q", o.Key, last)
			}
			if page = append(page, o); len(page) == pageKeys {
				return nil
			}
		}
		return ctx.Err() // minio-go ends a listing without an error on a timeout
	})
	if errors.Is(err, objectstore.ErrNotExist) {
		err = &callError{objectstore.ErrUnavailable, err.Error()}
	}
	return page, err
}

// requestPrefix returns the prefix for the request. MinIO rejects a prefix that ends in
// "." or "..", which is a valid start of a key, so requestPrefix returns its folder.
func requestPrefix(prefix string) string {
	if dir, last := path.Split(prefix); last == "." || last == ".." {
		return dir
	}
	return prefix
}
