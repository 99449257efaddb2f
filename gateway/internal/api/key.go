package api

import (
	"context"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// keyHeader names a request, so that a client that has lost the answer can send it
// again without making a second job.
const keyHeader = "Idempotency-Key"

// maxKeyBytes is the most that a key may have.
const maxKeyBytes = 255

// Answers about keys.
var (
	errKeyReused = refuse(http.StatusUnprocessableEntity, keyHeader+" was used with a different request")
	// errReceiving is job.ErrKeyTaken to the client.
	errReceiving = &refusal{
		status: http.StatusConflict, text: "A request with this " + keyHeader + " is still being received",
		header: http.Header{"Retry-After": {"1"}},
	}
)

// keyOf reads the request's key, which is zero when it has none. Each caller has
// keys of its own.
func keyOf(by caller, r *http.Request) (job.Key, error) {
	values := r.Header.Values(keyHeader)
	if len(values) == 0 {
		return job.Key{}, nil
	}
	name := values[0]
	sound := len(values) == 1 && name != "" && len(name) <= maxKeyBytes
	for i := range len(name) {
		sound = sound && name[i] >= ' ' && name[i] <= '~'
	}
	if !sound {
		return job.Key{}, refuse(http.StatusBadRequest, keyHeader+" must be one value of 1 to 255 printable ASCII characters")
	}
	return job.Key{Scope: by.name(), Name: name}, nil
}

// known returns the job that a request with this key has made before, or nil when
// there is none. The fingerprint of the request that comes now is asked for only
// when there is one to compare it with.
func (s *Server) known(ctx context.Context, key job.Key, fingerprint func() (string, error)) (*job.Job, error) {
	if key.Name == "" {
		return nil, nil
	}
	j, err := s.deps.Jobs.Keyed(ctx, key)
	switch {
	case errors.Is(err, job.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case j.Status == job.Receiving:
		return nil, errReceiving
	}
	now, err := fingerprint()
	if err != nil {
		return nil, err
	}
	if now != j.Fingerprint {
		return nil, errKeyReused
	}
	return j, nil
}

// signed takes the fingerprint of a request while it is read: the SHA-256 of the
// body as it came.
type signed struct {
	r    io.Reader
	sum  hash.Hash
	idle bool // the request has no key: its fingerprint is empty and costs nothing
}

func (s *signed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if !s.idle {
		s.sum.Write(p[:n])
	}
	return n, err
}

// fingerprint is that of what was read, which is all of a request when its last
// image was.
func (s *signed) fingerprint() string {
	if s.idle {
		return ""
	}
	return hex.EncodeToString(s.sum.Sum(nil))
}

// whole reads to the end and returns the fingerprint.
func (s *signed) whole() (string, error) {
	if _, err := io.Copy(io.Discard, s); err != nil {
		return "", err
	}
	return s.fingerprint(), nil
}
