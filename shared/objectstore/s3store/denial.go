package s3store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

// actions are the permissions that calls need, as named in IAM policies.
var actions = map[string]string{
	"put": "s3:PutObject", "get": "s3:GetObject", "stat": "s3:GetObject",
	"delete": "s3:DeleteObject", "list": listBucket,
}

const (
	listBucket   = "s3:ListBucket" // also needed to check for the bucket
	createBucket = "s3:CreateBucket"
)

// actionError is an error with the permission that the failed request needs.
type actionError struct {
	action string
	error
}

func (e *actionError) Unwrap() error { return e.error }

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

// denialTTL is how long Ready reports a denial unless the permission is proven to
// exist. It is longer than a denied caller waits before its next try. It must end,
// because some callers make no request until the store is ready.
const denialTTL = 15 * time.Second

// denials are the permissions that were recently denied. The zero value is ready to
// use.
type denials struct {
	mu   sync.Mutex // guards list
	list []denial
}

type denial struct {
	action, reason string
	until          time.Time
}

// note records the result of a call.
func (d *denials) note(op string, err error) {
	if err == nil {
		d.forget(actions[op])
	}
	action, refused := denied(err)
	if !refused {
		return // says nothing about permissions
	}
	d.forget(action)
	d.mu.Lock()
	defer d.mu.Unlock()
	response, _ := errors.AsType[minio.ErrorResponse](err)
	d.list = append(d.list, denial{action, describe(response), time.Now().Add(denialTTL)})
}

// forget removes permissions that exist or are no longer needed.
func (d *denials) forget(actions ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = slices.DeleteFunc(d.list, func(old denial) bool { return slices.Contains(actions, old.action) })
}

// current returns an error with the current denials, or nil.
func (d *denials) current() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.list = slices.DeleteFunc(d.list, func(old denial) bool { return !now.Before(old.until) })
	var list []string
	for _, old := range d.list {
		list = append(list, fmt.Sprintf("does not allow %s to this access key: %s", old.action, old.reason))
	}
	if list == nil {
		return nil
	}
	return errors.New(strings.Join(list, ", and "))
}
