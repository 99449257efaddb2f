package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// servers are a real RabbitMQ and MinIO of our own, and a PostgreSQL for the runs
// that need one, in one folder, started and ended by deployments/local/servers.sh.
type servers struct {
	script, dir string // servers.sh, and the folder that it is given
	ctlScript   string // rabbitmqctl for this broker
	ports       *ports // for what runs on these servers

	broker      *url.URL // amqp://user:password@host:port/
	storage     *url.URL // http://host:port
	database    *url.URL // postgres://user:password@host:port/database; nil before the first run that needs it
	key, secret string   // of the storage
}

// startServers starts RabbitMQ and MinIO and waits until they answer.
func startServers(ctx context.Context, root, dir string, p *ports) (*servers, error) {
	s := &servers{
		script: filepath.Join(root, "deployments", "local", "servers.sh"), dir: dir, ctlScript: filepath.Join(dir, "rabbitmqctl"), ports: p,
	}
	// What a run before has left is nobody's.
	if err := s.run(ctx, "stop"); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear folder of the servers: %w", err)
	}
	if err := s.run(ctx, "start", "rabbitmq", "minio"); err != nil {
		return nil, err
	}
	return s, s.learn()
}

// learn reads what servers.sh has written down.
func (s *servers) learn() error {
	env, err := os.ReadFile(filepath.Join(s.dir, "env"))
	if err != nil {
		return fmt.Errorf("read what the servers are: %w", err)
	}
	vars := map[string]string{}
	for field := range strings.FieldsSeq(string(env)) {
		if name, value, ok := strings.Cut(field, "="); ok {
			vars[name] = strings.Trim(value, "'")
		}
	}
	return s.know(func(name string) string { return vars[name] })
}

// know learns the addresses.
func (s *servers) know(env func(name string) string) (err error) {
	if s.broker, err = url.Parse(env("TEST_RABBITMQ_URL")); err != nil {
		return fmt.Errorf("URL of the broker: %w", err)
	}
	if s.storage, err = url.Parse(env("TEST_S3_ENDPOINT")); err != nil {
		return fmt.Errorf("URL of the storage: %w", err)
	}
	if address := env("TEST_POSTGRES_URL"); address != "" {
		if s.database, err = url.Parse(address); err != nil {
			return fmt.Errorf("URL of the database: %w", err)
		}
	}
	s.key, s.secret = env("TEST_S3_ACCESS_KEY"), env("TEST_S3_SECRET_KEY")
	return nil
}

// commandTime bounds one command about a server.
const commandTime = 90 * time.Second

// run calls servers.sh, which outlives a ctx that ends: a server that was begun
// to be stopped is started again all the same.
func (s *servers) run(ctx context.Context, verb string, names ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.script, append([]string{verb, s.dir}, names...)...) //nolint:gosec // Our own script.
	cmd.WaitDelay = time.Second                                                           // the servers must not hold its output
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s servers %v: %w: %.2000s", verb, names, err, out)
	}
	return nil
}

// close ends all of them.
func (s *servers) close(ctx context.Context) error { return s.run(ctx, "stop") }

// ctl speaks to the broker as its operator.
func (s *servers) ctl(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.ctlScript, args...).CombinedOutput() //nolint:gosec // Our own script.
	if err != nil {
		return "", fmt.Errorf("rabbitmqctl %v: %w: %.2000s", args, err, out)
	}
	return string(out), nil
}

// vhost is the part of the broker that is ours.
func (s *servers) vhost() string {
	if name := strings.TrimPrefix(s.broker.Path, "/"); name != "" {
		return name
	}
	return "/"
}

// queues tells how many messages each queue holds, delivered ones included.
func (s *servers) queues(ctx context.Context) (map[string]int, error) {
	out, err := s.ctl(ctx, "list_queues", "--vhost", s.vhost(), "--quiet", "--no-table-headers", "name", "messages")
	if err != nil {
		return nil, err
	}
	list := map[string]int{}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		name, count, ok := strings.Cut(lines.Text(), "\t")
		if n, err := strconv.Atoi(count); ok && err == nil {
			list[name] = n
		}
	}
	return list, nil
}

