package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Statements about the sessions of other connections.
const (
	selectBackend = `SELECT pid, ` + backendStart + ` FROM pg_stat_activity WHERE pid = pg_backend_pid()`
	// endBackends terminates the given backends that still exist and returns their number.
	endBackends = `SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
		JOIN unnest($1::integer[], $2::bigint[]) AS d (pid, start) ON d.pid = a.pid AND d.start = (` + backendStart + `)`
	backendStart = `(extract(epoch FROM backend_start) * 1000000)::bigint`
)

// backend is the server process of a connection. Its start time distinguishes it from a later
// process with the same ID.
type backend struct {
	pid   int32
	start int64
}

// backendKey is the key under which a connection stores its backend.
const backendKey = "imagebatch backend"

// identify records the backend of a new connection.
func identify(ctx context.Context, conn *pgx.Conn) error {
	var b backend
	if err := conn.QueryRow(ctx, selectBackend).Scan(&b.pid, &b.start); err != nil {
		return fmt.Errorf("identify the session: %w", err)
	}
	conn.PgConn().CustomData()[backendKey] = b
	return nil
}

// doubts are commits whose response was lost with their connection. They may still be in
// progress while later calls run on other connections, so those calls terminate them first:
// after a later write, a commit in doubt has succeeded or never will. There are never more than
// connections.
type doubts struct {
	mu       sync.Mutex // guards backends
	backends []backend
}

// add records a commit in doubt.
func (d *doubts) add(conn *pgxpool.Conn) {
	b, _ := conn.Conn().PgConn().CustomData()[backendKey].(backend)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.backends = append(d.backends, b)
}

func (d *doubts) open() []backend {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.backends)
}

// settle waits until no commit is in doubt.
func (d *doubts) settle(ctx context.Context, conn *pgxpool.Conn) error {
	list := d.open()
	if len(list) == 0 {
		return nil
	}
	pids, starts := make([]int32, len(list)), make([]int64, len(list))
	for i, b := range list {
		pids[i], starts[i] = b.pid, b.start
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var there int
		if err := conn.QueryRow(ctx, endBackends, pids, starts).Scan(&there); err != nil {
			return fmt.Errorf("end lost sessions: %w", err)
		}
		if there == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("end lost sessions: %w", ctx.Err())
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.backends = slices.DeleteFunc(d.backends, func(b backend) bool { return slices.Contains(list, b) })
	return nil
}
