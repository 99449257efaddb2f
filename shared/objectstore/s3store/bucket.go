package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

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
		err = &actionError{listBucket, s.explain(ctx, err)}
		if slices.Contains(keyFaults, code(err)) {
			s.role.refused()
		}
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
			return &actionError{createBucket, err}
		}
	}
	s.bucketSeen.Store(true)
	s.denials.forget(listBucket, createBucket)
	return nil
}

// explain asks again, with a GET, what the answer to a HEAD could not say for want
// of a body.
func (s *Store) explain(ctx context.Context, err error) error {
	if status(err) == 0 || s.isPassing(err) {
		return err
	}
	options := minio.ListObjectsOptions{Prefix: s.prefix, MaxKeys: 1, Recursive: true}
	for o := range s.client.ListObjectsIter(ctx, s.bucket, options) {
		switch {
		case status(o.Err) != 0:
			return o.Err
		case o.Err != nil:
			return err
		}
		break
	}
	answer, _ := errors.AsType[minio.ErrorResponse](err)
	if ctx.Err() == nil && answer.Code == minio.AccessDenied {
		answer.Message = "it is allowed for the prefix alone, and must be for the whole bucket"
		return answer
	}
	return err
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

// Ready is nil when the server answers, has the bucket, and has lately refused no
// right that a call needs. It makes one try.
func (s *Store) Ready(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, s.limits.call)
	defer cancel()
	err := s.role.blame(s.lookForBucket(try))
	if err == nil {
		if err = s.denials.told(); err == nil {
			return nil
		}
		return &callError{kind: objectstore.ErrUnavailable, text: s.where() + " " + err.Error()}
	}
	if _, ours := errors.AsType[*roleError](err); !ours && ctx.Err() != nil {
		return fmt.Errorf("ask for bucket %q at %s: %w", s.bucket, s.endpoint, ctx.Err())
	}
	return &callError{kind: objectstore.ErrUnavailable, text: s.diagnosis(err)}
}

func (s *Store) where() string { return fmt.Sprintf("bucket %q at %s", s.bucket, s.endpoint) }

// diagnosis says what an operator has to mend.
func (s *Store) diagnosis(err error) string {
	where := s.where()
	if missing, ok := errors.AsType[*roleError](err); ok {
		return where + ": " + missing.text
	}
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return fmt.Sprintf("%s: the object store does not answer: %s", where, s.silence(err))
	}
	why := said(answer)
	action, isDenied := denied(err)
	switch {
	case answer.Code == minio.NoSuchBucket:
		return where + " does not exist: create it, or allow its creation"
	case answer.Region != "" && answer.Region != s.region:
		return fmt.Sprintf("%s is in region %q, and %q is configured: %s", where, answer.Region, s.region, why)
	case isDenied && action == createBucket:
		return fmt.Sprintf("%s does not exist, and this access key may not create it (%s): %s", where, action, why)
	case isDenied:
		return fmt.Sprintf("%s does not allow %s to this access key: %s", where, action, why)
	case answer.StatusCode == http.StatusForbidden, answer.StatusCode == http.StatusUnauthorized:
		return fmt.Sprintf("%s refuses the access key: %s", where, why)
	case s.isPassing(err):
		return fmt.Sprintf("%s cannot serve now: %s", where, why)
	default:
		return fmt.Sprintf("%s refuses the request: %s", where, why)
	}
}
