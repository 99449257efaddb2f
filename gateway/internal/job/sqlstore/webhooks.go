package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/failpoint"
)

// Statements about webhooks. A removed webhook keeps its row until its deliveries are gone.
const (
	webhookColumns = `w.id, w.owner, w.url, w.events, w.secret, w.old_secret, w.old_until, w.listed, w.created_at, w.failing_since, w.disabled_at, w.disabled_reason`

	selectWebhook  = `SELECT ` + webhookColumns + ` FROM webhooks w WHERE w.id = $1 AND w.removed_at = 0`
	lockWebhook    = selectWebhook + ` FOR NO KEY UPDATE`
	selectWebhooks = `SELECT ` + webhookColumns + ` FROM webhooks w WHERE w.removed_at = 0 ORDER BY w.owner, w.created_at, w.id`
	ownedWebhooks  = `SELECT ` + webhookColumns + ` FROM webhooks w WHERE w.removed_at = 0 AND w.owner = $1 ORDER BY w.created_at, w.id`
	takenSlots     = `SELECT w.slot FROM webhooks w WHERE w.removed_at = 0 AND w.owner = $1 AND w.slot >= 0`
	insertWebhook  = `INSERT INTO webhooks (id, owner, url, events, secret, old_secret, old_until, listed, slot, created_at)
		VALUES ($1, $2, $3, $4, $5, '', 0, false, $6, $7)
		ON CONFLICT (owner, slot) WHERE slot >= 0 AND removed_at = 0 DO NOTHING`
	listWebhook = `INSERT INTO webhooks (id, owner, url, events, secret, old_secret, old_until, listed, slot, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, true, -1, $8)
		ON CONFLICT (id) DO UPDATE SET url = excluded.url, events = excluded.events, secret = excluded.secret, old_secret = excluded.old_secret,
		old_until = excluded.old_until, failing_since = 0, disabled_at = 0, disabled_reason = '', removed_at = 0`
	rotateWebhook = `UPDATE webhooks SET old_secret = secret, secret = $1, old_until = $2 WHERE id = $3 AND removed_at = 0`
	removeWebhook = `UPDATE webhooks SET removed_at = $1, secret = '', old_secret = '' WHERE id = $2 AND removed_at = 0`

	webhookWorks   = `UPDATE webhooks SET failing_since = 0 WHERE id = $1 AND failing_since <> 0`
	webhookFails   = `UPDATE webhooks SET failing_since = $1 WHERE id = $2 AND failing_since = 0`
	disableWebhook = `UPDATE webhooks SET disabled_at = $1, disabled_reason = $2
		WHERE id = $3 AND disabled_at = 0 AND removed_at = 0 AND ($4 OR failing_since > 0 AND failing_since <= $5)`
	unusedWebhooks = `SELECT w.id FROM webhooks w WHERE w.disabled_at > 0 OR w.removed_at > 0`
	deleteWebhook  = `DELETE FROM webhooks WHERE id = $1 AND removed_at > 0 AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook = $2)`
	everyWebhookID = `SELECT w.id FROM webhooks w`
)

// events are the types of messages, each with its number in the sum that a row has.
var events = map[job.EventType]int{job.JobCompleted: 1, job.JobFailed: 2, job.JobCancelled: 4}

func sumOf(list []job.EventType) (sum int) {
	for _, e := range list {
		sum |= events[e]
	}
	return sum
}

func readWebhook(scan scanner) (w job.Webhook, err error) {
	var sum int
	var until, created, failing, disabled int64
	err = scan(&w.ID, &w.Owner, &w.URL, &sum, (*string)(&w.Secret), (*string)(&w.OldSecret), &until, &w.Listed, &created, &failing, &disabled, &w.DisabledReason)
	for _, e := range job.EventTypes {
		if sum&events[e] != 0 {
			w.Events = append(w.Events, e)
		}
	}
	w.OldUntil, w.CreatedAt, w.FailingSince, w.DisabledAt = fromMicros(until), fromMicros(created), fromMicros(failing), fromMicros(disabled)
	return w, err
}

func readText(scan scanner) (text string, err error) {
	err = scan(&text)
	return text, err
}

