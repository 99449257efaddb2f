package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Role tells whose keys a Store signs with that was given none. minio-go reads the
// rest by itself, from the environment of the process: the AWS_ variables that EKS
// and ECS set (see its credentials.IAM). It reads no AWS_ACCESS_KEY_ID and no file
// of profiles.
type Role struct {
	Kind string // for who reads an error: "the web identity"; empty: "the role"

	// Endpoint is asked instead of Amazon's own: STS for a web identity, without one
	// the metadata of the instance. It is to be empty for the role of a container.
	Endpoint string
}

// unending is how long keys are believed that come without an end.
const unending = time.Hour

// renewPause is how long a renewal that failed is put off while the old keys do.
const renewPause = time.Minute

// role keeps keys that expire. minio-go would ask for them with no deadline while
// every other call waits, and would not use the old ones any more once four fifths
// of their time are over. So the keys are here before it is asked to sign: renewed
// by one caller while the others go on with the old ones, which stand until they
// end.
type role struct {
	kind   string
	source *credentials.IAM
	client *http.Client
	bound  time.Duration // of one question
	turn   chan struct{} // holds the token of the caller that asks

	mu     sync.Mutex // guards what follows
	keys   credentials.Value
	came   time.Time // when they did
	renew  time.Time // when to ask again
	served bool      // minio-go has them
}

var _ credentials.Provider = (*role)(nil)

// roleError says why there are no keys.
type roleError struct{ text string }

func (e *roleError) Error() string { return e.text }

func newRole(r Role, transport *http.Transport, l limits) *role {
	kind := r.Kind
	if kind == "" {
		kind = "the role"
	}
	return &role{
		kind: kind, source: &credentials.IAM{Endpoint: r.Endpoint}, bound: l.call, turn: make(chan struct{}, 1),
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// provide sees to it that there are keys to sign with; see [role]. On a nil role
// there always are.
func (r *role) provide(ctx context.Context) error {
	if r == nil {
		return nil
	}
	switch good, due := r.state(); {
	case !due:
		return nil
	case good:
		select {
		case r.turn <- struct{}{}:
		default:
			return nil // somebody else is at it
		}
	default:
		select {
		case r.turn <- struct{}{}:
		case <-ctx.Done():
			return r.fails(ctx.Err())
		}
	}
	defer func() { <-r.turn }()
	if _, due := r.state(); !due {
		return nil
	}
	err := r.ask(ctx)
	if good, _ := r.state(); good {
		return nil
	}
	return err
}

// state says whether there are keys that have not ended, and whether it is time to
// ask for others.
func (r *role) state() (good, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	return now.Before(r.keys.Expiration), !now.Before(r.renew)
}

// ask gets other keys. The caller has the turn.
func (r *role) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.bound)
	defer cancel()
	keys, err := r.source.RetrieveWithCredContext(&credentials.CredContext{Client: r.client, Context: ctx})
	if err == nil && (keys.AccessKeyID == "" || keys.SecretAccessKey == "") {
		err = errors.New("there is none in the answer")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if err != nil {
		if left := r.keys.Expiration.Sub(now); left > 0 {
			r.renew = now.Add(min(left/5, renewPause))
		}
		return r.fails(err)
	}
	if keys.Expiration.IsZero() {
		keys.Expiration = now.Add(unending)
	}
	r.keys, r.came, r.served = keys, now, false
	r.renew = now.Add(keys.Expiration.Sub(now) * 4 / 5)
	return nil
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

// refused has the keys replaced, unless they have only just come: then they are
// not known everywhere yet.
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

// IsExpired tells minio-go that there are other keys than those it has.
func (r *role) IsExpired() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.served
}

// RetrieveWithCredContext gives minio-go the keys that are here, and asks nobody.
func (r *role) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.served = true
	return r.keys, nil
}

// Retrieve is the same, as minio-go's older interface has it.
func (r *role) Retrieve() (credentials.Value, error) { return r.RetrieveWithCredContext(nil) }
