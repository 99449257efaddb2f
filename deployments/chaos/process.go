package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// build builds the services, and more packages, into dir, with the race detector and
// the failpoints.
func build(ctx context.Context, root, dir string, more ...string) error {
	args := []string{"build", "-race", "-ldflags=-w", "-tags=failpoints", "-o", dir + "/", "./gateway/cmd/gateway", "./analyzer/cmd/analyzer", "./processor/cmd/processor"}
	cmd := exec.CommandContext(ctx, "go", append(args, more...)...) //nolint:gosec // The source is ours.
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the services: %w\n%s", err, out)
	}
	return nil
}

var ports atomic.Uint32 // number of ports that were tried

// freeAddr returns a free address on loopback. Its port is below the range of
// outgoing connections, so that it is still free when a killed service returns.
func freeAddr() (string, error) {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+(os.Getpid()*37+int(ports.Add(1)))%8000)
		if l, err := net.Listen("tcp", addr); err == nil { //nolint:noctx // It is closed immediately.
			return addr, l.Close()
		}
	}
	return "", errors.New("no port from 12000 to 19999 is free")
}

// process is a program with one address and one log. It is restarted when it exits
// by itself.
type process struct {
	name, program, addr, log string
	env                      []string

	mu          sync.Mutex // guards the fields below
	wanted      bool       // whether it should run
	cmd         *exec.Cmd
	over        chan error // receives the error of a requested end
	deaths      int        // number of times that it exited by itself
	unexplained []string   // exits that no failpoint explains
}

func newProcess(name, program, dir string, env ...string) (*process, error) {
	addr, err := freeAddr()
	env = append([]string{"HTTP_ADDR=" + addr, "LOG_FORMAT=json", "PATH=/nowhere", "HOME=" + dir, "DATA_DIR=" + filepath.Join(dir, "data")}, env...)
	return &process{name: name, program: program, addr: addr, env: env, log: filepath.Join(dir, name+".log")}, err
}

// start starts the process, unless it should already run.
func (p *process) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.wanted {
		p.wanted, p.over = true, make(chan error, 1)
		p.launch()
		go p.supervise(p.over) // end waits for it.
	}
}

// launch runs the program. The caller holds p.mu.
func (p *process) launch() {
	p.cmd = exec.Command(p.program) //nolint:gosec,noctx // The binary is ours, and end stops it.
	p.cmd.Env = p.env
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		defer file.Close() // The process has its own descriptor.
		p.cmd.Stdout, p.cmd.Stderr = file, file
		err = p.cmd.Start()
	}
	if err != nil {
		p.unexplained = append(p.unexplained, fmt.Sprintf("start %s: %v", p.name, err))
	}
}

func (p *process) supervise(over chan<- error) {
	for {
		err := p.cmd.Wait()
		p.mu.Lock()
		if p.wanted {
			p.deaths++
			if err == nil || err.Error() != "signal: killed" { // At a failpoint the process kills itself.
				p.unexplained = append(p.unexplained, fmt.Sprintf("%s ended by itself: %v", p.name, err))
			}
			err = nil
			p.mu.Unlock()
			<-time.After(150 * time.Millisecond)
			p.mu.Lock()
		}
		if !p.wanted {
			p.mu.Unlock()
			over <- err
			return
		}
		p.launch()
		p.mu.Unlock()
	}
}

// end sends the signal and waits until the process has ended, if it should run. It
// returns the error with which the process ended.
func (p *process) end(s syscall.Signal) error {
	p.mu.Lock()
	wanted, over := p.wanted, p.over
	p.wanted = false
	p.mu.Unlock()
	if !wanted {
		return nil
	}
	p.signal(s)
	select {
	case err := <-over:
		return err
	case <-time.After(30 * time.Second):
		p.signal(syscall.SIGKILL)
		return fmt.Errorf("%s did not end within 30 s of signal %s: %w", p.name, s, <-over)
	}
}

// kill ends the process with signal 9.
func (p *process) kill() { _ = p.end(syscall.SIGKILL) }

// restart kills the process and starts it again.
func (p *process) restart() {
	p.kill()
	p.start()
}

// signal sends a signal to the process, if it runs.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(s) // It may just have ended.
	}
}

// isStopped reports whether the process is stopped by a signal, or has ended.
func (p *process) isStopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd.Process == nil {
		return true
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	return err != nil || bytes.Contains(status, []byte("\nState:\tT"))
}

// ends returns how often the process exited by itself, and the exits that no failpoint
// explains.
func (p *process) ends() (deaths int, unexplained []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaths, p.unexplained
}

// awaitReady waits until the service is ready, at most readyTime.
func (p *process) awaitReady(ctx context.Context) error { return p.await(ctx, "/readyz", readyTime) }

// await waits until the path responds with 200.
func (p *process) await(ctx context.Context, path string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last response
	var unexplained []string
	err := poll(ctx, 50*time.Millisecond, func() bool {
		if a, err := get(ctx, p.url(path)); err == nil {
			last = a
		}
		_, unexplained = p.ends()
		return last.status == http.StatusOK || len(unexplained) > 0
	})
	if err != nil || len(unexplained) > 0 {
		return fmt.Errorf("%s of %s: %s (%w) %q", path, p.name, last, err, unexplained)
	}
	return nil
}

func (p *process) url(path string) string { return "http://" + p.addr + path }