// AddWebhook stores a new webhook of its owner. It returns job.ErrTooManyWebhooks when the owner
// has job.MaxWebhooks of them.
func (s *Store) AddWebhook(ctx context.Context, w job.Webhook) (err error) {
	defer wrap(&err, "add webhook %s", w.ID)
	return s.write(ctx, "", func(ctx context.Context, x *session) error {
		var taken []int
		err := x.run(ctx, into(&taken, func(scan scanner) (slot int, err error) {
			err = scan(&slot)
			return slot, err
		}, takenSlots, w.Owner))
		for slot := range job.MaxWebhooks {
			if err != nil || slices.Contains(taken, slot) {
				continue
			}
			var n int
			n, err = x.exec(ctx, insertWebhook, w.ID, w.Owner, w.URL, sumOf(w.Events), w.Secret.Reveal(), slot, micros(w.CreatedAt))
			if n > 0 {
				return err
			}
			// Another gateway has just taken the slot.
		}
		if err == nil {
			err = job.ErrTooManyWebhooks
		}
		return err
	})
}

// Webhooks returns the webhooks that the viewer may see, by owner and age.
func (s *Store) Webhooks(ctx context.Context, v job.Viewer) (list []job.Webhook, err error) {
	defer wrap(&err, "list webhooks")
	query := into(&list, readWebhook, selectWebhooks)
	if !v.All {
		query = into(&list, readWebhook, ownedWebhooks, v.Owner)
	}
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		list = nil
		return x.run(ctx, query)
	})
	return slices.DeleteFunc(list, func(w job.Webhook) bool { return !v.SeesWebhook(&w) }), err
}

// Webhook returns the webhook, or job.ErrNoWebhook.
func (s *Store) Webhook(ctx context.Context, id string) (w job.Webhook, err error) {
	defer wrap(&err, "read webhook %s", id)
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		w, err = x.webhook(ctx, selectWebhook, id)
		return err
	})
	return w, err
}

func (x *session) webhook(ctx context.Context, query, id string) (job.Webhook, error) {
	w, err := readWebhook(x.one(ctx, query, id))
	if errors.Is(err, job.ErrNotFound) {
		err = job.ErrNoWebhook
	}
	return w, err
}

// RotateSecret gives the webhook a new secret. The current one signs as well until the time. It
// returns job.ErrNoWebhook, or job.ErrWebhookListed for a webhook of a file.
func (s *Store) RotateSecret(ctx context.Context, id string, secret job.Secret, until time.Time) (w job.Webhook, err error) {
	defer wrap(&err, "rotate the secret of webhook %s", id)
	err = s.write(ctx, "", func(ctx context.Context, x *session) error {
		if err := x.lockCreated(ctx, id); err != nil {
			return err
		}
		if _, err := x.exec(ctx, rotateWebhook, secret.Reveal(), micros(until), id); err != nil {
			return err
		}
		w, err = x.webhook(ctx, selectWebhook, id)
		return err
	})
	return w, err
}

// lockCreated locks the row of a webhook that was created with an API key.
func (x *session) lockCreated(ctx context.Context, id string) error {
	w, err := x.webhook(ctx, lockWebhook, id)
	if err == nil && w.Listed {
		err = job.ErrWebhookListed
	}
	return err
}

// RemoveWebhook removes the webhook, which gets no further messages, and forgets its secrets. Its
// deliveries are deleted later. It returns job.ErrNoWebhook, or job.ErrWebhookListed for a
// webhook of a file.
func (s *Store) RemoveWebhook(ctx context.Context, id string, at time.Time) (err error) {
	defer wrap(&err, "remove webhook %s", id)
	return s.write(ctx, "", func(ctx context.Context, x *session) error {
		if err := x.lockCreated(ctx, id); err != nil {
			return err
		}
		_, err := x.exec(ctx, removeWebhook, micros(at), id)
		return err
	})
}

// ListWebhooks replaces the webhooks of a file by these, all of which are enabled. It returns
// the number of those that are not in the file any more.
func (s *Store) ListWebhooks(ctx context.Context, list []job.Webhook, now time.Time) (removed int, err error) {
	defer wrap(&err, "replace the listed webhooks")
	err = s.write(ctx, "", func(ctx context.Context, x *session) error {
		removed = 0
		var old []job.Webhook
		if err := x.run(ctx, into(&old, readWebhook, selectWebhooks)); err != nil {
			return err
		}
		var changes []*statement
		for i := range list {
			w := &list[i]
			changes = append(changes, &statement{query: listWebhook, args: []any{
				w.ID, w.Owner, w.URL, sumOf(w.Events), w.Secret.Reveal(), w.OldSecret.Reveal(), micros(w.OldUntil), micros(now),
			}})
		}
		for i := range old {
			if old[i].Listed && !slices.ContainsFunc(list, func(w job.Webhook) bool { return w.ID == old[i].ID }) {
				changes = append(changes, &statement{query: removeWebhook, args: []any{micros(now), old[i].ID}})
				removed++
			}
		}
		if len(changes) == 0 {
			return nil
		}
		return x.run(ctx, changes...)
	})
	return removed, err
}

