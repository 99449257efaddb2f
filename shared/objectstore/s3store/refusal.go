package s3store

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

// actions are the permissions that calls need, as named in IAM policies.
var actions = map[string]string{
	"put": putObject, "get": getObject, "stat": getObject, "delete": deleteObject, "list": listBucket,
}

const (
	putObject    = "s3:PutObject"
	getObject    = "s3:GetObject"
	deleteObject = "s3:DeleteObject"
	listBucket   = "s3:ListBucket" // also needed to check for the bucket
	createBucket = "s3:CreateBucket"
)

// purposes state what a server refuses if it refuses the requests of an action.
var purposes = map[string]string{
	putObject: "store objects", getObject: "return objects", deleteObject: "delete objects",
	listBucket: "list objects", createBucket: "be created",
}

// actionError is an error with the permission that the failed request needs.
type actionError struct {
	action string
	error
}

func (e *actionError) Unwrap() error { return e.error }

// bucketError is an error of the check for the bucket, which Ready repeats.
type bucketError struct{ error }

func (e *bucketError) Unwrap() error { return e.error }

// refusalError describes the current refusals, without the bucket.
type refusalError struct{ text string }

func (e *refusalError) Error() string { return e.text }

// denied reports whether the server has denied a request for lack of a permission, and
// which one.
func denied(err error) (action string, ok bool) {
	if code(err) != minio.AccessDenied {
		return "", false
	}
	failed, ok := errors.AsType[*actionError](err)
	if !ok {
		return "", false
	}
	return failed.action, true
}

// refused describes the refusal of a request. An error is no refusal if it is an outage,
// a missing object or an invalid argument.
func (s *Store) refused(err error) (_ refusal, ok bool) {
	failed, ok := errors.AsType[*actionError](err)
	if !ok || status(err) == 0 || s.isTransient(err) || code(err) == minio.NoSuchKey || slices.Contains(argumentErrors, code(err)) {
		return refusal{}, false
	}
	response, _ := errors.AsType[minio.ErrorResponse](err)
	_, isCheck := errors.AsType[*bucketError](err)
	r := refusal{action: failed.action, denied: response.Code == minio.AccessDenied}
	what := "refuses to " + purposes[r.action]
	switch {
	case r.denied:
		what = "does not allow " + r.action + " to this access key"
	case isCheck:
		what = "cannot be used"
	}
	r.text = what + ": " + describe(response)
	return r, true
}

// refusalTTL is how long Ready reports a refusal unless a request of the same kind
// succeeds. It is longer than a refused caller waits before its next try. It must end,
// because some callers make no request until the store is ready.
const refusalTTL = 15 * time.Second

// refusals are the requests that the server has recently refused. The zero value is ready
// to use.
type refusals struct {
	mu   sync.Mutex // guards list
	list []refusal
}

type refusal struct {
	action string // the permission that the request needs
	text   string // for an operator, without the bucket
	denied bool   // for lack of the permission
	until  time.Time
}

// note records the result of a call.
func (s *Store) note(op string, err error) {
	if err == nil {
		s.refusals.accepted(actions[op])
		s.prober.heard(actions[op], true)
		return
	}
	_, isCheck := errors.AsType[*bucketError](err)
	if latest, ok := s.refused(err); ok && !isCheck {
		s.refusals.add(latest)
		s.prober.heard(latest.action, false)
	}
}

// add records a refusal instead of an earlier one of the same action.
func (r *refusals) add(latest refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	latest.until = time.Now().Add(refusalTTL)
	r.list = slices.DeleteFunc(r.list, func(old refusal) bool { return old.action == latest.action })
	r.list = append(r.list, latest)
}

// accepted removes the refusal of requests that the server has just accepted.
func (r *refusals) accepted(action string) {
	r.forget(func(old refusal) bool { return old.action == action })
}

// granted removes denials of permissions that exist or are no longer needed.
func (r *refusals) granted(actions ...string) {
	r.forget(func(old refusal) bool { return old.denied && slices.Contains(actions, old.action) })
}

func (r *refusals) forget(is func(refusal) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = slices.DeleteFunc(r.list, is)
}

// current returns an error with the current refusals, or nil.
func (r *refusals) current() error {
	now := time.Now()
	r.forget(func(old refusal) bool { return !now.Before(old.until) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		return nil
	}
	texts := make([]string, len(r.list))
	for i, old := range r.list {
		texts[i] = old.text
	}
	return &refusalError{strings.Join(texts, ", and ")}
}
