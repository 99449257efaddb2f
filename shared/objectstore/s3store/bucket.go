package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// ensureBucket looks for the bucket until it was seen. Callers at the same
// moment may all do so: looking and creating are idempotent.
func (s *Store) ensureBucket(ctx context.Context) error {
	if s.bucketSeen.Load() {
		return nil
	}
	return s.lookForBucket(ctx)
}

// lookForBucket asks for the bucket, and creates it when it is absent and that
// is wanted.
func (s *Store) lookForBucket(ctx context.Context) error {
	there, err := s.client.BucketExists(ctx, s.bucket)
	if err != nil {
		return err
	}
	if !there {
		if !s.create {
			return minio.ErrorResponse{
				Code: minio.NoSuchBucket, StatusCode: http.StatusNotFound, BucketName: s.bucket,
				Message: "the bucket does not exist",
			}
		}
		if err := s.createBucket(ctx); err != nil {
			return err
		}
	}
	s.bucketSeen.Store(true)
	return nil
}

func (s *Store) createBucket(ctx context.Context) error {
	err := s.client.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: s.region})
	switch code(err) {
	case minio.BucketAlreadyOwnedByYou:
		return nil
	case minio.BucketAlreadyExists:
		// Somebody was faster. Whether it is ours is shown by looking again.
		there, lookErr := s.client.BucketExists(ctx, s.bucket)
		if lookErr != nil || there {
			return lookErr
		}
	}
	return err
}

// Ready is nil when the server answers and has the bucket. It makes one try.
func (s *Store) Ready(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, s.limits.call)
	defer cancel()
	err := s.lookForBucket(try)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("ask for bucket %q at %s: %w", s.bucket, s.endpoint, ctx.Err())
	}
	if status(err) != 0 && code(err) != minio.NoSuchBucket {
		// The answer to a HEAD has no body that could say why: ask with a GET.
		for o := range s.client.ListObjectsIter(try, s.bucket, minio.ListObjectsOptions{MaxKeys: 1, Recursive: true}) {
			if o.Err != nil && status(o.Err) != 0 {
				err = o.Err
			}
			break
		}
	}
	return &callError{kind: objectstore.ErrUnavailable, text: s.diagnosis(err)}
}

// diagnosis says what an operator has to mend.
func (s *Store) diagnosis(err error) string {
	where := fmt.Sprintf("bucket %q at %s", s.bucket, s.endpoint)
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return fmt.Sprintf("%s: the object store does not answer: %s", where, s.silence(err))
	}
	why := fmt.Sprintf("%s (%s, HTTP status %d)", answer.Error(), answer.Code, answer.StatusCode)
	switch {
	case answer.Code == minio.NoSuchBucket:
		return where + " does not exist: create it, or allow its creation"
	case answer.Region != "" && answer.Region != s.region:
		return fmt.Sprintf("%s is in region %q, and %q is configured: %s", where, answer.Region, s.region, why)
	case answer.StatusCode == http.StatusForbidden, answer.StatusCode == http.StatusUnauthorized:
		return fmt.Sprintf("%s refuses the access key: %s", where, why)
	case isPassing(err):
		return fmt.Sprintf("%s cannot serve now: %s", where, why)
	default:
		return fmt.Sprintf("%s refuses the request: %s", where, why)
	}
}
