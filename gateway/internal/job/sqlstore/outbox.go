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

// resendImages is the number of images after which Resend starts another transaction, so that none is
// long, however many images are open.
const resendImages = 5000

// Resend marks unsent every open image that has its original and started before the time, and
// returns how many it marked. This includes images that are still unsent: a publish of
// theirs that is in progress no longer counts. After an error, some may have been marked.
func (s *Store) Resend(ctx context.Context, startedBefore time.Time) (marked int, err error) {
	defer wrap(&err, "mark images unsent")
	for at, more := (openJob{}), true; more; {
		var n int
		next := at
		err := s.write(ctx, func(ctx context.Context, x *session) (err error) {
			n, next, more, err = x.resend(ctx, startedBefore, at)
			return err
		})
		if err != nil {
			return marked, err
		}
		marked, at = marked+n, next
	}
	return marked, nil
}

// openJob is a job that has not ended.
type openJob struct {
	seq, createdAt int64
	total          int
}

// resend marks the images of some of the open jobs that follow the one at the position. It returns the
// last of them, and whether there may be more.
func (x *session) resend(ctx context.Context, startedBefore time.Time, at openJob) (marked int, last openJob, more bool, err error) {
	const most = 1000
	var open []openJob
	err = x.run(ctx, into(&open, func(scan scanner) (j openJob, err error) {
		err = scan(&j.seq, &j.createdAt, &j.total)
		return j, err
	}, selectOpen, at.createdAt, at.seq, most))
	if err != nil || len(open) == 0 {
		return 0, at, false, err
	}
	more = len(open) == most
	seqs, images := []int64{}, 0
	for _, j := range open {
		if images >= resendImages {
			more = true
			break
		}
		seqs, images, last = append(seqs, j.seq), images+j.total, j
	}
	still := &statement{query: resend, args: []any{seqs, micros(startedBefore), true}}
	sent := &statement{query: resend, args: []any{seqs, micros(startedBefore), false}}
	err = x.run(ctx, still, sent)
	x.delta.Unsent += sent.count
	return still.count + sent.count, last, more, err
}
