package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// endLeases ends every lease: the gateways that held them have gone with the
// lock of the file.
func endLeases(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // Without effect after the commit.
	for _, query := range openQueries {
		if _, err := tx.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// own notes the owner of a lease that is about to be stored, so that Claim knows
// whose leases to look at.
func (x *session) own(ctx context.Context, l job.Lease) error {
	_, err := x.exec(ctx, addOwner, l.Owner)
	return err
}

// Reserve stores a job that is being received.
func (s *Store) Reserve(ctx context.Context, id string, l job.Lease, k job.Key) error {
	if l.Epoch != 1 {
		return fmt.Errorf("reserve job %s: the lease has epoch %d and not 1", id, l.Epoch)
	}
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		if err := x.own(ctx, l); err != nil {
			return err
		}
		if k.Name != "" {
			switch _, err := readJob(x.one(ctx, selectKeyed, k.Scope, k.Name)); {
			case err == nil:
				return job.ErrKeyTaken
			case !errors.Is(err, sql.ErrNoRows):
				return fmt.Errorf("look for the key: %w", err)
			}
		}
		_, err := x.exec(ctx, reserveJob, id, l.Owner, l.Epoch, micros(l.Until), k.Scope, k.Name)
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
		deleted, err := x.exec(ctx, releaseJob, id, l.Owner, l.Epoch)
		if err != nil || deleted > 0 {
			return err
		}
		var there int
		if err := x.one(ctx, selectExists, id)(&there); err != nil {
			return err
		}
		if there > 0 {
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
		if _, err := x.exec(ctx, renewOwner, owner, micros(until)); err != nil {
			return err
		}
		// Leases that end later, which a clock that was set back leaves behind.
		_, err := x.exec(ctx, renewLeases, micros(until), owner, micros(until))
		return err
	})
	if err != nil {
		return fmt.Errorf("renew the leases of %s: %w", owner, err)
	}
	return nil
}

// Claim gives the owner the leases of jobs whose lease has ended.
func (s *Store) Claim(ctx context.Context, owner string, now, until time.Time, limit int) ([]*job.Job, error) {
	var claimed []*job.Job
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		lapsed, err := x.lapsed(ctx, now, limit)
		if err != nil {
			return err
		}
		if len(lapsed) == 0 {
			return nil
		}
		if err := x.own(ctx, job.Lease{Owner: owner}); err != nil {
			return err
		}
		for _, r := range lapsed {
			r.Lease = job.Lease{Owner: owner, Epoch: r.Lease.Epoch + 1, Until: fromMicros(micros(until))}
			if _, err := x.exec(ctx, claimJob, owner, r.Lease.Epoch, micros(until), r.seq); err != nil {
				return err
			}
			if r.Images, err = x.images(ctx, r.seq); err != nil {
				return err
			}
			claimed = append(claimed, &r.Job)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim jobs for %s: %w", owner, err)
	}
	return claimed, nil
}

// lapsed finds the jobs whose lease has ended, owner by owner: those of an owner
// that renews are not even looked at.
func (x *session) lapsed(ctx context.Context, now time.Time, limit int) ([]*row, error) {
	rows, err := x.all(ctx, lapsedOwners, micros(now))
	owners, err := collect(rows, err, func(scan scanner) (name string, err error) {
		err = scan(&name)
		return name, err
	})
	if err != nil {
		return nil, fmt.Errorf("list owners: %w", err)
	}
	var all []*row
	for _, owner := range owners {
		rows, err := x.all(ctx, lapsedJobs, owner, micros(now), max(limit, 0))
		some, err := collect(rows, err, readJob)
		if err != nil {
			return nil, fmt.Errorf("list jobs of %q: %w", owner, err)
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b *row) int {
		return cmp.Or(a.Lease.Until.Compare(b.Lease.Until), cmp.Compare(a.seq, b.seq))
	})
	return all[:min(len(all), max(limit, 0))], nil
}

// images reads all images of a job in order.
func (x *session) images(ctx context.Context, seq int64) ([]job.Image, error) {
	rows, err := x.all(ctx, selectImages, seq)
	return collect(rows, err, func(scan scanner) (job.Image, error) { return readImage(scan) })
}