// poll calls done until it returns true or ctx ends.
func poll(ctx context.Context, interval time.Duration, done func() bool) error {
	for !done() {
		if pause(ctx, interval); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// servers are a RabbitMQ, an S3 server and a PostgreSQL in one folder, which
// deployments/local/servers.sh starts and stops.
type servers struct {
	dir         string
	rabbitmqctl string // path of the script for this broker
	vhost       string // virtual host of the broker

	brokers, databases []*url.URL // one for each node
	storage            *url.URL
	s3                 string // name of the storage for servers.sh
	key, secret        string // credentials of the storage

	certificate *tls.Certificate // of the proxy of the storage; nil: it has no TLS
	authority   string           // file with the certificate that the services trust, or ""

	cluster *cluster // nil: there is one server of each kind
	other   *servers // a RabbitMQ of another version; nil unless the plan moves to it
}

var assignments = regexp.MustCompile(`(TEST_\w+)='([^']*)'`)

// startServers starts the servers and reads their addresses.
func startServers(ctx context.Context, dir, names string) (*servers, error) {
	s := &servers{dir: dir, rabbitmqctl: filepath.Join(dir, "rabbitmqctl"), vhost: "/"}
	if err := s.call(ctx, "start "+names); err != nil {
		return nil, err
	}
	return s, s.readEnv()
}

// readEnv reads the addresses that servers.sh has written.
func (s *servers) readEnv() error {
	env, err := os.ReadFile(filepath.Join(s.dir, "env"))
	vars := map[string]string{}
	for _, match := range assignments.FindAllStringSubmatch(string(env), -1) {
		vars[match[1]] = match[2]
	}
	return errors.Join(err, s.use(func(name string) string { return vars[name] }))
}

// use reads the addresses and credentials from the variables.
func (s *servers) use(env func(name string) string) (err error) {
	parse := func(name string) *url.URL {
		u, wrong := url.Parse(env(name))
		err = errors.Join(err, wrong)
		return u
	}
	s.brokers, s.databases = []*url.URL{parse("TEST_RABBITMQ_URL")}, []*url.URL{parse("TEST_POSTGRES_URL")}
	s.s3, s.storage = "minio", parse("TEST_S3_ENDPOINT")
	if env("TEST_S3_ENDPOINT") == "" {
		s.s3, s.storage = "versitygw", parse("TEST_VERSITYGW_ENDPOINT")
	}
	s.key, s.secret = env("TEST_S3_ACCESS_KEY"), env("TEST_S3_SECRET_KEY")
	return err
}

// command runs a program even if ctx is done, because a server that was stopped must be
// started again.
func command(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // The scripts are ours.
	cmd.WaitDelay = time.Second                       // The servers inherit the output.
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %q: %w: %.2000s", filepath.Base(program), args, err, out)
	}
	return string(out), nil
}

// call runs a command line: a call of rabbitmqctl, or a verb of servers.sh with the names
// of servers, of which storage is the one in use. In a cluster, it is for all nodes.
func (s *servers) call(ctx context.Context, line string) error {
	args := strings.Fields(strings.Replace(line, " storage", " "+s.s3, 1))
	if args[0] == "rabbitmqctl" {
		_, err := s.ctl(ctx, args[1:]...)
		return err
	}
	if s.cluster != nil {
		return s.cluster.call(ctx, args[0], args[1:])
	}
	_, err := command(ctx, "deployments/local/servers.sh", slices.Insert(args, 1, s.dir)...)
	return err
}

// ctl calls rabbitmqctl.
func (s *servers) ctl(ctx context.Context, args ...string) (string, error) {
	return command(ctx, s.rabbitmqctl, args...)
}

// sql runs one statement on PostgreSQL, or its primary.
func (s *servers) sql(ctx context.Context, statement string) error {
	dir := s.dir
	if s.cluster != nil {
		dir = s.cluster.nodes[s.cluster.primary].dir
	}
	_, err := command(ctx, filepath.Join(dir, "psql"), statement)
	return err
}

// queues returns the depth of each queue that
// is not empty.
func (s *servers) queues(ctx context.Context) (map[string]depth, error) {
	out, err := s.ctl(ctx, "list_queues", "--vhost", s.vhost, "--quiet", "--no-table-headers", "name", "messages", "messages_unacknowledged")
	list := map[string]depth{}
	for line := range strings.Lines(out) {
		var name string
		var d depth
		if _, err := fmt.Sscan(line, &name, &d.Messages, &d.Unacked); err == nil && d.Messages > 0 {
			list[name] = d
		}
	}
	return list, err
}

// depth counts the messages of a queue, and those of them that a consumer has not acknowledged.
type depth struct{ Messages, Unacked int }

// deleteQueue deletes a queue that may not exist. A node of a cluster that has just returned may need a moment.
func (s *servers) deleteQueue(ctx context.Context, name string) (err error) {
	limited, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	_ = poll(limited, time.Second, func() bool {
		_, err = s.ctl(ctx, "delete_queue", "--vhost", s.vhost, name)
		if err != nil && (strings.Contains(err.Error(), "Queue not found") || strings.Contains(err.Error(), "No such queue")) { // 4.0 and 4.3
			err = nil
		}
		return err == nil
	})
	return err
}

// leaderless returns the names of the quorum queues that have no leader and so do
// not respond. RabbitMQ 4.0 that is killed while it creates queues may leave the newest
// ones in this state permanently. The gateway's own empty queues do not need a leader.
func (s *servers) leaderless(ctx context.Context) (names string, err error) {
	out, err := s.ctl(ctx, "eval", `[element(4, amqqueue:get_name(Q)) || Q <- rabbit_amqqueue:list(<<"`+s.vhost+`">>), amqqueue:get_type(Q) =:= rabbit_quorum_queue,
		string:prefix(element(4, amqqueue:get_name(Q)), "imagebatch.") =:= nomatch,
		element(1, ra:consistent_query(amqqueue:get_pid(Q), {erlang, is_tuple, []}, 3000)) =/= ok].`)
	return strings.Trim(strings.Join(strings.Fields(out), ""), "[]"), err
}
