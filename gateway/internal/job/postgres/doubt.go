package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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

// claims are the jobs that one owner has claimed in one transaction.
type claims struct {
	owner string
	jobs  []claim
}

// claim is a job and the epoch of its lease.
type claim struct{ seq, epoch int64 }

// doubts are commits whose answer was lost with their connection. They may still
// be under way while later calls run on other connections, so those end them
// first: whoever has written since knows that what was in doubt was made or never
// will be. There are never more than connections.
type doubts struct {
	mu       sync.Mutex // guards what follows
	backends []backend
	claims   []claims // that may have been made; Claim asks
}

// add notes a commit in doubt.
func (d *doubts) add(conn *pgxpool.Conn, c claims) {
	b, _ := conn.Conn().PgConn().CustomData()[backendKey].(backend)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.backends = append(d.backends, b)
	if len(c.jobs) > 0 {
		d.claims = append(d.claims, c)
	}
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

// claimedBy gives the claims of the owner that were in doubt.
func (d *doubts) claimedBy(owner string) []claim {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []claim
	for _, c := range d.claims {
		if c.owner == owner {
			all = append(all, c.jobs...)
		}
	}
	return all
}

// forget drops the claims of the owner that Claim has looked at.
func (d *doubts) forget(owner string, looked []claim) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.claims {
		if d.claims[i].owner == owner {
			d.claims[i].jobs = slices.DeleteFunc(d.claims[i].jobs, func(c claim) bool { return slices.Contains(looked, c) })
		}
	}
	d.claims = slices.DeleteFunc(d.claims, func(c claims) bool { return len(c.jobs) == 0 })
}
