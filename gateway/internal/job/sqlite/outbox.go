package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Unsent returns images whose Upload is to be published.
func (s *Store) Unsent(ctx context.Context, limit int) ([]job.Unsent, error) {
	var unsent []job.Unsent
	err := s.read(ctx, func(ctx context.Context, x *session) error {
		rows, err := x.all(ctx, selectUnsent, max(limit, 0))
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
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		for i := range sent {
			n, err := x.exec(ctx, markSent, sent[i].JobID, sent[i].Image.Index, sent[i].Image.Send)
			if err != nil {
				return err
			}
			x.delta.Unsent -= n
		}
		return nil
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
		if err := x.one(ctx, countResend, micros(startedBefore))(&sent); err != nil {
			return err
		}
		n, err := x.exec(ctx, resend, micros(startedBefore))
		if err != nil {
			return err
		}
		marked = n
		x.delta.Unsent += sent
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("mark images unsent: %w", err)
	}
	return marked, nil
}
