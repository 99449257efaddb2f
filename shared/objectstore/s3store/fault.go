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

// callError is one of the contract's errors with the text of what happened. The
// cause is only text: a timeout of ours must not look like the end of the
// caller's context.
type callError struct {
	kind error // objectstore.ErrNotExist, objectstore.ErrUnavailable, or nil: a fault of the arguments
	text string
}

func (e *callError) Error() string {
	if e.kind == nil {
		return e.text
	}
	return e.kind.Error() + ": " + e.text
}

func (e *callError) Unwrap() error { return e.kind }

// callFailed says which call of which object it was.
func callFailed(op, key string, err error) error { return fmt.Errorf("%s object %q: %w", op, key, err) }

// class gives an error of the server or the network its place in the contract.
// What is not known to be the caller's fault is the store's, and worth a later
// call.
func (s *Store) class(err error) error {
	if missing, ok := errors.AsType[*roleError](err); ok {
		return &callError{objectstore.ErrUnavailable, missing.text}
	}
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return &callError{objectstore.ErrUnavailable, s.silence(err)}
	}
	text := said(answer)
	if action, ok := denied(err); ok {
		text = fmt.Sprintf("bucket %q does not allow %s to this access key: %s", s.bucket, action, text)
	}
	switch {
	case answer.Code == minio.NoSuchKey:
		return &callError{objectstore.ErrNotExist, text}
	case slices.Contains(argumentFaults, answer.Code):
		return &callError{nil, text}
	default:
		return &callError{objectstore.ErrUnavailable, text}
	}
}

// said is what the server has answered.
func said(answer minio.ErrorResponse) string {
	return fmt.Sprintf("%s (%s, HTTP status %d)", answer.Error(), answer.Code, answer.StatusCode)
}

// silence tells of a call without an answer, in words that don't sound as if the
// caller had ended it.
func (s *Store) silence(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return s.endpoint + " did not answer in time"
	}
	return err.Error()
}

// argumentFaults are the answers to a key or an object that this server cannot
// keep, now or later: a key that is a folder of another one, or too long for its
// file system.
var argumentFaults = []string{
	"EntityTooLarge", "InvalidObjectName", "KeyTooLongError", "KeyTooLong",
	"XMinioInvalidObjectName", "XMinioParentIsObject", "XMinioObjectExistsAsDirectory", // MinIO
	"ObjectParentIsFile", "ExistingObjectIsDirectory", // versitygw
}

// isPassing tells whether another try right now may do better. Another answer to
// the same question about keys, buckets and rights is not to be expected, unless
// the keys are a role's, which has others.
func (s *Store) isPassing(err error) bool {
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return true
	}
	switch answer.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return answer.StatusCode >= http.StatusInternalServerError && answer.StatusCode != http.StatusNotImplemented ||
		slices.Contains(passingCodes, answer.Code) || s.role != nil && slices.Contains(keyFaults, answer.Code)
}

// keyFaults are the answers to keys that have ended or are not known.
var keyFaults = []string{
	"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidTokenId", "InvalidAccessKeyId",
}

// passingCodes come with a status that others would keep: damage on the way, or
// two callers at once, as when versitygw meets a folder that another call is
// just tidying away. A bucket that went missing is looked for again, and created
// where that is allowed.
var passingCodes = []string{
	"BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch",
	"OperationAborted", "SlowDown", "InternalError", minio.NoSuchBucket,
	"ExistingObjectIsDirectory", "ObjectParentIsFile",
}

func code(err error) string {
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return answer.Code
	}
	return ""
}

// status is the HTTP status of the server's answer, 0 when there was none.
func status(err error) int {
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return answer.StatusCode
	}
	return 0
}
