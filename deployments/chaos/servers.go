package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// servers are a RabbitMQ, a MinIO and a PostgreSQL in one folder, which
// deployments/local/servers.sh starts and ends.
type servers struct {
	dir         string
	rabbitmqctl string // path of the script for this broker
	vhost       string // of the broker

	broker, storage, database *url.URL
	key, secret               string // of the storage
}

var assignments = regexp.MustCompile(`(TEST_\w+)='([^']*)'`)

// startServers starts the servers and reads the addresses that servers.sh writes.
func startServers(ctx context.Context, dir string) (*servers, error) {
	s := &servers{dir: dir, rabbitmqctl: filepath.Join(dir, "rabbitmqctl"), vhost: "/"}
	if err := s.run(ctx, "start", "rabbitmq", "minio", "postgres"); err != nil {
		return nil, err
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	vars := map[string]string{}
	for _, match := range assignments.FindAllStringSubmatch(string(env), -1) {
		vars[match[1]] = match[2]
	}
	return s, errors.Join(err, s.use(func(name string) string { return vars[name] }))
}

// use takes the addresses from the variables.
func (s *servers) use(env func(name string) string) (err error) {
	parse := func(name string) *url.URL {
		u, wrong := url.Parse(env(name))
		err = errors.Join(err, wrong)
		return u
	}
	s.broker, s.storage, s.database = parse("TEST_RABBITMQ_URL"), parse("TEST_S3_ENDPOINT"), parse("TEST_POSTGRES_URL")
	s.key, s.secret = env("TEST_S3_ACCESS_KEY"), env("TEST_S3_SECRET_KEY")
	return err
}

// command runs a program, even when ctx has ended: a server that was stopped is
// started again in any case.
func command(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // Our own scripts.
	cmd.WaitDelay = time.Second                       // The servers inherit the output.
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %q: %w: %.2000s", filepath.Base(program), args, err, out)
	}
	return string(out), nil
}

// run calls servers.sh.
func (s *servers) run(ctx context.Context, verb string, names ...string) error {
	_, err := command(ctx, "deployments/local/servers.sh", append([]string{verb, s.dir}, names...)...)
	return err
}

// ctl calls rabbitmqctl.
func (s *servers) ctl(ctx context.Context, args ...string) (string, error) {
	return command(ctx, s.rabbitmqctl, args...)
}

// sql runs one statement on PostgreSQL.
func (s *servers) sql(ctx context.Context, statement string) error {
	_, err := command(ctx, filepath.Join(s.dir, "psql"), statement)
	return err
}

// queues returns the number of messages, delivered ones included, in each queue that
// is not empty.
func (s *servers) queues(ctx context.Context) (map[string]int, error) {
	out, err := s.ctl(ctx, "list_queues", "--vhost", s.vhost, "--quiet", "--no-table-headers", "name", "messages")
	list := map[string]int{}
	for line := range strings.Lines(out) {
		name, count, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if n, err := strconv.Atoi(count); err == nil && n > 0 {
			list[name] = n
		}
	}
	return list, err
}

// leaderless returns the names of the quorum queues that have no leader and so do
// not respond. A broker that was killed just after it had created a queue may leave
// it like that for good. The gateway's own test queues do not need a leader.
func (s *servers) leaderless(ctx context.Context) (names string, err error) {
	out, err := s.ctl(ctx, "eval", `[element(4, amqqueue:get_name(Q)) || Q <- rabbit_amqqueue:list(<<"`+s.vhost+`">>), amqqueue:get_type(Q) =:= rabbit_quorum_queue,
		string:prefix(element(4, amqqueue:get_name(Q)), "imagebatch.") =:= nomatch,
		element(1, ra:consistent_query(amqqueue:get_pid(Q), fun(_) -> ok end, 3000)) =/= ok].`)
	return strings.Trim(strings.Join(strings.Fields(out), ""), "[]"), err
}

// behead removes the leader of a queue as such a death does: its replica starts
// without its data and never starts an election.
func (s *servers) behead(ctx context.Context, queue string) error {
	_, err := s.ctl(ctx, "eval", `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"`+s.vhost+`">>, queue, <<"`+queue+`">>)),
		ok = ra:force_delete_server(quorum_queues, amqqueue:get_pid(Q)), rabbit_quorum_queue:recover(<<"`+s.vhost+`">>, [Q]).`)
	return err
}
