package s3store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Probe specifies the object that Ready puts and deletes to find out whether the server
// accepts objects: the bucket may be there, and still refuse every one of them.
//
// Ready probes until a put and a delete have succeeded once, its own or those of a call,
// and again some time after the server has refused one. It does not probe regularly,
// because in a bucket with versions, each probe leaves one.
type Probe struct {
	Name string // names the service, and the object below ProbeFolder; empty: Ready writes nothing

	// Below is the prefix below which ProbeFolder is, for a service that puts objects only there, such as
	// "captions/"; empty: none.
	Below string

	// Stays specifies that nothing else needs the permission to delete. If the server
	// refuses to delete the probe, it stays, and the store is ready.
	Stays bool
}

// ProbeFolder contains the probes. No image is in it.
const ProbeFolder = ".imagebatch-probe"

func (p Probe) key() string { return p.Below + ProbeFolder + "/" + p.Name }

// probeBytes are the content of the probe.
const probeBytes = "Imagebatch writes this object to check whether the bucket accepts objects.\n"

// probeType is its content type.
const probeType = "text/plain"

// probePause is how long Ready does not probe after a probe that contradicts a refusal:
// the refusal was not about all objects, and probes leave versions.
const probePause = 5 * time.Minute

// prober decides what Ready probes.
type prober struct {
	Probe
	turn chan struct{} // has an element while a probe runs

	mu          sync.Mutex // guards the fields below
	put, remove doubt
	left        bool // the probe may be in the bucket
}

// doubt is the state of one kind of request.
type doubt struct {
	open    bool      // whether it is unknown if the server accepts the request
	refused bool      // the last one of a call was refused
	quiet   time.Time // when to probe again at the earliest
}

func newProber(p Probe) *prober {
	probes := p.Name != ""
	return &prober{Probe: p, turn: make(chan struct{}, 1), put: doubt{open: probes}, remove: doubt{open: probes && !p.Stays}}
}

// of returns the state of the requests that need the permission, or nil.
func (p *prober) of(action string) *doubt {
	switch {
	case p.Name == "":
	case action == putObject:
		return &p.put
	case action == deleteObject:
		return &p.remove
	}
	return nil
}

// heard records whether the server has accepted or refused the request of a call.
func (p *prober) heard(action string, accepted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.of(action); d != nil {
		d.open, d.refused = !accepted, !accepted
	}
}

// probing records that the probe is being put.
func (p *prober) probing() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
}

// probed records that a probe has been answered. There is nothing more to find out, even if
// a delete was refused.
func (p *prober) probed(action string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.of(action)
	if d.refused {
		d.quiet = time.Now().Add(probePause)
	}
	d.open, d.refused = false, false
	if action == deleteObject {
		p.left = false
	}
}

// due reports whether to probe with the request that needs the permission.
func (p *prober) due(action string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.of(action)
	if d == nil {
		return false
	}
	return d.open && !time.Now().Before(d.quiet) || p.left && action == deleteObject
}

// probe puts and deletes the probe, as far as it is in doubt that the server accepts that.
// It makes one try. Concurrent calls wait for each other.
func (s *Store) probe(ctx context.Context) error {
	if !s.prober.due(putObject) && !s.prober.due(deleteObject) {
		return nil
	}
	select {
	case s.prober.turn <- struct{}{}:
		defer func() { <-s.prober.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for another probe: %w", ctx.Err())
	}
	if s.prober.due(putObject) {
		s.prober.probing()
		if err := s.probeWith(ctx, "put", func(ctx context.Context) error {
			return s.putOnce(ctx, s.prober.key(), objectstore.Content{Data: []byte(probeBytes), Type: probeType}, minio.PutObjectOptions{})
		}); err != nil {
			return err
		}
	}
	if !s.prober.due(deleteObject) {
		return nil
	}
	err := s.probeWith(ctx, "delete", func(ctx context.Context) error { return s.deleteOnce(ctx, s.prober.key()) })
	if _, ok := errors.AsType[*refusalError](err); ok && s.prober.Stays {
		s.refusals.accepted(deleteObject)
		s.prober.probed(deleteObject)
		return nil
	}
	return err
}

// probeWith makes one request of a probe and records the answer. A refusal is a
// refusalError.
func (s *Store) probeWith(ctx context.Context, op string, request func(context.Context) error) error {
	err := s.role.blame(s.try(ctx, op, s.limits.call, request))
	if code(err) == minio.NoSuchKey && op == "delete" {
		err = nil // some servers say so
	}
	if err == nil {
		s.refusals.accepted(actions[op])
		s.prober.probed(actions[op])
		return nil
	}
	latest, ok := s.refused(err)
	if _, isCheck := errors.AsType[*bucketError](err); !ok || isCheck {
		return err
	}
	s.refusals.add(latest)
	return &refusalError{latest.text}
}
