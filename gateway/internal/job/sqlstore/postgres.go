package sqlstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// postgresEngine runs the transactions of a PostgreSQL database.
type postgresEngine struct {
	log        *slog.Logger
	pool       *pgxpool.Pool
	relay      string            // identifies this gateway among those that share the database
	statements map[string]string // statements.go, translated for this engine
	writers    chan struct{}     // holds a token for each write; some connections are left for reads
	shards     [shards]shard
	doubts     doubts
	closing    <-chan struct{}
}

const (
	// openTime is how long OpenPostgres waits for a database that does not respond, which may
	// still be starting.
	openTime = time.Minute
	// relayTime is how long an unsent image is left to the gateway that has marked or taken it,
	// before another gateway may publish it. This delays nothing as long as that gateway
	// publishes immediately, and it is shorter than the interval between two polls.
	relayTime = 4 * time.Second
)

// OpenPostgres opens the store in the database that the URL names, and creates missing
// tables. The caller closes the store.
func OpenPostgres(ctx context.Context, url string, log *slog.Logger) (*Store, error) {
	c, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("open job store: %w", err)
	}
	c.AfterConnect = identify
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open job store: %w", err)
	}
	s := newStore(log, postgresOutage)
	s.shared = true
	most := int(c.MaxConns)
	e := &postgresEngine{
		log: log, pool: pool, relay: rand.Text(), statements: map[string]string{},
		writers: make(chan struct{}, most-most/4), closing: s.closing,
	}
	for i := range e.shards {
		e.shards[i].turn = make(chan struct{}, 1)
	}
	s.engine = e
	dialect := postgresDialect(e.relay)
	for _, query := range slices.Concat(statements, []string{takeUnsent}) {
		e.statements[query] = dialect.Replace(query)
	}
	if err := e.prepare(ctx, s); err != nil {
		return nil, fmt.Errorf("open job store: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// clock is the database's clock in microseconds, which is the same for all gateways.
const clock = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// postgresDialect translates statements for one store among all that share the database. Each
// store has its own name as a relay.
func postgresDialect(relay string) *strings.Replacer {
	relay = "'" + relay + "'"
	until := fmt.Sprintf("%s + %d", clock, relayTime.Microseconds())
	return strings.NewReplacer(
		"{relay}", ", relay = "+relay+", relay_until = "+until,
		"{clock}", clock,
		"{mine}", " AND i.relay = "+relay+" AND i.relay_until >= "+clock,
		"{free}", fmt.Sprintf("(i.relay_until < %s OR i.relay = %s AND i.relay_until < %s + %d)",
			clock, relay, clock, relayTime.Microseconds()/2),
	)
}

// Statements for PostgreSQL only.
const (
	// An image is taken when no gateway publishes it any more, or when it is ours and soon
	// would be free. Rows that another gateway is just taking are skipped.
	takeUnsent = `WITH due AS MATERIALIZED (
			SELECT i.job, i.idx FROM images i WHERE i.unsent AND {free}
			ORDER BY i.job, i.idx LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
		)
		UPDATE images AS i SET unsent = true{relay} FROM due WHERE i.job = due.job AND i.idx = due.idx`
	addCounters = `UPDATE figures SET jobs = jobs + $1, open_images = open_images + $2, unsent = unsent + $3
		WHERE shard = pg_backend_pid() % 64`
	selectCounts = `SELECT (SELECT coalesce(min(created_at), 0) FROM jobs WHERE visible AND completed_at = 0),
		sum(jobs)::bigint, sum(open_images)::bigint, sum(unsent)::bigint FROM figures`
)

func (e *postgresEngine) counts(ctx context.Context, x *session) (c job.Counts, err error) {
	var oldest int64
	err = x.one(ctx, selectCounts)(&oldest, &c.Jobs, &c.OpenImages, &c.Unsent)
	c.OldestOpen = fromMicros(oldest)
	return c, err
}

// shutdown waits for the calls that have a connection. All of them have a time limit.
func (e *postgresEngine) shutdown() error {
	e.pool.Close()
	return nil
}

// prepare waits for the database and migrates it to this version. A migration of many jobs may take longer
// than openTime.
func (e *postgresEngine) prepare(ctx context.Context, s *Store) error {
	connecting, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	for n := 0; ; n++ {
		err := e.migrate(connecting, ctx)
		if err == nil {
			err = s.readID(ctx)
		}
		if err == nil || !absent(err) {
			return err
		}
		if n == 0 {
			e.log.WarnContext(ctx, "waiting for the job store", slog.Any("error", err))
		}
		select {
		case <-again.C:
		case <-connecting.Done():
			return err
		}
	}
}

const (
	// migrationLock is the advisory lock under which one gateway at a time migrates.
	migrationLock = 0x696d6167656261 // "imageba"
	// oldest is the first version of PostgreSQL that supports the statements.
	oldest = 130000
)

// migrate migrates the database to this version. The first context limits the time until there is a connection.
func (e *postgresEngine) migrate(connecting, ctx context.Context) error {
	tx, err := e.pool.Begin(connecting)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	x := &session{tx: &postgresTx{tx, e}}
	// The first statement takes the lock, so that the statements after it read what the
	// previous gateway committed. It may wait for that gateway, and may itself take long.
	err = beginMigration(ctx, x)
	if err == nil {
		err = x.migrate(ctx, "postgres", e.log)
	}
	if err != nil {
		if end := tx.Rollback(ctx); end != nil && !errors.Is(end, pgx.ErrTxClosed) && !postgresOutage(err) {
			return errors.Join(err, fmt.Errorf("roll back migration: %w", end))
		}
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit migration: %w", err)
	}
	return nil
}

// beginMigration waits for its turn and creates the table of applied migrations.
func beginMigration(ctx context.Context, x *session) error {
	err := x.script(ctx, fmt.Sprintf(`SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0;
		SELECT pg_advisory_xact_lock(%d)`, migrationLock))
	if err != nil {
		return fmt.Errorf("lock migrations: %w", err)
	}
	var version int
	var known bool
	err = x.one(ctx, `SELECT current_setting('server_version_num')::integer, to_regclass('migrations') IS NOT NULL`)(&version, &known)
	switch {
	case err != nil:
		return fmt.Errorf("inspect the database: %w", err)
	case version < oldest:
		return fmt.Errorf("server is PostgreSQL %d, want %d or later", version/10000, oldest/10000)
	case known:
		return nil
	}
	if err := x.script(ctx, `CREATE TABLE migrations (name text COLLATE "C" PRIMARY KEY, applied_at bigint NOT NULL)`); err != nil {
		return fmt.Errorf("create table migrations: %w", err)
	}
	return nil
}
