package sqlstore

import (
	"context"
	"log/slog"
	"os"
)

// logLimit is the size of the write-ahead log, in bytes, at which it is truncated explicitly.
// SQLite does that by itself only at a moment without any read, which may never come under
// load.
const logLimit = 64 << 20

// logFile is the writer's state of the log. Only its goroutine uses it.
type logFile struct {
	limit   int64
	tryFrom int64 // size from which the next attempt is due
}

// keepLogShort truncates a log that has grown too long. New reads do not block it, and reads
// in progress are short. If one is not, the writer continues and tries again once the log has
// doubled.
func (e *sqliteEngine) keepLogShort(ctx context.Context) {
	info, err := os.Stat(e.path + "-wal")
	if err != nil || info.Size() < max(e.logFile.limit, e.logFile.tryFrom) {
		return
	}
	var busy, pages, moved int
	err = e.writer.pool.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved)
	if err == nil && busy == 0 {
		e.logFile.tryFrom = 0
		return
	}
	e.logFile.tryFrom = 2 * info.Size()
	e.log.WarnContext(ctx, "write-ahead log not truncated",
		slog.Int64("bytes", info.Size()), slog.Bool("blocked_by_read", busy != 0), slog.Any("error", err))
}
