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

// limits bound all waiting. They are fields, not constants, so that tests of
// unresponsive servers are fast.
type limits struct {
	dial   time.Duration // connecting; the TLS handshake may take as long again
	header time.Duration // from the end of the request to the header of the response
	stall  time.Duration // one write or read
	call   time.Duration // one try of a call, without the time for its data
	whole  time.Duration // a Get, from the call to the end of its body

	tries  int
	window time.Duration // latest start of a try after the first
	pause  time.Duration // mean wait before the second try; three times as long before the third
}

// standard reports an outage within ten seconds: the last try starts within two seconds
// and waits eight.
var standard = limits{
	dial: 3 * time.Second, header: 8 * time.Second, stall: 8 * time.Second,
	call: 8 * time.Second, whole: 5 * time.Minute,
	tries: 3, window: 2 * time.Second, pause: 100 * time.Millisecond,
}

// slowestBytesPerSecond is the rate below which an upload is aborted.
const slowestBytesPerSecond = 64 << 10

// maxConnections limits the sockets of one store. It is high, because a slow reader of
// a body occupies one.
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
		DisableCompression:     true, // return objects as stored, whatever their encoding
	}
}

// conn aborts a write that makes no progress. A context cannot distinguish a slow
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

// do makes the tries of one call. It returns an error for the caller.
func (s *Store) do(ctx context.Context, op, key string, budget time.Duration, call func(context.Context) error) error {
	start := time.Now()
	pause := s.limits.pause
	for try := 1; ; try++ {
		err := s.role.blame(s.try(ctx, op, budget, call))
		s.note(op, err)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return callFailed(op, key, ctx.Err())
		}
		wait := pause/2 + rand.N(pause) //nolint:gosec // jitter needs no cryptographic randomness
		if !s.isTransient(err) || try >= s.limits.tries || time.Since(start)+wait > s.limits.window {
			return callFailed(op, key, s.classify(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		pause *= 3
	}
}

// try makes one try. It ensures that the bucket exists, and that an object is reported
// as missing only from an existing bucket.
func (s *Store) try(ctx context.Context, op string, budget time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if err := s.ensureBucket(ctx); err != nil {
		return &bucketError{err}
	}
	err := call(ctx)
	switch code(err) {
	case "":
		return err
	case minio.NoSuchBucket:
		s.bucketSeen.Store(false)
	case minio.NoSuchKey:
		if missing := s.checkBucket(ctx); missing != nil {
			return &bucketError{missing}
		}
	}
	if slices.Contains(keyErrors, code(err)) {
		s.role.discardKeys()
	}
	return &actionError{actions[op], err}
}
