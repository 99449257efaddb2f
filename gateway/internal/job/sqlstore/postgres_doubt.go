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
	// endBackends ends those that are still there and returns how many there were.
	endBackends = `SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
		JOIN unnest($1::integer[], $2::bigint[]) AS d (pid, start) ON d.pid = a.pid AND d.start = (` + backendStart + `)`
	backendStart = `(extract(epoch FROM backend_start) * 1000000)::bigint`
)

// backend is the server's process behind a connection. Its start tells it from a
// later one that got the same id.
type backend struct {
	pid   int32
	start int64
}

// backendKey is where a connection keeps its backend.
const backendKey = "imagebatch backend"

// identify notes the backend of a new connection.
func identify(ctx context.Context, conn *pgx.Conn) error {
	var b backend
	if err := conn.QueryRow(ctx, selectBackend).Scan(&b.pid, &b.start); err != nil {
		return fmt.Errorf("identify the session: %w", err)
	}
	conn.PgConn().CustomData()[backendKey] = b
	return nil
}

// doubts are commits whose answer was lost with their connection. They may still
// be under way while later calls run on other connections, so those end them
// first: whoever has written since knows that what was in doubt was made or never
// will be. There are never more than connections.
type doubts struct {
	mu       sync.Mutex // guards backends
	backends []backend
}

// add notes a commit in doubt.
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

// settle waits until no commit is in doubt any more.
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
