package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// ownerKept is how long an owner that has stopped renewing is remembered.
const ownerKept = time.Hour

// Reserve stores a job that is being received.
func (s *Store) Reserve(ctx context.Context, id string, l job.Lease, k job.Key) error {
	if l.Epoch != 1 {
		return fmt.Errorf("reserve job %s: the lease has epoch %d and not 1", id, l.Epoch)
	}
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		n, err := x.exec(ctx, reserveJob, text(id), text(l.Owner), l.Epoch, micros(l.Until), text(k.Scope), text(k.Name))
		if err == nil && n == 0 {
			return job.ErrKeyTaken
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reserve job %s: %w", id, err)
	}
	return nil
}

// Release forgets a reserved job.
func (s *Store) Release(ctx context.Context, id string, l job.Lease) error {
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		deleted, err := x.exec(ctx, releaseJob, text(id), text(l.Owner), l.Epoch)
		if err != nil || deleted > 0 {
			return err
		}
		var there bool
		if err := x.one(ctx, jobExists, text(id))(&there); err != nil {
			return err
		}
		if there {
			return job.ErrLeaseLost
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("release job %s: %w", id, err)
	}
	return nil
}

// Renew moves the end of every lease of the owner.
func (s *Store) Renew(ctx context.Context, owner string, until time.Time) error {
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		if _, err := x.exec(ctx, renewOwner, text(owner), micros(until)); err != nil {
			return err
		}
		// Leases that end later, which a clock that was set back leaves behind.
		_, err := x.exec(ctx, renewLeases, text(owner), micros(until))
		return err
	})
	if err != nil {
		return fmt.Errorf("renew the leases of %s: %w", owner, err)
	}
	return nil
}

// Claim gives the owner the leases of jobs whose lease has ended, and those that
// an earlier call has given it without being able to say so.
func (s *Store) Claim(ctx context.Context, owner string, at, until time.Time, limit int) ([]*job.Job, error) {
	limit = max(limit, 0)
	var claimed []*row
	var doubtful []claim
	err := s.write(ctx, func(ctx context.Context, x *session) (err error) {
		doubtful = s.doubts.claimedBy(owner)
		doubtful = doubtful[:min(len(doubtful), limit)]
		if claimed, err = x.held(ctx, owner, doubtful); err != nil {
			return fmt.Errorf("read what was claimed before: %w", err)
		}
		rows, err := x.all(ctx, lapsedJobs, micros(at), limit-len(claimed))
		lapsed, err := collect(rows, err, readJob)
		if err != nil {
			return fmt.Errorf("list lapsed leases: %w", err)
		}
		if _, err := x.exec(ctx, dropOwners, micros(at.Add(-ownerKept))); err != nil {
			return fmt.Errorf("drop owners: %w", err)
		}
		if len(lapsed) > 0 {
			if _, err := x.exec(ctx, claimJobs, text(owner), micros(until), seqs(lapsed)); err != nil {
				return err
			}
		}
		for _, r := range lapsed {
			r.Lease = job.Lease{Owner: owner, Epoch: r.Lease.Epoch + 1, Until: fromMicros(micros(until))}
			x.claimed.jobs = append(x.claimed.jobs, claim{r.seq, r.Lease.Epoch})
		}
		x.claimed.owner = owner
		claimed = append(claimed, lapsed...)
		return x.images(ctx, claimed)
	})
	if err != nil {
		return nil, fmt.Errorf("claim jobs for %s: %w", owner, err)
	}
	s.doubts.forget(owner, doubtful)
	return jobs(claimed), nil
}

// held reads those of the claims that were made and still hold.
func (x *session) held(ctx context.Context, owner string, list []claim) ([]*row, error) {
	if len(list) == 0 {
		return nil, nil
	}
	all := make([]int64, len(list))
	for i, c := range list {
		all[i] = c.seq
	}
	rows, err := x.all(ctx, heldJobs, all, text(owner))
	found, err := collect(rows, err, readJob)
	return slices.DeleteFunc(found, func(r *row) bool { return !slices.Contains(list, claim{r.seq, r.Lease.Epoch}) }), err
}

// images reads the images of the jobs in order.
func (x *session) images(ctx context.Context, list []*row) error {
	if len(list) == 0 {
		return nil
	}
	bySeq := make(map[int64]*row, len(list))
	for _, r := range list {
		bySeq[r.seq] = r
	}
	rows, err := x.all(ctx, selectImages, seqs(list))
	if err != nil {
		return fmt.Errorf("read images: %w", err)
	}
	var seq int64
	_, err = pgx.CollectRows(rows, func(scan pgx.CollectableRow) (struct{}, error) {
		img, err := readImage(scan.Scan, &seq)
		if r := bySeq[seq]; err == nil && r != nil {
			r.Images = append(r.Images, img)
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("read images: %w", err)
	}
	return nil
}

func seqs(list []*row) []int64 {
	all := make([]int64, len(list))
	for i, r := range list {
		all[i] = r.seq
	}
	return all
}

func jobs(list []*row) []*job.Job {
	all := make([]*job.Job, len(list))
	for i, r := range list {
		all[i] = &r.Job
	}
	return all
}
