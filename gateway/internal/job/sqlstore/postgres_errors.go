package sqlstore

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgresOutage reports whether the error is the state of the database or of the way to it. What
// an operator must fix (a changed password, a lost right, damaged pages) counts as well: no
// job is lost by waiting for that.
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
			"25P03",          // our session stood still for too long
			"42501",          // no right to
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

// repeatable tells whether a transaction that was certainly not made may be tried
// again at once: others were in its way, or it came by a connection that had
// broken meanwhile.
func repeatable(err error) bool {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		return failure.Code == "40001" || failure.Code == "40P01"
	}
	return errors.Is(err, errBroken) && !errors.Is(err, context.DeadlineExceeded)
}

// refused tells whether the server has answered a COMMIT by a plain error: then
// nothing was made. After anything else that is no success, it may have been.
func refused(err error) bool {
	failure, ok := errors.AsType[*pgconn.PgError](err)
	return ok && failure.SeverityUnlocalized == "ERROR" || errors.Is(err, pgx.ErrTxCommitRollback)
}

// absent reports whether the database does not respond yet, or has gone away while it
// did. That it refuses us is a response.
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
