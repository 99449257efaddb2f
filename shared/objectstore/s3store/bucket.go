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

// ensureBucket checks for the bucket until it was found once. Concurrent callers may
// all do so: checking and creating are idempotent.
func (s *Store) ensureBucket(ctx context.Context) error {
	if s.bucketSeen.Load() {
		return nil
	}
	return s.checkBucket(ctx)
}

// checkBucket checks whether the bucket exists, and creates it if it is missing and
// CreateBucket is set.
func (s *Store) checkBucket(ctx context.Context) error {
	there, err := s.client.BucketExists(ctx, s.bucket)
	if err != nil {
		err = &actionError{listBucket, s.explain(ctx, err)}
		if slices.Contains(keyErrors, code(err)) {
			s.role.discardKeys()
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
	s.refusals.granted(listBucket, createBucket)
	return nil
}

// explain repeats a failed HEAD request as a GET, whose response has a body with the
// reason.
func (s *Store) explain(ctx context.Context, err error) error {
	if status(err) == 0 || s.isTransient(err) {
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
	response, _ := errors.AsType[minio.ErrorResponse](err)
	if ctx.Err() == nil && response.Code == minio.AccessDenied {
		response.Message = "it is allowed for the prefix only, and must be allowed for the whole bucket"
		return response
	}
	return err
}

func (s *Store) createBucket(ctx context.Context) error {
	err := s.client.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: s.region})
	switch code(err) {
	case minio.BucketAlreadyOwnedByYou:
		return nil
	case minio.BucketAlreadyExists:
		// Another client was faster. Check whether we own the bucket.
		there, lookErr := s.client.BucketExists(ctx, s.bucket)
		if lookErr != nil || there {
			return lookErr
		}
	}
	return err
}

// Ready returns nil if the server responds, has the bucket, accepts the [Probe], and has
// recently refused no other call. It makes one try.
func (s *Store) Ready(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, s.limits.call)
	defer cancel()
	err := s.role.blame(s.checkBucket(try))
	if err == nil {
		if err = s.refusals.current(); err == nil {
			err = s.probe(try)
		}
	}
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*refusalError](err); ok {
		return &callError{kind: objectstore.ErrRefused, text: s.where() + " " + refusal.text}
	}
	if _, ours := errors.AsType[*roleError](err); !ours && ctx.Err() != nil {
		return fmt.Errorf("check bucket %q at %s: %w", s.bucket, s.endpoint, ctx.Err())
	}
	return &callError{kind: objectstore.ErrUnavailable, text: s.diagnosis(err)}
}

func (s *Store) where() string { return fmt.Sprintf("bucket %q at %s", s.bucket, s.endpoint) }

// diagnosis describes the problem for an operator.
func (s *Store) diagnosis(err error) string {
	where := s.where()
	if missing, ok := errors.AsType[*roleError](err); ok {
		return where + ": " + missing.text
	}
	response, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return fmt.Sprintf("%s: the object store does not respond: %s", where, s.noResponse(err))
	}
	reason := describe(response)
	action, isDenied := denied(err)
	switch {
	case response.Code == minio.NoSuchBucket:
		return where + " does not exist: create it, or allow its creation"
	case response.Region != "" && response.Region != s.region:
		return fmt.Sprintf("%s is in region %q, but %q is configured: %s", where, response.Region, s.region, reason)
	case isDenied && action == createBucket:
		return fmt.Sprintf("%s does not exist, and this access key may not create it (%s): %s", where, action, reason)
	case isDenied:
		return fmt.Sprintf("%s does not allow %s to this access key: %s", where, action, reason)
	case response.StatusCode == http.StatusForbidden, response.StatusCode == http.StatusUnauthorized:
		return fmt.Sprintf("%s rejects the access key: %s", where, reason)
	case s.isTransient(err):
		return fmt.Sprintf("%s is temporarily unavailable: %s", where, reason)
	default:
		return fmt.Sprintf("%s rejects the request: %s", where, reason)
	}
}
