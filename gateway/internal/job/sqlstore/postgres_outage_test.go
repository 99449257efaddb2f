package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// server is a PostgreSQL server that the test can kill.
type server struct {
	t   *testing.T
	dir string
	url string
}

func startServer(t *testing.T) *server {
	t.Helper()
	if os.Getenv("TEST_POSTGRES_URL") == "" || os.Getenv("TEST_SERVERS") == "" {
		t.Skip("TEST_POSTGRES_URL and TEST_SERVERS are not set")
	}
	s := &server{t: t, dir: t.TempDir()}
	// The server runs as its own user, who needs access to the folder.
	for _, dir := range []string{s.dir, filepath.Dir(s.dir)} {
		ok(t, os.Chmod(dir, 0o711)) //nolint:gosec // the folder can be entered but not listed
	}
	t.Cleanup(func() { s.do("stop") })
	s.do("start", "postgres")
	env, err := os.ReadFile(filepath.Join(s.dir, "env"))
	ok(t, err)
	_, after, _ := strings.Cut(string(env), "TEST_POSTGRES_URL='")
	s.url, _, _ = strings.Cut(after, "'")
	return s
}

func (s *server) do(verb string, args ...string) {
	s.t.Helper()
	ctx := context.WithoutCancel(s.t.Context()) // cleanups run after its end
	cmd := exec.CommandContext(ctx, os.Getenv("TEST_SERVERS"), append([]string{verb, s.dir}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Errorf("%s: %v\n%s", verb, err, out)
	}
}

// history records the results that a worker got from its store.
type history struct {
	created map[string]bool // acknowledged jobs
	settled map[string]bool
	outages int
}

// TestServerKilled kills the server under load and restarts it, twice. Both gateways report
// that it is unavailable and recover by themselves; all acknowledged writes are there,
// complete.
func TestServerKilled(t *testing.T) {
	server := startServer(t)
	stores := []*Store{openURL(t, server.url), openURL(t, server.url)}
	stop := make(chan struct{})
	histories := make([]*history, 8)
	var acknowledged sync.WaitGroup // waits for some work of each worker before the kill
	var workers sync.WaitGroup
	for w := range histories {
		h := &history{created: map[string]bool{}, settled: map[string]bool{}}
		histories[w] = h
		acknowledged.Add(1)
		workers.Go(func() { workThrough(t, stores[w%2], fmt.Sprint(w), h, stop, acknowledged.Done) })
	}
	acknowledged.Wait()
	for range 2 {
		server.do("kill", "postgres")
		for _, s := range stores {
			awaitReady(t, s, false)
		}
		server.do("restart", "postgres")
		for _, s := range stores {
			awaitReady(t, s, true)
		}
	}
	close(stop)
	workers.Wait()

	created, outages := 0, 0
	for _, h := range histories {
		outages += h.outages
		for id := range h.created {
			created++
			j, err := stores[0].Get(t.Context(), id)
			if err != nil || len(j.Images) != 3 || h.settled[id] && (j.Completed != 2 || j.Revision != 3) {
				t.Errorf("acknowledged, but lost: job %s is %+v, %v", id, j, err)
			}
		}
	}
	if created < 20 || outages < 4 {
		t.Errorf("%d jobs were created, the database was unavailable %d times", created, outages)
	}
	addUp(t, stores[1], created)
}

// addUp compares the counts with the listed jobs.
func addUp(t *testing.T, s *Store, atLeast int) {
	t.Helper()
	counts, err := s.Count(t.Context())
	ok(t, err)
	list := listAll(t, s)
	open, unsent := 0, 0
	for _, j := range list {
		if len(j.Images) != 3 {
			t.Errorf("incomplete job: %+v", j)
		}
		for i := range j.Images {
			if !j.Images[i].Status.Ended() {
				open++
			}
			if j.Images[i].Unsent {
				unsent++
			}
		}
	}
	if len(list) != counts.Jobs || len(list) < atLeast || counts.OpenImages != open || counts.Unsent != unsent {
		t.Errorf("%d jobs with %d open and %d unsent images, counts are %+v", len(list), open, unsent, counts)
	}
}

// workThrough creates and settles jobs through every outage, until stop is closed.
func workThrough(t *testing.T, s *Store, name string, h *history, stop <-chan struct{}, started func()) {
	var once sync.Once
	defer once.Do(started)
	through := func(do func() error) bool {
		for {
			err := do()
			switch {
			case err == nil:
				return true
			case !errors.Is(err, job.ErrUnavailable):
				t.Errorf("worker %s: %v", name, err)
				return false
			}
			h.outages++
			again := time.NewTimer(20 * time.Millisecond)
			<-again.C
		}
	}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("job-%s-%d", name, i)
		for tries := 0; ; tries++ {
			// An earlier attempt may have been applied: then the ID is taken.
			attempt := fmt.Sprintf("%s-%d", id, tries)
			err := s.Create(t.Context(), newJob(attempt, 3))
			if err == nil {
				id = attempt
				break
			}
			if !through(func() error { return onlyOutage(err, func() error { return s.Renew(t.Context(), name, t0) }) }) {
				return
			}
		}
		h.created[id] = true
		for index := range 2 {
			ref := job.Ref{JobID: id, Index: index}
			if !through(func() error { _, _, err := s.Change(t.Context(), ref, settled(ref), t0); return err }) {
				return
			}
		}
		h.settled[id] = true
		if i == 5 {
			once.Do(started)
		}
	}
}

