package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// relayTime is for how long an unsent image is left to the gateway that has made
// it so, or has taken it, before another may publish it. That costs nothing as long
// as the former does it at once, and is less than the pause between two looks.
const relayTime = 4 * time.Second

// Unsent returns images whose Upload is to be published: those that this gateway
// has made unsent, and those that others have left lying. What it returns, no other
// gateway is given for some seconds.
func (s *Store) Unsent(ctx context.Context, limit int) ([]job.Unsent, error) {
	var unsent []job.Unsent
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		if _, err := x.exec(ctx, takeUnsent, s.relay, relayTime.Microseconds(), max(limit, 0)); err != nil {
			return fmt.Errorf("take: %w", err)
		}
		rows, err := x.all(ctx, selectUnsent, s.relay, max(limit, 0))
		unsent, err = collect(rows, err, func(scan scanner) (u job.Unsent, err error) {
			u.Image, err = readImage(scan, &u.JobID)
			return u, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read unsent images: %w", err)
	}
	return unsent, nil
}

// MarkSent notes that these images' Uploads were published.
func (s *Store) MarkSent(ctx context.Context, sent []job.Unsent) error {
	if len(sent) == 0 {
		return nil
	}
	// All lock in the same order.
	sent = slices.SortedFunc(slices.Values(sent), func(a, b job.Unsent) int {
		return cmp.Or(cmp.Compare(a.JobID, b.JobID), cmp.Compare(a.Image.Index, b.Image.Index))
	})
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		var b pgx.Batch
		for i := range sent {
			b.Queue(markSent, text(sent[i].JobID), sent[i].Image.Index, sent[i].Image.Send)
		}
		answers := x.SendBatch(ctx, &b)
		for range sent {
			tag, err := answers.Exec()
			if err != nil {
				_ = answers.Close() // It tells the same error.
				return err
			}
			x.delta.Unsent -= int(tag.RowsAffected())
		}
		x.changed = x.delta.Unsent != 0
		return answers.Close()
	})
	if err != nil {
		return fmt.Errorf("mark %d images sent: %w", len(sent), err)
	}
	return nil
}

// Resend marks open images unsent again.
func (s *Store) Resend(ctx context.Context, startedBefore time.Time) (int, error) {
	var marked int
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		var sent int
		err := x.one(ctx, resend, micros(startedBefore), s.relay, relayTime.Microseconds())(&marked, &sent)
		x.delta.Unsent += sent
		x.changed = marked > 0
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("mark images unsent: %w", err)
	}
	return marked, nil
}
