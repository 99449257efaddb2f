package sqlstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
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
	return s.write(ctx, func(ctx context.Context, x *session) error {
		return x.takeSlot(ctx, takenSlots, w.Owner, job.MaxWebhooks, job.ErrTooManyWebhooks, func(slot int) (int, error) {
			return x.exec(ctx, insertWebhook, w.ID, w.Owner, w.URL, sumOf(w.Events), w.Secret.Reveal(), slot, micros(w.CreatedAt))
		})
	})
}

// takeSlot calls insert with the first of most slots that the owner has not taken. The query selects the taken ones, and
// insert returns the number of new rows. It returns full when no slot is free.
func (x *session) takeSlot(ctx context.Context, query, owner string, most int, full error, insert func(slot int) (int, error)) error {
	var taken []int
	err := x.run(ctx, into(&taken, func(scan scanner) (slot int, err error) {
		err = scan(&slot)
		return slot, err
	}, query, owner))
	if err != nil {
		return err
	}
	for slot := range most {
		if slices.Contains(taken, slot) {
			continue
		}
		// Without a new row, another gateway has just taken the slot.
		if n, err := insert(slot); n > 0 || err != nil {
			return err
		}
	}
	return full
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
	err = s.write(ctx, func(ctx context.Context, x *session) error {
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
	return s.write(ctx, func(ctx context.Context, x *session) error {
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
	err = s.write(ctx, func(ctx context.Context, x *session) error {
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
