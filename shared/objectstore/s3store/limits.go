package s3store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"
)

// limits bound everything that waits. Fields, and not constants, so that the
// tests of stuck servers don't take as long as stuck servers do.
type limits struct {
	dial   time.Duration // to connect, and as long again for the TLS handshake
	header time.Duration // from the end of the request to the head of the answer
	stall  time.Duration // for one piece to be written or read
	call   time.Duration // one try of a call, less the time for its bytes
	whole  time.Duration // a Get, from the call to the end of its body

	tries  int
	window time.Duration // no try begins later than this after the first
	pause  time.Duration // mean wait before the second try; three times as long before the third
}

// standard lets an outage surface within ten seconds: the last try begins within
// two and waits eight.
var standard = limits{
	dial: 3 * time.Second, header: 8 * time.Second, stall: 8 * time.Second,
	call: 8 * time.Second, whole: 5 * time.Minute,
	tries: 3, window: 2 * time.Second, pause: 100 * time.Millisecond,
}

// slowestBytesPerSecond is the rate at which an upload is given up.
const slowestBytesPerSecond = 64 << 10

// maxConnections bounds the sockets of one store. It is wide, because a reader
// that takes its time over a body holds one.
const maxConnections = 512

func newTransport(l limits, roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: l.dial, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return conn{c, l.stall}, nil
		},
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    l.dial,
		ResponseHeaderTimeout:  l.header,
		IdleConnTimeout:        time.Minute,
		MaxIdleConns:           32,
		MaxIdleConnsPerHost:    32,
		MaxConnsPerHost:        maxConnections,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // an object's bytes are its own, however it is encoded
	}
}

// conn gives up a write that does not move. A context could not tell a slow
// upload from a dead one.
type conn struct {
	net.Conn
	stall time.Duration
}

func (c conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// do makes the tries of one call. The error it returns is the caller's.
func (s *Store) do(ctx context.Context, op, key string, budget time.Duration, call func(context.Context) error) error {
	begun := time.Now()
	pause := s.limits.pause
	for try := 1; ; try++ {
		err := s.role.blame(s.try(ctx, op, budget, call))
		s.denials.note(op, err)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return callFailed(op, key, ctx.Err())
		}
		wait := pause/2 + rand.N(pause) //nolint:gosec // jitter needs no secret
		if !s.isPassing(err) || try >= s.limits.tries || time.Since(begun)+wait > s.limits.window {
			return callFailed(op, key, s.class(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		pause *= 3
	}
}

// try makes one try: it sees that there is a bucket, and that an object
// said to be absent is absent from a bucket that exists.
func (s *Store) try(ctx context.Context, op string, budget time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if err := s.ensureBucket(ctx); err != nil {
		return err
	}
	err := call(ctx)
	switch code(err) {
	case "":
		return err
	case minio.NoSuchBucket:
		s.bucketSeen.Store(false)
	case minio.NoSuchKey:
		if missing := s.lookForBucket(ctx); missing != nil {
			return missing
		}
	}
	if slices.Contains(keyFaults, code(err)) {
		s.role.refused()
	}
	return &actionError{actions[op], err}
}
