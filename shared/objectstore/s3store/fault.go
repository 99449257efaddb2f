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

// callError is an error of the contract with a description. The cause is only text,
// because a timeout of this package must not look like the end of the caller's context.
type callError struct {
	kind error // an error of objectstore, or nil for an argument error
	text string
}

func (e *callError) Error() string {
	if e.kind == nil {
		return e.text
	}
	return e.kind.Error() + ": " + e.text
}

func (e *callError) Unwrap() error { return e.kind }

// callFailed adds the call and the key to the error.
func callFailed(op, key string, err error) error { return fmt.Errorf("%s object %q: %w", op, key, err) }

// classify maps an error of the server or the network to the contract. An error that is
// not clearly the caller's is ErrUnavailable, so that the caller tries again later.
func (s *Store) classify(err error) error {
	if missing, ok := errors.AsType[*roleError](err); ok {
		return &callError{objectstore.ErrUnavailable, missing.text}
	}
	response, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return &callError{objectstore.ErrUnavailable, s.noResponse(err)}
	}
	text := describe(response)
	refusal, isRefusal := s.refused(err)
	switch {
	case isRefusal:
		return &callError{objectstore.ErrRefused, fmt.Sprintf("bucket %q %s", s.bucket, refusal.text)}
	case response.Code == minio.NoSuchKey:
		return &callError{objectstore.ErrNotExist, text}
	case response.Code == minio.PreconditionFailed:
		return &callError{objectstore.ErrChanged, text}
	case slices.Contains(argumentErrors, response.Code):
		return &callError{nil, text}
	default:
		return &callError{objectstore.ErrUnavailable, text}
	}
}

// describe formats the server's error response.
func describe(response minio.ErrorResponse) string {
	return fmt.Sprintf("%s (%s, HTTP status %d)", response.Error(), response.Code, response.StatusCode)
}

// noResponse describes a call without a response, in words that do not suggest that the
// caller ended it.
func (s *Store) noResponse(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return s.endpoint + " did not respond in time"
	}
	return err.Error()
}

// argumentErrors are the codes for a key or an object that this server can never store:
// a key that is a folder of another key, or is too long for its file system; and for a
// part outside the object.
var argumentErrors = []string{
	minio.InvalidRange,
	"EntityTooLarge", "InvalidObjectName", "KeyTooLongError", "KeyTooLong",
	"XMinioInvalidObjectName", "XMinioParentIsObject", "XMinioObjectExistsAsDirectory", // MinIO
	"ObjectParentIsFile", "ExistingObjectIsDirectory", // versitygw
}

// isTransient reports whether an immediate retry may succeed. Errors about keys,
// buckets and permissions are not transient, except about the keys of a role, which can
// provide others.
func (s *Store) isTransient(err error) bool {
	response, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return true
	}
	switch response.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return response.StatusCode >= http.StatusInternalServerError && response.StatusCode != http.StatusNotImplemented ||
		slices.Contains(transientCodes, response.Code) || s.role != nil && slices.Contains(keyErrors, response.Code)
}

// keyErrors are the codes for keys that have expired or are unknown.
var keyErrors = []string{
	"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidTokenId", "InvalidAccessKeyId",
}

// transientCodes are codes of transient errors whose HTTP status does not show it:
// corruption in transit, or concurrent calls, as when versitygw meets a folder that
// another call is removing. A missing bucket is checked again, and created if that is
// allowed.
var transientCodes = []string{
	"BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
	"OperationAborted", "ConditionalRequestConflict", "SlowDown", "InternalError", minio.NoSuchBucket,
	"ExistingObjectIsDirectory", "ObjectParentIsFile",
}

func code(err error) string {
	if response, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return response.Code
	}
	return ""
}

// status returns the HTTP status of the server's response, or 0 if there was none.
func status(err error) int {
	if response, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return response.StatusCode
	}
	return 0
}
