package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The processes of the system, in the order in which an image meets them.
var (
	services  = []string{"gateway", "analyzer", "processor"}
	processes = append(slices.Clip(services), "rabbitmq", "minio")
)

// buildServices builds the services as `make build` does.
func buildServices(ctx context.Context, root, dir string) error {
	for _, name := range services {
		if err := goBuild(ctx, filepath.Join(root, name), "build", "-trimpath", "-o", filepath.Join(dir, "bin", name), "./cmd/"+name); err != nil {
			return err
		}
	}
	return nil
}

// goBuild runs a go command in a module, outside of the workspace and without
// cgo, as what is shipped is built.
func goBuild(ctx context.Context, module string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // Our own source.
	cmd.Dir, cmd.Env = module, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// system is the trio on its servers.
type system struct {
	root, dir, script string
	running           map[string]*exec.Cmd // the services, by name
	order             []string             // in which they were started
	gateway           string               // host:port
	pids              map[string]int       // of processes
}

// newSystem is one that nothing was started of.
func newSystem(root, dir string) (*system, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("find the repository: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("find the folder: %w", err)
	}
	return &system{
		root: root, dir: dir, script: filepath.Join(root, "deployments", "local", "servers.sh"),
		running: map[string]*exec.Cmd{}, pids: map[string]int{},
	}, nil
}

// clear ends the servers that a killed run may have left and forgets all it knew.
// Programs stay: Go knows best what to build again.
func (s *system) clear(ctx context.Context) error {
	if err := s.servers(ctx, "stop"); err != nil {
		return err
	}
	for _, old := range []string{"servers", "gateway", "pictures", "log"} {
		if err := os.RemoveAll(filepath.Join(s.dir, old)); err != nil {
			return fmt.Errorf("clear the folder: %w", err)
		}
	}
	for _, folder := range []string{"bin", "log"} {
		if err := os.MkdirAll(filepath.Join(s.dir, folder), 0o750); err != nil {
			return fmt.Errorf("make the folder: %w", err)
		}
	}
	return nil
}

// servers calls servers.sh. It is not cut short by the end of ctx: what was begun
// must be ended.
func (s *system) servers(ctx context.Context, verb string, names ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.script, append([]string{verb, filepath.Join(s.dir, "servers")}, names...)...) //nolint:gosec // Our own script.
	cmd.WaitDelay = time.Second                                                                                     // the servers must not hold its output
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s servers: %w: %.2000s", verb, err, out)
	}
	return nil
}

// start starts servers and services and waits until all of them are ready.
func (s *system) start(ctx context.Context) error {
	env, err := s.startServers(ctx)
	if err != nil {
		return err
	}
	for _, name := range services {
		if err := s.startService(ctx, name, env); err != nil {
			return err
		}
	}
	return nil
}

// startServers starts the servers and returns the environment for the services.
func (s *system) startServers(ctx context.Context) ([]string, error) {
	if err := s.servers(ctx, "start", "rabbitmq", "minio"); err != nil {
		return nil, err
	}
	for _, name := range []string{"rabbitmq", "minio"} {
		text, err := os.ReadFile(filepath.Join(s.dir, "servers", "run", name+".pid"))
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		id, _, _ := strings.Cut(string(text), " ")
		if s.pids[name], err = strconv.Atoi(id); err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
	}
	return s.environment()
}

// startService starts one and waits until it is ready. Every service makes its
// buckets, so the first one is ready before the others begin: three at once would be
// refused by MinIO now and then, and try again later.
func (s *system) startService(ctx context.Context, name string, env []string) error {
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	if err := s.startProgram(name, name, append(slices.Clip(env), "HTTP_ADDR="+addr)); err != nil {
		return err
	}
	if name == "gateway" {
		s.gateway = addr
	}
	return awaitReady(ctx, name, addr)
}

// environment is the configuration of the services: where things are, and the
// defaults for everything else.
func (s *system) environment() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "servers", "env"))
	if err != nil {
		return nil, fmt.Errorf("read what the servers are: %w", err)
	}
	vars := map[string]string{}
	for field := range strings.FieldsSeq(string(text)) {
		if name, value, ok := strings.Cut(field, "="); ok {
			vars[name] = strings.Trim(value, "'")
		}
	}
	env := []string{
		"RABBITMQ_URL=" + vars["TEST_RABBITMQ_URL"], "S3_ENDPOINT=" + vars["TEST_S3_ENDPOINT"],
		"S3_ACCESS_KEY=" + vars["TEST_S3_ACCESS_KEY"], "S3_SECRET_KEY=" + vars["TEST_S3_SECRET_KEY"],
		"S3_CREATE_BUCKETS=true", "DATA_DIR=" + filepath.Join(s.dir, "gateway"),
		"LOG_FORMAT=json", "HOME=" + s.dir, "PATH=/nowhere",
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env, nil
}

// setting is the value of a variable in an environment.
func setting(env []string, name string) string {
	for _, line := range env {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

// startProgram starts a service under a name of its own, since there may be several of
// one.
func (s *system) startProgram(program, name string, env []string) error {
	log, err := os.Create(filepath.Join(s.dir, "log", name+".log"))
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()                                         // the process has its own descriptor
	cmd := exec.Command(filepath.Join(s.dir, "bin", program)) //nolint:gosec,noctx // Our own binary, ended by stop.
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	s.running[name], s.pids[name] = cmd, cmd.Process.Pid
	s.order = append(s.order, name)
	return nil
}

// end ends a service as an operator does. One that was ended is left alone.
func (s *system) end(name string) error {
	cmd := s.running[name]
	if cmd == nil {
		return nil
	}
	delete(s.running, name)
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s ended: %w; see %s", name, err, filepath.Join(s.dir, "log", name+".log"))
	}
	return nil
}

// crash kills a service.
func (s *system) crash(name string) {
	cmd := s.running[name]
	delete(s.running, name)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed is what it is to be
}

// stop ends what start began. It may be called again.
func (s *system) stop(ctx context.Context) error {
	var errs []error
	for _, name := range s.order {
		errs = append(errs, s.end(name))
	}
	return errors.Join(append(errs, s.servers(ctx, "stop"))...)
}

// memory tells that of each process.
func (s *system) memory() (map[string]memory, error) {
	all := map[string]memory{}
	for _, name := range processes {
		m, err := resident(s.pids[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = m
	}
	return all, nil
}

// spent is the processor time of each process so far.
func (s *system) spent() (map[string]time.Duration, error) {
	all := map[string]time.Duration{}
	for _, name := range processes {
		d, err := spent(s.pids[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = d
	}
	return all, nil
}

func awaitReady(ctx context.Context, name, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", http.NoBody)
		if err != nil {
			return fmt.Errorf("ask %s: %w", name, err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", name, ctx.Err())
		}
	}
}

// freeAddr is an address on which nothing listens.
func freeAddr(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
