package sqlstore

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgresOutage reports whether the error is caused by the state of the database or its
// connection. Problems that an operator must fix (a changed password, a revoked
// permission, damaged pages) count as well: no job is lost by waiting for that.
func postgresOutage(err error) bool {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch failure.Code[:min(len(failure.Code), 2)] {
		case "08", // connection
			"28", "3D", // authorization, no such database
			"40", // serialization, deadlock, statement of unknown completion
			"53", // disk full, out of memory, too many connections
			"55", // lock not available
			"57", // shutdown, starting up, statement timeout
			"58": // input and output
			return true
		}
		switch failure.Code {
		case "25006", // read-only: a standby, or a disk that is nearly full
			"25P03",          // our session was idle in a transaction for too long
			"42501",          // insufficient privilege
			"XX001", "XX002": // damaged pages
			return true
		}
		return failure.SeverityUnlocalized == "FATAL" || failure.SeverityUnlocalized == "PANIC"
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, errBroken)
}

// errBroken marks the error of a call after which its connection was closed.
var errBroken = errors.New("connection lost")

// repeatable reports whether a transaction that was certainly not applied may be repeated
// immediately: it conflicted with others, or its connection had broken in the
// meantime.
func repeatable(err error) bool {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		return failure.Code == "40001" || failure.Code == "40P01"
	}
	return errors.Is(err, errBroken) && !errors.Is(err, context.DeadlineExceeded)
}

// refused reports whether the server responded to a COMMIT with a plain error: then nothing was
// committed. After any other error, the commit may have succeeded.
func refused(err error) bool {
	failure, ok := errors.AsType[*pgconn.PgError](err)
	return ok && failure.SeverityUnlocalized == "ERROR" || errors.Is(err, pgx.ErrTxCommitRollback)
}

// absent reports whether the database does not respond yet, or stopped while the connection was
// open. A response that rejects us does not count.
func absent(err error) bool {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch failure.Code {
		case "57P01", "57P02", "57P03", // stopped, another process of it was killed, starting up
			"53300": // too many connections
			return true
		}
		return false
	}
	return postgresOutage(err)
}