// Statements about deliveries.
const (
	deliveryColumns = `d.seq, d.webhook, d.message, d.type, d.job, d.body, d.origin, d.created_at, d.epoch, d.attempts, d.last_at, d.last_status,
		d.last_error, d.next_at, d.ended_at, d.delivered`

	enqueueEnd = `INSERT INTO deliveries (webhook, message, type, job, body, origin, created_at, next_at)
		SELECT w.id, $1, $2, $3, $4, $5, CAST($6 AS bigint), CAST($7 AS bigint) FROM webhooks w
		WHERE w.owner IN ('', $8) AND w.removed_at = 0 AND w.disabled_at = 0 AND (w.events & $9) <> 0`
	enqueueTest = `INSERT INTO deliveries (webhook, message, type, job, body, origin, created_at, next_at) VALUES ($1, $2, $3, '', $4, '', $5, $6)`

	selectDeliveries = `SELECT ` + deliveryColumns + ` FROM deliveries d WHERE d.webhook = $1 AND d.seq < $2 ORDER BY d.seq DESC LIMIT $3`

	// The webhooks with pending deliveries, found by skipping along the index from one to the next.
	dueWebhooks = `WITH RECURSIVE waiting (id) AS (
			SELECT min(webhook) FROM deliveries WHERE next_at > 0
			UNION ALL
			SELECT (SELECT min(d.webhook) FROM deliveries d WHERE d.next_at > 0 AND d.webhook > q.id)
			FROM waiting q WHERE q.id IS NOT NULL
		)
		SELECT ` + webhookColumns + ` FROM waiting q JOIN webhooks w ON w.id = q.id
		WHERE w.disabled_at = 0 AND w.removed_at = 0
		AND EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook = q.id AND d.next_at > 0 AND d.next_at <= $1)`
	// Rows that another gateway is just taking are skipped.
	claimDeliveries = `WITH due AS MATERIALIZED (
			SELECT d.seq AS due_seq FROM deliveries d WHERE d.webhook = $1 AND d.next_at > 0 AND d.next_at <= $2
			ORDER BY d.next_at, d.seq LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
		)
		UPDATE deliveries SET epoch = epoch + 1, next_at = $4 FROM due WHERE seq = due_seq
		RETURNING seq, webhook, message, type, job, body, origin, created_at, epoch, attempts, last_at, last_status, last_error, next_at, ended_at, delivered`
	recordAttempt = `UPDATE deliveries SET attempts = attempts + 1, last_at = $1, last_status = $2, last_error = $3, next_at = $4, ended_at = $5,
		delivered = $6 WHERE seq = $7 AND epoch = $8 AND next_at > 0`
	returnDelivery = `UPDATE deliveries SET next_at = 1 WHERE seq = $1 AND epoch = $2 AND next_at > 0`

	// No count is larger than this limit, which bounds its cost.
	countPending  = `SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE next_at > 0 LIMIT $1) AS pending`
	oldestPending = `SELECT coalesce(min(created_at), 0) FROM deliveries WHERE next_at > 0`

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

func readDelivery(scan scanner) (d job.Delivery, err error) {
	var created, last, next, ended int64
	err = scan(&d.Seq, &d.Webhook, &d.Message, &d.Type, &d.JobID, &d.Body, &d.Origin, &created, &d.Epoch, &d.Attempts, &last, &d.LastStatus,
		&d.LastError, &next, &ended, &d.Delivered)
	d.CreatedAt, d.LastAt, d.NextAt, d.EndedAt = fromMicros(created), fromMicros(last), fromMicros(next), fromMicros(ended)
	return d, err
}

// enqueueEnd writes the messages about the end of a job, in the transaction that ends it.
func (x *session) enqueueEnd(ctx context.Context, j *job.Job) error {
	d := job.EndMessage(j)
	_, err := x.exec(ctx, enqueueEnd, d.Message, string(d.Type), d.JobID, d.Body, d.Origin, micros(d.CreatedAt), micros(d.NextAt), j.Owner, events[d.Type])
	if err != nil {
		return fmt.Errorf("write messages for webhooks: %w", err)
	}
	failpoint.Reach("webhooks enqueued", j.ID)
	return nil
}

// AddTest stores a test message for its webhook. It returns job.ErrNoWebhook or
// job.ErrWebhookDisabled.
func (s *Store) AddTest(ctx context.Context, d job.Delivery) (err error) {
	defer wrap(&err, "add a test of webhook %s", d.Webhook)
	return s.write(ctx, "", func(ctx context.Context, x *session) error {
		w, err := x.webhook(ctx, lockWebhook, d.Webhook)
		if err == nil && !w.DisabledAt.IsZero() {
			err = job.ErrWebhookDisabled
		}
		if err == nil {
			_, err = x.exec(ctx, enqueueTest, d.Webhook, d.Message, string(d.Type), d.Body, micros(d.CreatedAt), micros(d.NextAt))
		}
		return err
	})
}

// Deliveries returns up to limit deliveries of the webhook, the newest first, that are older
// than before; 0: from the newest.
func (s *Store) Deliveries(ctx context.Context, webhook string, before int64, limit int) (list []job.Delivery, err error) {
	defer wrap(&err, "list deliveries of webhook %s", webhook)
	if before == 0 {
		before = math.MaxInt64
	}
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		list = nil
		return x.run(ctx, into(&list, readDelivery, selectDeliveries, webhook, before, max(limit, 0)))
	})
	return list, err
}

