package s3store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Role specifies whose keys a Store signs with when the Config has none. minio-go
// reads the rest from the environment of the process: the AWS_ variables that EKS
// and ECS set (see its credentials.IAM). It reads no AWS_ACCESS_KEY_ID and no file
// of profiles.
type Role struct {
	Kind string // the role's name in errors: "the web identity"; empty: "the role"

	// Endpoint replaces Amazon's own: that of STS for a web identity, without one
	// that of the metadata of the instance. It must be empty for the role of a container.
	Endpoint string
}

const (
	unending   = time.Hour   // how long keys without an expiration are used
	renewPause = time.Minute // the longest pause after a failed renewal, while the old keys are good
)

// role is minio-go's credentials.IAM with two promises that IAM does not keep: a
// request for keys has a deadline, and keys are used to their end when they cannot
// be renewed. IAM stops using them after four fifths of their life.
type role struct {
	kind   string
	source credentials.IAM
	bound  time.Duration // deadline of one retrieval; calls that start meanwhile wait for it

	mu    sync.Mutex // guards the fields below
	keys  credentials.Value
	came  time.Time // when keys were retrieved
	renew time.Time // when to retrieve others
}

var _ credentials.Provider = (*role)(nil)

// roleError says why there are no keys.
type roleError struct{ text string }

func (e *roleError) Error() string { return e.text }

// RetrieveWithCredContext returns new keys, or the old ones while they are good.
func (r *role) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cc.Context), r.bound) // the keys are not for this caller alone
	defer cancel()
	keys, err := r.source.RetrieveWithCredContext(&credentials.CredContext{Client: cc.Client, Context: ctx})
	if err == nil && (keys.AccessKeyID == "" || keys.SecretAccessKey == "") {
		err = errors.New("there is none in the answer")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if left := r.keys.Expiration.Sub(now); err != nil && left > 0 {
		r.renew = now.Add(min(left/5, renewPause))
		return r.keys, nil
	} else if err != nil {
		return credentials.Value{}, r.fails(err)
	}
	if keys.Expiration.IsZero() {
		keys.Expiration = now.Add(unending)
	}
	r.keys, r.came, r.renew = keys, now, now.Add(keys.Expiration.Sub(now)*4/5)
	return keys, nil
}

// Retrieve is part of minio-go's older interface, which it no longer calls.
func (*role) Retrieve() (credentials.Value, error) { return credentials.Value{}, errors.ErrUnsupported }

// IsExpired reports whether it is time to retrieve other keys.
func (r *role) IsExpired() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !time.Now().Before(r.renew)
}

// blame returns the error of a call, in the role's name if the call ended while it
// waited for keys.
func (r *role) blame(err error) error {
	if r == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.keys.Expiration) {
		return err
	}
	return r.fails(err)
}

func (r *role) fails(err error) error {
	why := err.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		why = "it did not answer in time"
	} else if answer, ok := errors.AsType[credentials.ErrorResponse](err); ok {
		why = fmt.Sprintf("%s (%s)", answer.Error(), answer.STSError.Code)
	}
	return &roleError{fmt.Sprintf("no access key is configured, and %s gives none: %s", r.kind, why)}
}

// refused discards the keys, unless they have only just been retrieved: then the
// servers do not all know them yet.
func (r *role) refused() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.came) > time.Second {
		r.keys.Expiration, r.renew = now, now
	}
}
