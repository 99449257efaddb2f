package sqlstore

import (
	"context"
	"errors"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Statements about one-time downloads.
const (
	selectDownload = `SELECT d.hash, d.api_key, d.owner, d.job, d.what, d.image, d.include, d.paths, d.expires_at
		FROM downloads d WHERE d.hash = $1 AND d.expires_at > $2`
	takenDownloads = `SELECT d.slot FROM downloads d WHERE d.owner = $1`
	insertDownload = `INSERT INTO downloads (hash, owner, slot, api_key, job, what, image, include, paths, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (owner, slot) DO NOTHING`
	deleteDownload = `DELETE FROM downloads WHERE hash = $1`
	dropEndedOf    = `DELETE FROM downloads WHERE owner = $1 AND expires_at <= $2`
	dropEnded      = `DELETE FROM downloads WHERE hash IN (
			SELECT d.hash FROM downloads d WHERE d.expires_at <= $1 ORDER BY d.expires_at LIMIT $2
		)`
)

func readDownload(scan scanner) (d job.Download, err error) {
	var expires int64
	err = scan(&d.Hash, &d.Key, &d.Owner, &d.JobID, &d.What, &d.Image, &d.Include, &d.Paths, &expires)
	d.Expires = fromMicros(expires)
	return d, err
}

// AddDownload stores a new download. It returns job.ErrTooManyDownloads when its owner has
// job.MaxDownloads that are unused and have not expired.
func (s *Store) AddDownload(ctx context.Context, d job.Download, now time.Time) (err error) {
	defer wrap(&err, "add a download of job %s", d.JobID)
	return s.write(ctx, func(ctx context.Context, x *session) error {
		if _, err := x.exec(ctx, dropEndedOf, d.Owner, micros(now)); err != nil {
			return err
		}
		return x.takeSlot(ctx, takenDownloads, d.Owner, job.MaxDownloads, job.ErrTooManyDownloads, func(slot int) (int, error) {
			return x.exec(ctx, insertDownload, d.Hash, d.Owner, slot, d.Key, d.JobID, d.What, d.Image, d.Include, d.Paths, micros(d.Expires))
		})
	})
}

// Download returns the download with this hash of its token, or job.ErrNoDownload when there is
// none that is unused and has not expired.
func (s *Store) Download(ctx context.Context, hash string, now time.Time) (d job.Download, err error) {
	defer wrap(&err, "read a download")
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		d, err = readDownload(x.one(ctx, selectDownload, hash, micros(now)))
		return err
	})
	if errors.Is(err, job.ErrNotFound) {
		err = job.ErrNoDownload
	}
	return d, err
}

// TakeDownload is Download, and ends the download: of several calls, at any gateway, only one returns it. It reads first,
// so that an untrusted client that guesses tokens causes no writes.
func (s *Store) TakeDownload(ctx context.Context, hash string, now time.Time) (job.Download, error) {
	d, err := s.Download(ctx, hash, now)
	if err != nil {
		return d, err
	}
	err = s.write(ctx, func(ctx context.Context, x *session) error {
		n, err := x.exec(ctx, deleteDownload, hash)
		if err == nil && n == 0 {
			err = job.ErrNoDownload
		}
		return err
	})
	wrap(&err, "take a download")
	return d, err
}

// DropDownloads deletes the downloads that have expired.
func (s *Store) DropDownloads(ctx context.Context, now time.Time) (err error) {
	defer wrap(&err, "delete expired downloads")
	return s.inBatches(ctx, dropEnded, micros(now), pruneBatch)
}
