package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Statements that end and delete deliveries.
const (
	deleteEnded = `DELETE FROM deliveries WHERE seq IN (
			SELECT d.seq FROM deliveries d WHERE d.next_at = 0 AND d.ended_at < $1 ORDER BY d.ended_at LIMIT $2
		)`
	abandonPending = `UPDATE deliveries SET next_at = 0, ended_at = $1, last_error = $2 WHERE seq IN (
			SELECT d.seq FROM deliveries d WHERE d.webhook = $3 AND d.next_at > 0 ORDER BY d.next_at, d.seq LIMIT $4
		)`
	deleteSome = `DELETE FROM deliveries WHERE seq IN (SELECT d.seq FROM deliveries d WHERE d.webhook = $1 ORDER BY d.seq LIMIT $2)`
	// The newest of the deliveries that are too many.
	surplusFrom  = `SELECT d.seq FROM deliveries d WHERE d.webhook = $1 ORDER BY d.seq DESC LIMIT 1 OFFSET $2`
	countSurplus = `SELECT count(*) FROM (SELECT 1 FROM deliveries d WHERE d.webhook = $1 AND d.seq <= $2 LIMIT $3) AS surplus`
	deleteOldest = `DELETE FROM deliveries WHERE seq IN (
			SELECT d.seq FROM deliveries d WHERE d.webhook = $1 AND (d.next_at = 0) = $2 ORDER BY d.seq LIMIT $3
		)`
)

// pruneBatch is the maximum number of rows that one transaction of PruneDeliveries changes.
const pruneBatch = 500

// PruneDeliveries deletes deliveries that ended before DeliveryRetention and those of removed
// webhooks, ends the pending deliveries of disabled webhooks, and keeps job.MaxDeliveries of each
// webhook: it deletes the oldest that have ended, and then the oldest pending ones, whose
// number it returns. most is job.MaxDeliveries, and less in tests.
func (s *Store) PruneDeliveries(ctx context.Context, now time.Time, most int) (dropped int, err error) {
	defer wrap(&err, "prune deliveries")
	err = s.inBatches(ctx, deleteEnded, micros(now.Add(-job.DeliveryRetention)), pruneBatch)
	if err != nil {
		return 0, err
	}
	var unused, all []string
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		unused, all = nil, nil
		return x.run(ctx, into(&unused, readText, unusedWebhooks), into(&all, readText, everyWebhookID))
	})
	if err != nil {
		return 0, err
	}
	for _, id := range unused {
		if err := s.retireWebhook(ctx, id, now); err != nil {
			return 0, err
		}
	}
	for _, id := range all {
		for {
			n, more, err := s.dropSurplus(ctx, id, most)
			if dropped += n; err != nil {
				return dropped, err
			}
			if !more {
				break
			}
		}
	}
	return dropped, nil
}

// inBatches runs a statement, each time in a transaction of its own, until it changes fewer than
// pruneBatch rows.
func (s *Store) inBatches(ctx context.Context, query string, args ...any) error {
	for {
		var n int
		err := s.write(ctx, func(ctx context.Context, x *session) (err error) {
			n, err = x.exec(ctx, query, slices.Clone(args)...)
			return err
		})
		if err != nil || n < pruneBatch {
			return err
		}
	}
}

// retireWebhook ends the pending deliveries of a disabled webhook, and deletes a removed one with
// all its deliveries.
func (s *Store) retireWebhook(ctx context.Context, id string, now time.Time) error {
	_, err := s.Webhook(ctx, id)
	if err == nil {
		return s.inBatches(ctx, abandonPending, micros(now), "The webhook is disabled", id, pruneBatch)
	}
	if !errors.Is(err, job.ErrNoWebhook) {
		return err
	}
	if err := s.inBatches(ctx, deleteSome, id, pruneBatch); err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, x *session) error {
		_, err := x.exec(ctx, deleteWebhook, id, id)
		return err
	})
}

// dropSurplus deletes a batch of the deliveries that the webhook has beyond most. It returns the
// number of pending ones among them, and whether there may be more.
func (s *Store) dropSurplus(ctx context.Context, id string, most int) (pending int, more bool, err error) {
	var newest int64
	err = s.read(ctx, func(ctx context.Context, x *session) error { return x.one(ctx, surplusFrom, id, most)(&newest) })
	if errors.Is(err, job.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	err = s.write(ctx, func(ctx context.Context, x *session) error {
		pending, more = 0, false
		// Another gateway that does the same waits for the lock and then finds less.
		if _, err := x.webhook(ctx, lockWebhook, id); err != nil {
			if errors.Is(err, job.ErrNoWebhook) {
				return nil
			}
			return err
		}
		err := x.one(ctx, surplusFrom, id, most)(&newest)
		if errors.Is(err, job.ErrNotFound) {
			return nil
		}
		var surplus int
		if err == nil {
			err = x.one(ctx, countSurplus, id, newest, pruneBatch)(&surplus)
		}
		var ended int
		if err == nil {
			ended, err = x.exec(ctx, deleteOldest, id, true, surplus)
		}
		if err == nil && ended < surplus {
			pending, err = x.exec(ctx, deleteOldest, id, false, surplus-ended)
		}
		if err != nil {
			return fmt.Errorf("of webhook %s: %w", id, err)
		}
		more = surplus == pruneBatch
		return nil
	})
	return pending, more, err
}