// wipe kills the broker, deletes all it knows, and starts it again.
func (s *servers) wipe(ctx context.Context) error {
	if err := s.run(ctx, "kill", "rabbitmq"); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "rabbitmq", "data")); err != nil {
		return fmt.Errorf("wipe the broker's disk: %w", err)
	}
	return s.run(ctx, "start", "rabbitmq")
}

// leaderless names the quorum queues that have no leader and so answer nothing. A
// broker that was killed just after it had made one may leave it like that for good.
// Those of our own, which are only looked at, need none.
func (s *servers) leaderless(ctx context.Context) (names string, err error) {
	out, err := s.ctl(ctx, "eval", `[element(4, amqqueue:get_name(Q)) || Q <- rabbit_amqqueue:list(<<"`+s.vhost()+`">>), amqqueue:get_type(Q) =:= rabbit_quorum_queue,
		string:prefix(element(4, amqqueue:get_name(Q)), "imagebatch.") =:= nomatch,
		element(1, ra:consistent_query(amqqueue:get_pid(Q), fun(_) -> ok end, 3000)) =/= ok].`)
	if err != nil {
		return "", err
	}
	return strings.Trim(strings.Join(strings.Fields(out), ""), "[]"), nil
}

// behead takes the leader from a queue as such a death does: its replica begins
// anew, without what it knew, and never calls an election.
func (s *servers) behead(ctx context.Context, queue string) error {
	_, err := s.ctl(ctx, "eval", `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"`+s.vhost()+`">>, queue, <<"`+queue+`">>)),
		ok = ra:force_delete_server(quorum_queues, amqqueue:get_pid(Q)), rabbit_quorum_queue:recover(<<"`+s.vhost()+`">>, [Q]).`)
	return err
}

// sound sees that the broker is one to begin a run on: a queue that an earlier run
// has left without a leader would be held against this one.
func (s *servers) sound(ctx context.Context) error {
	names, err := s.leaderless(ctx)
	if err != nil || names == "" {
		return err
	}
	fmt.Printf("the broker in %s had queues without a leader and was wiped: %s\n", s.dir, names)
	return s.wipe(ctx)
}

// noAlarms gives the broker back the limits of its configuration.
func (s *servers) noAlarms(ctx context.Context) error {
	_, memory := s.ctl(ctx, "set_vm_memory_high_watermark", "0.4")
	_, disk := s.ctl(ctx, "set_disk_free_limit", "200MB")
	return errors.Join(memory, disk)
}

// sql does one statement on PostgreSQL as its operator.
func (s *servers) sql(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(s.dir, "psql"), statement).CombinedOutput() //nolint:gosec // Our own script.
	if err != nil {
		return fmt.Errorf("psql %q: %w: %.2000s", statement, err, out)
	}
	return nil
}

// createDatabase makes an empty database, and starts PostgreSQL when nobody has
// needed it before.
func (s *servers) createDatabase(ctx context.Context, name string) error {
	if err := s.run(ctx, "start", "postgres"); err != nil {
		return err
	}
	if err := s.learn(); err != nil {
		return err
	}
	if err := s.dropDatabase(ctx, name); err != nil {
		return err
	}
	return s.sql(ctx, "CREATE DATABASE "+name)
}

func (s *servers) dropDatabase(ctx context.Context, name string) error {
	return s.sql(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

// endSessions ends all sessions on a database, as an operator or a failover does.
func (s *servers) endSessions(ctx context.Context, name string) error {
	return s.sql(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'")
}

// signal sends one to a server and to the processes that it has made: a
// PostgreSQL has one for each session.
func (s *servers) signal(name string, sig syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(s.dir, "run", name+".pid"))
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	id, _, _ := strings.Cut(string(text), " ")
	pid, err := strconv.Atoi(id)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("signal %s: %w", name, err)
	}
	// It is stopped by now, if that was the signal, and makes no more of them.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return fmt.Errorf("find the processes of %s: %w", name, err)
	}
	for child := range strings.FieldsSeq(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(pid, sig) // it may be gone at this moment
		}
	}
	return nil
}
