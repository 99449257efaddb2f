package s3store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Role specifies whose keys a Store signs with when the Config has none. minio-go reads
// the rest from the environment of the process: the AWS_ variables that EKS and ECS set
// (see its credentials.IAM). It does not read AWS_ACCESS_KEY_ID or a profile file.
type Role struct {
	Kind string // the role's name in errors: "the web identity"; empty: "the role"

	// Endpoint replaces Amazon's endpoint: of STS for a web identity, otherwise of the
	// metadata of the instance. It must be empty for the role of a container.
	Endpoint string
}

const (
	defaultLife = time.Hour   // how long keys without an expiration are used
	renewPause  = time.Minute // the longest pause after a failed renewal, while the old keys are valid
)

// role is minio-go's credentials.IAM with two additional guarantees: a request for keys
// has a deadline, and keys are used until they expire if they cannot be renewed. IAM
// stops using them after four fifths of their lifetime.
type role struct {
	kind   string
	source credentials.IAM
	bound  time.Duration // deadline of one retrieval; calls that start in the meantime wait for it

	mu        sync.Mutex // guards the fields below
	keys      credentials.Value
	retrieved time.Time // when the keys were retrieved
	renew     time.Time // when to retrieve new keys
}

var _ credentials.Provider = (*role)(nil)

// roleError describes why there are no keys.
type roleError struct{ text string }

func (e *roleError) Error() string { return e.text }

// RetrieveWithCredContext returns new keys, or the old keys while they are valid.
func (r *role) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cc.Context), r.bound) // the keys are for all callers
	defer cancel()
	keys, err := r.source.RetrieveWithCredContext(&credentials.CredContext{Client: cc.Client, Context: ctx})
	if err == nil && (keys.AccessKeyID == "" || keys.SecretAccessKey == "") {
		err = errors.New("the response has none")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if left := r.keys.Expiration.Sub(now); err != nil && left > 0 {
		r.renew = now.Add(min(left/5, renewPause))
		return r.keys, nil
	} else if err != nil {
		return credentials.Value{}, r.failure(err)
	}
	if keys.Expiration.IsZero() {
		keys.Expiration = now.Add(defaultLife)
	}
	r.keys, r.retrieved, r.renew = keys, now, now.Add(keys.Expiration.Sub(now)*4/5)
	return keys, nil
}

// Retrieve is part of minio-go's older interface, which it no longer calls.
func (*role) Retrieve() (credentials.Value, error) { return credentials.Value{}, errors.ErrUnsupported }

// IsExpired reports whether it is time to retrieve new keys.
func (r *role) IsExpired() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !time.Now().Before(r.renew)
}

// blame returns the error of a call. If the call ended while it waited for keys, the
// error names the role.
func (r *role) blame(err error) error {
	if r == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.keys.Expiration) {
		return err
	}
	return r.failure(err)
}

func (r *role) failure(err error) error {
	reason := err.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		reason = "it did not respond in time"
	} else if response, ok := errors.AsType[credentials.ErrorResponse](err); ok {
		reason = fmt.Sprintf("%s (%s)", response.Error(), response.STSError.Code)
	}
	return &roleError{fmt.Sprintf("no access key is configured, and %s provides none: %s", r.kind, reason)}
}

// discardKeys discards rejected keys, unless they have just been retrieved: then not
// all servers know them yet.
func (r *role) discardKeys() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.retrieved) > time.Second {
		r.keys.Expiration, r.renew = now, now
	}
}
