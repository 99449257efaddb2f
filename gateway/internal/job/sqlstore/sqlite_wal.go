package sqlstore

import (
	"context"
	"log/slog"
	"os"
)

// logLimit is the size of the write-ahead log, in bytes, from which it is emptied
// by force. SQLite empties it by itself only at a moment without any read, which
// may never come under load.
const logLimit = 64 << 20

// logFile is what the writer knows of the log. Only its goroutine uses it.
type logFile struct {
	limit   int64
	tryFrom int64 // size from which the next attempt is due
}

// keepLogShort empties a log that has grown too long. New reads don't stand in
// its way and those under way are short; when one is not, the writer goes on and
// tries again once the log has doubled.
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
	e.log.WarnContext(ctx, "write-ahead log stays long",
		slog.Int64("bytes", info.Size()), slog.Bool("read_in_the_way", busy != 0), slog.Any("error", err))
}
