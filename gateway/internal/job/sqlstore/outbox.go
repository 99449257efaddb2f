package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Unsent returns up to limit images whose Upload must be published, the oldest job first, each
// with the ID of its job. A gateway that shares the database gets the images that it has
// marked unsent itself and those that others have left, and no other gateway gets the same
// images for some seconds.
func (s *Store) Unsent(ctx context.Context, limit int) (unsent []job.Unsent, err error) {
	defer wrap(&err, "read unsent images")
	do := func(ctx context.Context, x *session) error {
		unsent = nil
		return x.run(ctx, into(&unsent, func(scan scanner) (u job.Unsent, err error) {
			u.Image, err = readImageAfter(scan, &u.JobID)
			return u, err
		}, selectUnsent, max(limit, 0)))
	}
	if !s.shared {
		err = s.read(ctx, do)
		return unsent, err
	}
	err = s.write(ctx, func(ctx context.Context, x *session) error {
		if _, err := x.exec(ctx, takeUnsent, max(limit, 0)); err != nil {
			return fmt.Errorf("take: %w", err)
		}
		return do(ctx, x)
	})
	return unsent, err
}

// MarkSent records that these images were published. An image that was marked unsent again
// since then (its Send has increased) stays unsent.
func (s *Store) MarkSent(ctx context.Context, sent []job.Unsent) (err error) {
	defer wrap(&err, "mark %d images sent", len(sent))
	if len(sent) == 0 {
		return nil
	}
	// All transactions lock in the same order.
	sent = slices.SortedFunc(slices.Values(sent), func(a, b job.Unsent) int {
		return cmp.Or(cmp.Compare(a.JobID, b.JobID), cmp.Compare(a.Image.Index, b.Image.Index))
	})
	return s.write(ctx, func(ctx context.Context, x *session) error {
		updates := make([]*statement, len(sent))
		for i := range sent {
			updates[i] = &statement{query: markSent, args: []any{sent[i].JobID, sent[i].Image.Index, sent[i].Image.Send}}
		}
		err := x.run(ctx, updates...)
		for _, u := range updates {
			x.delta.Unsent -= u.count
		}
		return err
	})
}

// Resend marks unsent every open image that has its original and started before the time, and
// returns how many it marked. This includes images that are still unsent: a publish of
// theirs that is in progress no longer counts.
func (s *Store) Resend(ctx context.Context, startedBefore time.Time) (marked int, err error) {
	defer wrap(&err, "mark images unsent")
	err = s.write(ctx, func(ctx context.Context, x *session) error {
		still := &statement{query: resend, args: []any{micros(startedBefore), true}}
		sent := &statement{query: resend, args: []any{micros(startedBefore), false}}
		err := x.run(ctx, still, sent)
		marked = still.count + sent.count
		x.delta.Unsent += sent.count
		return err
	})
	return marked, err
}
