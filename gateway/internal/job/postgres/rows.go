package postgres

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// scanner reads the current row, as the Scan of pgx.Row and pgx.Rows does.
type scanner func(dest ...any) error

// collect reads all rows and closes them.
func collect[T any](rows pgx.Rows, err error, read func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (T, error) { return read(r.Scan) })
}

// row is a job as its table has it.
type row struct {
	seq  int64
	work int
	job.Job
}

func readJob(scan scanner) (*row, error) {
	var r row
	var created, updated, completed, until int64
	err := scan(&r.seq, &r.work, &r.ID, &r.Status, &r.Total, &r.Completed, &r.Failed, &r.Revision,
		&created, &updated, &completed, &r.Lease.Owner, &r.Lease.Epoch, &until,
		&r.OriginalsGone, &r.RetryOf, &r.Fingerprint, &r.Owner, &r.Origin)
	if err != nil {
		return nil, err
	}
	r.CreatedAt, r.UpdatedAt, r.CompletedAt = fromMicros(created), fromMicros(updated), fromMicros(completed)
	r.Lease.Until = fromMicros(until)
	return &r, nil
}

// readImage reads an image, and before it what else the query selects.
func readImage(scan scanner, before ...any) (job.Image, error) {
	var img job.Image
	var start, end int64
	err := scan(append(before, &img.Index, &img.TraceID, &img.OriginalFilename, &img.KeyName, &img.URL, &img.Status,
		&img.Original.Path, &img.Original.ContentType, &img.Original.Size, &img.Original.SHA256,
		&img.ProcessedPath, &img.Error, &img.ErrorCode, &img.Retryable,
		&start, &end, &img.Revision, &img.Unsent, &img.Send)...)
	img.StartTime, img.EndTime = fromMicros(start), fromMicros(end)
	return img, err
}

// micros is the time in microseconds since 1970, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// asStored rounds the times of the job and its images to what a later read will give.
func asStored(j *job.Job) {
	for _, t := range []*time.Time{&j.CreatedAt, &j.UpdatedAt, &j.CompletedAt} {
		*t = fromMicros(micros(*t))
	}
	for i := range j.Images {
		img := &j.Images[i]
		img.StartTime, img.EndTime = fromMicros(micros(img.StartTime)), fromMicros(micros(img.EndTime))
	}
}

// text makes a text storable: PostgreSQL takes neither the character 0 nor what is
// no UTF-8. Ids and keys are storable as they are, so that a stranger's id that is
// not names no job.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
