package main

import (
	"bufio"
	"context"
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

// servers are a real RabbitMQ and MinIO of our own, in one folder, started and
// ended by deployments/local/servers.sh.
type servers struct {
	script, dir string // servers.sh, and the folder that it is given
	ctlScript   string // rabbitmqctl for this broker

	broker      *url.URL // amqp://user:password@host:port/
	storage     *url.URL // http://host:port
	key, secret string   // of the storage
}

// startServers starts both and waits until they answer.
func startServers(ctx context.Context, root, dir string) (*servers, error) {
	s := &servers{
		script: filepath.Join(root, "deployments", "local", "servers.sh"), dir: dir, ctlScript: filepath.Join(dir, "rabbitmqctl"),
	}
	if err := s.run(ctx, "start", "rabbitmq", "minio"); err != nil {
		return nil, err
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		return nil, fmt.Errorf("read what the servers are: %w", err)
	}
	vars := map[string]string{}
	for field := range strings.FieldsSeq(string(env)) {
		if name, value, ok := strings.Cut(field, "="); ok {
			vars[name] = strings.Trim(value, "'")
		}
	}
	return s, s.know(func(name string) string { return vars[name] })
}

// know learns the addresses from what servers.sh has written down.
func (s *servers) know(env func(name string) string) (err error) {
	if s.broker, err = url.Parse(env("TEST_RABBITMQ_URL")); err != nil {
		return fmt.Errorf("URL of the broker: %w", err)
	}
	if s.storage, err = url.Parse(env("TEST_S3_ENDPOINT")); err != nil {
		return fmt.Errorf("URL of the storage: %w", err)
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

// close ends both.
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

// signal sends one to a server.
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
	return nil
}
