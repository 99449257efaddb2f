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

// actions are the rights that calls need, as IAM policies name them.
var actions = map[string]string{
	"put": "s3:PutObject", "get": "s3:GetObject", "stat": "s3:GetObject",
	"delete": "s3:DeleteObject", "list": listBucket,
}

const (
	listBucket   = "s3:ListBucket" // to look for the bucket, too
	createBucket = "s3:CreateBucket"
)

// actionError is an error with the right that the failed request needs.
type actionError struct {
	action string
	error
}

func (e *actionError) Unwrap() error { return e.error }

// denied tells whether the server has refused a request for want of a right, and
// of which.
func denied(err error) (action string, ok bool) {
	if code(err) != minio.AccessDenied {
		return "", false
	}
	of, ok := errors.AsType[*actionError](err)
	if !ok {
		return "", false
	}
	return of.action, true
}

// denialStays is how long a refusal is told by Ready unless the right is seen to
// be there: longer than who is refused waits before the next try. It ends, since
// some ask for nothing until the store is ready.
const denialStays = 15 * time.Second

// denials are the rights that were found missing. Their zero value is ready.
type denials struct {
	mu   sync.Mutex // guards list
	list []denial
}

type denial struct {
	action, why string
	until       time.Time
}

// note keeps what a call has come to.
func (d *denials) note(op string, err error) {
	if err == nil {
		d.forget(actions[op])
	}
	action, refused := denied(err)
	if !refused {
		return // says nothing about rights
	}
	d.forget(action)
	d.mu.Lock()
	defer d.mu.Unlock()
	answer, _ := errors.AsType[minio.ErrorResponse](err)
	d.list = append(d.list, denial{action, said(answer), time.Now().Add(denialStays)})
}

// forget is told that the rights are there, or not needed any more.
func (d *denials) forget(actions ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = slices.DeleteFunc(d.list, func(old denial) bool { return slices.Contains(actions, old.action) })
}

// told is what is known to be refused now, else nil.
func (d *denials) told() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.list = slices.DeleteFunc(d.list, func(old denial) bool { return !now.Before(old.until) })
	var list []string
	for _, old := range d.list {
		list = append(list, fmt.Sprintf("does not allow %s to this access key: %s", old.action, old.why))
	}
	if list == nil {
		return nil
	}
	return errors.New(strings.Join(list, ", and "))
}