// onlyOutage returns err if it is not an outage, and otherwise the result of do.
func onlyOutage(err error, do func() error) error {
	if !errors.Is(err, job.ErrUnavailable) {
		return err
	}
	return do()
}

func awaitReady(t *testing.T, s *Store, want bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		err := s.Ready(t.Context())
		if err != nil && !errors.Is(err, job.ErrUnavailable) {
			t.Fatalf("ready: %v", err)
		}
		if (err == nil) == want {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("Ready = %v, want nil: %t", err, want)
		}
	}
}

// TestReadOnly verifies that a database that accepts no writes, such as a standby or one with
// a full disk, is reported, can still be read and recovers by itself.
func TestReadOnly(t *testing.T) {
	server := startServer(t)
	s := openURL(t, server.url)
	ok(t, s.Create(t.Context(), newJob("before", 1)))
	readOnly := func(mode string) {
		testDatabase{"postgres", server.url}.execute(t, `SET default_transaction_read_only = off`,
			`ALTER SYSTEM SET default_transaction_read_only = `+mode, `SELECT pg_reload_conf()`)
	}
	readOnly("on")
	var err error
	for i := 0; err == nil; i++ { // until the setting reaches each session
		err = s.Create(t.Context(), newJob(fmt.Sprint(i), 1))
	}
	if !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("create: %v", err)
	}
	awaitReady(t, s, false)
	_, err = s.Get(t.Context(), "before")
	ok(t, err)
	readOnly("off")
	awaitReady(t, s, true)
	ok(t, s.Create(t.Context(), newJob("after", 1)))
}

