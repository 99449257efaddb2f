package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// ownerKept is how long an owner is kept after its last renewal.
const ownerKept = time.Hour

// Reserve stores, under a lease with epoch 1, a job that is being received, before the first
// of its objects is stored. It returns job.ErrKeyTaken when another job that is being
// received or visible has the key; one of several concurrent reservations gets it. The key
// is free again when the reservation is released or the job is hidden.
func (s *Store) Reserve(ctx context.Context, id string, l job.Lease, k job.Key) (err error) {
	defer wrap(&err, "reserve job %s", id)
	if l.Epoch != 1 {
		return fmt.Errorf("lease has epoch %d, want 1", l.Epoch)
	}
	return s.write(ctx, func(ctx context.Context, x *session) error {
		n, err := x.exec(ctx, reserveJob, id, l.Owner, l.Epoch, micros(l.Until), k.Scope, k.Name)
		if err == nil && n == 0 {
			return job.ErrKeyTaken
		}
		return err
	})
}

// Release deletes the reservation of a job whose objects the owner has deleted. It returns
// job.ErrLeaseLost when another gateway holds it. A missing job is not an error.
func (s *Store) Release(ctx context.Context, id string, l job.Lease) (err error) {
	defer wrap(&err, "release job %s", id)
	return s.write(ctx, func(ctx context.Context, x *session) error {
		deleted, err := x.exec(ctx, releaseJob, id, l.Owner, l.Epoch)
		if err != nil || deleted > 0 {
			return err
		}
		var there int
		if err := x.one(ctx, countByID, id)(&there); err != nil {
			return err
		}
		if there > 0 {
			return job.ErrLeaseLost
		}
		return nil
	})
}

// Renew extends every lease of the owner to until.
func (s *Store) Renew(ctx context.Context, owner string, until time.Time) (err error) {
	defer wrap(&err, "renew the leases of %s", owner)
	return s.write(ctx, func(ctx context.Context, x *session) error {
		if _, err := x.exec(ctx, renewOwner, owner, micros(until)); err != nil {
			return err
		}
		// Leases that end later, as a clock that was set back leaves behind.
		_, err := x.exec(ctx, renewLeases, micros(until), owner, micros(until))
		return err
	})
}

// Claim leases to the owner up to limit jobs that are being received or have images to fetch
// and whose lease ended before now, and returns the complete jobs. Jobs that were never
// leased or whose lease ended first come first, then the oldest. A job that is being received
// has the status Receiving and no images. Jobs that an earlier call claimed but could not return
// come before all others.
func (s *Store) Claim(ctx context.Context, owner string, now, until time.Time, limit int) ([]*job.Job, error) {
	limit = max(limit, 0)
	var claimed []*row
	lost := s.lost.take(owner, limit)
	tried := lost
	err := s.write(ctx, func(ctx context.Context, x *session) (err error) {
		if claimed, err = x.held(ctx, lost); err != nil {
			return fmt.Errorf("read earlier claims: %w", err)
		}
		lapsed, err := x.lapsed(ctx, now, limit-len(claimed))
		if err != nil {
			return err
		}
		claims := []*statement{{query: dropOwners, args: []any{micros(now.Add(-ownerKept))}}}
		tried = slices.Clone(lost)
		for _, r := range lapsed {
			r.Lease = job.Lease{Owner: owner, Epoch: r.Lease.Epoch + 1, Until: fromMicros(micros(until))}
			claims = append(claims, &statement{query: claimJob, args: []any{owner, r.Lease.Epoch, micros(until), r.seq}})
			tried = append(tried, claim{owner, r.seq, r.Lease.Epoch})
		}
		if err := x.run(ctx, claims...); err != nil {
			return err
		}
		claimed = append(claimed, lapsed...)
		return x.images(ctx, claimed)
	})
	if err != nil {
		if errors.Is(err, job.ErrUnavailable) {
			lost = tried
		}
		s.lost.add(lost)
		return nil, fmt.Errorf("claim jobs for %s: %w", owner, err)
	}
	return jobs(claimed), nil
}

// lapsed locks the jobs whose lease has ended, one owner after the other.
func (x *session) lapsed(ctx context.Context, now time.Time, limit int) ([]*row, error) {
	var owners []string
	name := func(scan scanner) (name string, err error) {
		err = scan(&name)
		return name, err
	}
	if err := x.run(ctx, into(&owners, name, lapsedOwners, micros(now))); err != nil {
		return nil, fmt.Errorf("list owners of lapsed leases: %w", err)
	}
	var all []*row
	queries := make([]*statement, len(owners))
	for i, owner := range owners {
		queries[i] = into(&all, readJob, lapsedJobs, owner, micros(now), limit)
	}
	if err := x.run(ctx, queries...); err != nil {
		return nil, fmt.Errorf("list lapsed leases: %w", err)
	}
	// An owner may have renewed between the two queries.
	all = slices.DeleteFunc(all, func(r *row) bool { return micros(r.Lease.Until) >= micros(now) })
	slices.SortFunc(all, func(a, b *row) int {
		return cmp.Or(a.Lease.Until.Compare(b.Lease.Until), cmp.Compare(a.seq, b.seq))
	})
	return all[:min(len(all), limit)], nil
}

// held locks the jobs of those claims that were made and are still valid.
func (x *session) held(ctx context.Context, claims []claim) (list []*row, err error) {
	queries := make([]*statement, len(claims))
	for i, c := range claims {
		queries[i] = into(&list, readJob, lockLease, c.seq, c.owner, c.epoch)
	}
	err = x.run(ctx, queries...)
	return list, err
}

// images reads the images of the jobs, in order.
func (x *session) images(ctx context.Context, list []*row) error {
	if len(list) == 0 {
		return nil
	}
	seqs, bySeq := make([]int64, len(list)), make(map[int64]*row, len(list))
	for i, r := range list {
		seqs[i], bySeq[r.seq] = r.seq, r
	}
	err := x.run(ctx, &statement{query: selectImagesOf, args: []any{seqs}, row: func(scan scanner) error {
		var seq int64
		img, err := readImageAfter(scan, &seq)
		if r := bySeq[seq]; err == nil {
			r.Images = append(r.Images, img)
		}
		return err
	}})
	if err != nil {
		return fmt.Errorf("read images: %w", err)
	}
	return nil
}

func jobs(list []*row) []*job.Job {
	all := make([]*job.Job, len(list))
	for i, r := range list {
		all[i] = &r.Job
	}
	return all
}

// claim is a lease that a call of Claim tried to take.
type claim struct {
	owner      string
	seq, epoch int64
}

// lostClaims are claims that may have been made although Claim returned an error. The next
// Claim of the same owner checks them.
type lostClaims struct {
	mu   sync.Mutex // guards list
	list []claim
}

// take removes and returns up to limit claims of the owner.
func (l *lostClaims) take(owner string, limit int) (taken []claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(c claim) bool {
		if c.owner != owner || len(taken) == limit {
			return false
		}
		taken = append(taken, c)
		return true
	})
	return taken
}

func (l *lostClaims) add(claims []claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, claims...)
}