// DueWebhooks returns the enabled webhooks that have a delivery whose next attempt is due.
func (s *Store) DueWebhooks(ctx context.Context, now time.Time) (list []job.Webhook, err error) {
	defer wrap(&err, "list webhooks with due deliveries")
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		list = nil
		return x.run(ctx, into(&list, readWebhook, dueWebhooks, micros(now)))
	})
	return list, err
}

// ClaimDeliveries leases up to limit due deliveries of the webhook to the caller until the time.
// Then they are due again, unless the caller has recorded an attempt.
func (s *Store) ClaimDeliveries(ctx context.Context, webhook string, now, until time.Time, limit int) (list []job.Delivery, err error) {
	defer wrap(&err, "claim deliveries of webhook %s", webhook)
	err = s.write(ctx, "", func(ctx context.Context, x *session) error {
		list = nil
		err := x.run(ctx, into(&list, readDelivery, claimDeliveries, webhook, micros(now), max(limit, 0), micros(until)))
		x.changed = x.changed || len(list) > 0
		return err
	})
	slices.SortFunc(list, func(a, b job.Delivery) int { return int(a.Seq - b.Seq) })
	return list, err
}

// RecordAttempt records the outcome of an attempt by the holder of the lease, and reports whether
// it has disabled the webhook. It returns job.ErrLeaseLost when the delivery was claimed
// again since, or is gone.
func (s *Store) RecordAttempt(ctx context.Context, d job.Delivery, a job.Attempt) (disabled bool, err error) {
	defer wrap(&err, "record an attempt of delivery %d", d.Seq)
	err = s.write(ctx, "", func(ctx context.Context, x *session) error {
		disabled = false
		var ended int64
		if a.Next.IsZero() {
			ended = micros(a.At)
		}
		n, err := x.exec(ctx, recordAttempt, micros(a.At), a.Status, a.Error, micros(a.Next), ended, a.Delivered, d.Seq, d.Epoch)
		switch {
		case err != nil:
			return err
		case n == 0:
			return job.ErrLeaseLost
		case a.Delivered:
			_, err = x.exec(ctx, webhookWorks, d.Webhook)
			return err
		case d.Type != job.WebhookTest:
			if _, err := x.exec(ctx, webhookFails, micros(a.At), d.Webhook); err != nil {
				return err
			}
		}
		reason := a.Disable
		if reason == "" {
			reason = "All deliveries have failed for 5 days"
		}
		n, err = x.exec(ctx, disableWebhook, micros(a.At), reason, d.Webhook, a.Disable != "", micros(a.At.Add(-job.WebhookFailTime)))
		disabled = n > 0
		return err
	})
	return disabled && err == nil, err
}

// ReturnDelivery ends the lease of a delivery without an attempt, so that it is due again.
func (s *Store) ReturnDelivery(ctx context.Context, d job.Delivery) (err error) {
	defer wrap(&err, "return delivery %d", d.Seq)
	return s.write(ctx, "", func(ctx context.Context, x *session) error {
		_, err := x.exec(ctx, returnDelivery, d.Seq, d.Epoch)
		return err
	})
}

// PendingDeliveries returns the number of pending deliveries, at most most, and the creation of
// the oldest one, or zero.
func (s *Store) PendingDeliveries(ctx context.Context, most int) (n int, oldest time.Time, err error) {
	defer wrap(&err, "count pending deliveries")
	var created int64
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		if err := x.one(ctx, countPending, most)(&n); err != nil {
			return err
		}
		return x.one(ctx, oldestPending)(&created)
	})
	return n, fromMicros(created), err
}

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
		err := s.write(ctx, "", func(ctx context.Context, x *session) (err error) {
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
	return s.write(ctx, "", func(ctx context.Context, x *session) error {
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
	err = s.write(ctx, "", func(ctx context.Context, x *session) error {
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
