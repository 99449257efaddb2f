package sqlstore

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

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
)

func readDelivery(scan scanner) (d job.Delivery, err error) {
	var created, last, next, ended int64
	err = scan(&d.Seq, &d.Webhook, &d.Message, &d.Type, &d.JobID, &d.Body, &d.Origin, &created, &d.Epoch, &d.Attempts, &last, &d.LastStatus,
		&d.LastError, &next, &ended, &d.Delivered)
	d.CreatedAt, d.LastAt, d.NextAt, d.EndedAt = fromMicros(created), fromMicros(last), fromMicros(next), fromMicros(ended)
	return d, err
}

// endMessages returns the statement that writes the messages about the end of a job. Every
// transaction that ends a job runs it.
func endMessages(j *job.Job) *statement {
	d := job.EndMessage(j)
	return &statement{query: enqueueEnd, args: []any{
		d.Message, string(d.Type), d.JobID, d.Body, d.Origin, micros(d.CreatedAt), micros(d.NextAt), j.Owner, events[d.Type],
	}}
}

// AddTest stores a test message for its webhook. It returns job.ErrNoWebhook or
// job.ErrWebhookDisabled.
func (s *Store) AddTest(ctx context.Context, d job.Delivery) (err error) {
	defer wrap(&err, "add a test of webhook %s", d.Webhook)
	return s.write(ctx, func(ctx context.Context, x *session) error {
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
	err = s.write(ctx, func(ctx context.Context, x *session) error {
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
	err = s.write(ctx, func(ctx context.Context, x *session) error {
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
	return s.write(ctx, func(ctx context.Context, x *session) error {
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