// TestWaitsAreLimited verifies the time limits of waits for another session's lock and for a
// connection.
func TestWaitsAreLimited(t *testing.T) {
	t.Parallel()
	address := schema(t) + "&lock_timeout=50"
	s := openURL(t, address)
	ok(t, s.Create(t.Context(), newJob("job", 1)))
	x, err := pool(s).Begin(t.Context())
	ok(t, err)
	if _, err := x.Exec(t.Context(), `SELECT FROM jobs FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ref := job.Ref{JobID: "job"}
	if _, _, err := s.Change(t.Context(), ref, settled(ref), t0); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("change of a locked job: %v", err)
	}
	_, err = s.Get(t.Context(), "job") // reads wait for no lock
	ok(t, err)
	ok(t, x.Rollback(t.Context()))
	_, _, err = s.Change(t.Context(), ref, settled(ref), t0)
	ok(t, err)

	for range pool(s).Config().MaxConns {
		conn, err := pool(s).Acquire(t.Context())
		ok(t, err)
		defer conn.Release()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "job"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("get without a connection: %v", err)
	}
	if err := s.Create(ctx, newJob("other", 1)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, job.ErrUnavailable) {
		t.Errorf("create without a connection: %v", err)
	}
}

// TestDeadlock verifies that two transactions that lock the same two jobs in opposite order
// both succeed: the one that PostgreSQL aborts is repeated.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	s := openURL(t, schema(t))
	for _, id := range []string{"a", "b"} {
		ok(t, s.Create(t.Context(), newJob(id, 1)))
	}
	var both, work sync.WaitGroup
	both.Add(2)
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		first := sync.OnceFunc(func() { both.Done(); both.Wait() })
		work.Go(func() {
			err := s.write(t.Context(), func(ctx context.Context, x *session) error {
				if _, err := readJob(x.one(ctx, lockJob, order[0])); err != nil {
					return err
				}
				first()
				_, err := readJob(x.one(ctx, lockJob, order[1]))
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
}

// TestStandbyAbsent verifies that nothing is reported as done while a synchronous standby is absent: a commit
// whose session is terminated while it waits for the standby is visible, but a failover would lose it.
func TestStandbyAbsent(t *testing.T) {
	server := startServer(t)
	s := openURL(t, server.url)
	key := func(i int) job.Key { return job.Key{Name: fmt.Sprint("key ", i)} }
	lease := job.Lease{Owner: "owner", Epoch: 1, Until: t0.Add(time.Hour)}
	ok(t, s.Create(t.Context(), newJob("settled", 100)))
	for name, do := range map[string]func(i int) error{
		"settle": func(i int) error {
			ref := job.Ref{JobID: "settled", Index: i}
			_, _, err := s.Change(t.Context(), ref, settled(ref), t0)
			return err
		},
		"reserve": func(i int) error { return s.Reserve(t.Context(), fmt.Sprint("reserved ", i), lease, key(i)) },
	} {
		t.Run(name, func(t *testing.T) {
			standby := func(names string) {
				testDatabase{"postgres", server.url}.execute(t, `ALTER SYSTEM SET synchronous_standby_names = '`+names+`'`, `SELECT pg_reload_conf()`)
			}
			standby("absent")
			t.Cleanup(func() { standby("") })
			begin := func(do func(int) error, i int) chan error {
				result := make(chan error, 1)
				go func() { result <- do(i) }()
				return result
			}
			// inWait waits until n sessions wait for the standby, and returns one of them, or 0 and the result of a
			// call that did not wait.
			inWait := func(n int, result <-chan error) (pid int, err error) {
				t.Helper()
				limit := time.After(30 * time.Second)
				for {
					var there int
					ok(t, pool(s).QueryRow(t.Context(), `SELECT count(*), coalesce(max(pid), 0) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`).Scan(&there, &pid))
					if there >= n {
						return pid, nil
					}
					select {
					case err := <-result:
						return 0, err
					case <-limit:
						t.Fatalf("fewer than %d sessions wait for the standby", n)
					default:
					}
				}
			}
			i, pid := -1, 0
			var first chan error
			for pid == 0 { // until the setting is in effect
				i++
				first = begin(do, i)
				var err error
				pid, err = inWait(1, first)
				ok(t, err)
			}
			testDatabase{"postgres", server.url}.execute(t, fmt.Sprintf(`SELECT pg_terminate_backend(%d)`, pid))
			if err := <-first; !errors.Is(err, job.ErrUnavailable) {
				t.Fatalf("a commit that lost its session returned %v, want ErrUnavailable", err)
			}
			calls := []chan error{begin(do, i)}
			if name == "reserve" {
				calls = append(calls, begin(func(i int) error { _, err := s.Keyed(t.Context(), key(i)); return err }, i))
			}
			for at, call := range calls {
				if pid, err := inWait(len(calls), call); pid == 0 {
					t.Fatalf("call %d returned %v without waiting for the standby", at, err)
				}
			}
			standby("")
			for i, want := range [][]error{{nil, job.ErrKeyTaken}, {nil}}[:len(calls)] {
				if err := <-calls[i]; !slices.ContainsFunc(want, func(e error) bool { return errors.Is(err, e) }) {
					t.Errorf("call %d returned %v after the standby was removed, want one of %v", i, err, want)
				}
			}
		})
	}
}
