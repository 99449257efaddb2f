package sqlstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// row is a row of the table of jobs.
type row struct {
	seq                 int64
	work                int
	status              job.Status // before a change
	failed, uncaptioned int        // likewise
	found               bool       // by the search of a list
	job.Job
}

// position returns the row's position in the order of creation.
func (r *row) position() position { return position{micros(r.CreatedAt), r.ID} }

// jobColumns are the columns that readJob reads. A lease ends with its owner's renewal, if
// that is later.
const jobColumns = `j.seq, j.work, j.id, j.status, j.total, j.completed, j.failed, j.revision,
	j.created_at, j.updated_at, j.completed_at, j.lease_owner, j.lease_epoch,
	CASE WHEN j.work = 0 THEN j.lease_until
	ELSE greatest(j.lease_until, coalesce((SELECT o.renewed_until FROM owners o WHERE o.name = j.lease_owner), 0)) END,
	j.originals_gone, j.retry_of, j.fingerprint, j.owner, j.origin, j.metadata, j.warnings, j.uncaptioned`

func readJob(scan scanner) (*row, error) {
	var r row
	var created, updated, completed, until int64
	var metadata, warnings string
	err := scan(&r.seq, &r.work, &r.ID, &r.Status, &r.Total, &r.Completed, &r.Failed, &r.Revision,
		&created, &updated, &completed, &r.Lease.Owner, &r.Lease.Epoch, &until,
		&r.OriginalsGone, &r.RetryOf, &r.Fingerprint, &r.Owner, &r.Origin, &metadata, &warnings, &r.Uncaptioned)
	if err == nil {
		err = errors.Join(decode(metadata, &r.Metadata), decode(warnings, &r.Warnings))
	}
	if err != nil {
		return nil, err
	}
	r.status, r.failed, r.uncaptioned = r.Status, r.Failed, r.Uncaptioned
	r.CreatedAt, r.UpdatedAt, r.CompletedAt = fromMicros(created), fromMicros(updated), fromMicros(completed)
	r.Lease.Until = fromMicros(until)
	return &r, nil
}

// imageColumns are the columns that readImage reads.
const imageColumns = `i.idx, i.trace_id, i.original_filename, i.key_name, i.url, i.headers, i.custom_id, i.status,
	i.original_path, i.content_type, i.size, i.sha256, i.processed_path, i.error, i.error_code, i.retryable,
	i.start_time, i.end_time, i.revision, i.unsent, i.send, i.phash, i.width, i.height, i.captions, i.remove_captions`

func readImage(scan scanner) (job.Image, error) { return readImageAfter(scan) }

// readImageAfter reads an image, preceded by the other columns that the query selects.
func readImageAfter(scan scanner, before ...any) (job.Image, error) {
	var img job.Image
	var start, end int64
	err := scan(append(before, &img.Index, &img.TraceID, &img.OriginalFilename, &img.KeyName, &img.URL, (*string)(&img.Headers), &img.CustomID, &img.Status,
		&img.Original.Path, &img.Original.ContentType, &img.Original.Size, &img.Original.SHA256,
		&img.ProcessedPath, &img.Error, &img.ErrorCode, &img.Retryable,
		&start, &end, &img.Revision, &img.Unsent, &img.Send,
		&img.Appearance.PHash, &img.Appearance.Width, &img.Appearance.Height, &img.Captions, &img.RemoveCaptions)...)
	img.StartTime, img.EndTime = fromMicros(start), fromMicros(end)
	return img, err
}

// encode returns a map or a slice of strings as JSON, or "" if it is empty.
func encode[T map[string]string | []string](v T) string {
	if len(v) == 0 {
		return ""
	}
	text, _ := json.Marshal(v) // never fails for strings
	return string(text)
}

// decode reads what encode returned.
func decode(text string, to any) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), to); err != nil {
		return fmt.Errorf("decode a column: %w", err)
	}
	return nil
}

// micros returns the time in microseconds since 1970, and 0 for the zero time.
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

// asStored rounds the times of the job and its images to what a later read returns.
func asStored(j *job.Job) {
	for _, t := range []*time.Time{&j.CreatedAt, &j.UpdatedAt, &j.CompletedAt} {
		*t = fromMicros(micros(*t))
	}
	for i := range j.Images {
		img := &j.Images[i]
		img.StartTime, img.EndTime = fromMicros(micros(img.StartTime)), fromMicros(micros(img.EndTime))
	}
}
