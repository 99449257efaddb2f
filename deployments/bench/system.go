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
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The processes of the system, in the order in which an image passes them.
var (
	services  = []string{"gateway", "analyzer", "processor"}
	processes = append(slices.Clip(services), "rabbitmq", "store")
)

// system is the three services and their servers.
type system struct {
	root, dir  string
	broker     string               // URL of RabbitMQ
	env        []string             // configuration of the services
	s3Endpoint string               // URL
	running    map[string]*exec.Cmd // services by name
	order      []string             // names in start order
	gateway    string               // host:port
	pids       map[string]int       // by process name
}

// newSystem builds the services and removes an earlier run from the folder. It starts
// no service and no server.
func newSystem(ctx context.Context, root, dir string) (*system, error) {
	root, err := filepath.Abs(root)
	dir, failed := filepath.Abs(dir)
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("find the folders: %w", err)
	}
	s := systemAt(root, dir)
	if err := s.clear(ctx); err != nil {
		return nil, err
	}
	progress("building the services")
	return s, s.build(ctx)
}

// systemAt returns the system of the sources in root, which keeps its files in dir. Both paths are absolute.
func systemAt(root, dir string) *system {
	return &system{root: root, dir: dir, running: map[string]*exec.Cmd{}, pids: map[string]int{}}
}

// clear removes the servers and the data that a killed run leaves behind. The programs stay: go
// build knows which ones to build again.
func (s *system) clear(ctx context.Context) error {
	err := s.servers(ctx, "stop")
	if err != nil {
		return err
	}
	for _, old := range []string{"servers", "gateway", "pictures", "log"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, old)))
	}
	if err = errors.Join(err, os.MkdirAll(filepath.Join(s.dir, "pictures"), 0o750)); err != nil {
		return fmt.Errorf("clear the folder: %w", err)
	}
	return nil
}

// build builds the services as `make build` does. Without -buildvcs=false, the sources of an
// earlier commit would get the version of the repository in which they lie.
func (s *system) build(ctx context.Context) error {
	for _, folder := range []string{"bin", "log"} {
		if err := os.MkdirAll(filepath.Join(s.dir, folder), 0o750); err != nil {
			return fmt.Errorf("create the folder: %w", err)
		}
	}
	for _, name := range services {
		if err := s.goBuild(ctx, name, "build", "-trimpath", "-tags=grpcnotrace", "-buildvcs=false", "-o", filepath.Join(s.dir, "bin", name), "./cmd/"+name); err != nil {
			return err
		}
	}
	return nil
}

// goBuild runs a go command in a module the way releases are built: outside the workspace
// and without cgo.
func (s *system) goBuild(ctx context.Context, module string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // The source is ours.
	cmd.Dir, cmd.Env = filepath.Join(s.root, module), append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// servers calls servers.sh. It runs to its end even if ctx is done, because a server that
// was started must be stopped.
func (s *system) servers(ctx context.Context, verb string, names ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	script := filepath.Join(s.root, "deployments", "local", "servers.sh")
	cmd := exec.CommandContext(ctx, script, append([]string{verb, filepath.Join(s.dir, "servers")}, names...)...) //nolint:gosec // The script is ours.
	cmd.WaitDelay = time.Second                                                                                   // the servers inherit the script's output
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s servers: %w: %.2000s", verb, err, out)
	}
	return nil
}

// start starts the servers and then the services.
func (s *system) start(ctx context.Context, names ...string) error {
	if _, err := s.startServers(ctx, "minio"); err != nil {
		return err
	}
	return s.startServices(ctx, names...)
}

// startServers starts RabbitMQ and a store. It configures the services with their addresses and
// credentials, and with defaults for everything else. It returns all variables of the servers.
func (s *system) startServers(ctx context.Context, store string) (map[string]string, error) {
	if err := s.servers(ctx, "start", "rabbitmq", store); err != nil {
		return nil, err
	}
	for process, name := range map[string]string{"rabbitmq": "rabbitmq", "store": store} {
		text, err := os.ReadFile(filepath.Join(s.dir, "servers", "run", name+".pid"))
		pid := 0
		if err == nil {
			_, err = fmt.Sscan(string(text), &pid)
		}
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		s.pids[process] = pid
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "servers", "env"))
	if err != nil {
		return nil, fmt.Errorf("read the environment of the servers: %w", err)
	}
	vars := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+)='([^']*)'`).FindAllStringSubmatch(string(text), -1) {
		vars[m[1]] = m[2]
	}
	s.broker, s.s3Endpoint = vars["TEST_RABBITMQ_URL"], vars["TEST_S3_ENDPOINT"]
	s.env = []string{
		"RABBITMQ_URL=" + s.broker, "S3_ENDPOINT=" + s.s3Endpoint,
		"S3_ACCESS_KEY=" + vars["TEST_S3_ACCESS_KEY"], "S3_SECRET_KEY=" + vars["TEST_S3_SECRET_KEY"],
		"S3_CREATE_BUCKETS=true", "DATA_DIR=" + filepath.Join(s.dir, "gateway"),
		"LOG_FORMAT=json", "HOME=" + s.dir, "PATH=/nowhere",
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if value := os.Getenv(name); value != "" {
			s.env = append(s.env, name+"="+value)
		}
	}
	return vars, nil
}

// startServices starts services one after the other: each creates its buckets, and MinIO
// occasionally rejects three at the same time.
func (s *system) startServices(ctx context.Context, names ...string) error {
	for _, name := range names {
		addr, err := s.startService(ctx, name, name)
		if err != nil {
			return err
		}
		if name == "gateway" {
			s.gateway = addr
		}
	}
	return nil
}

// startService starts a program, waits until it is ready, and returns its address. One
// program may run several times under different names.
func (s *system) startService(ctx context.Context, program, name string, env ...string) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	addr := l.Addr().String()
	_ = l.Close() // the service opens it
	log, err := os.Create(filepath.Join(s.dir, "log", name+".log"))
	if err != nil {
		return "", fmt.Errorf("open log: %w", err)
	}
	defer log.Close()                                         // the process has its own descriptor
	cmd := exec.Command(filepath.Join(s.dir, "bin", program)) //nolint:gosec,noctx // Our own binary, ended by stop.
	cmd.Env, cmd.Stdout, cmd.Stderr = slices.Concat(s.env, env, []string{"HTTP_ADDR=" + addr}), log, log
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", name, err)
	}
	s.running[name], s.pids[name], s.order = cmd, cmd.Process.Pid, append(s.order, name)

	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := get(ctx, "http://"+addr+"/readyz")
		if err == nil {
			return addr, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("%s is not ready: %w", name, err)
		}
	}
}

// get returns the body of a 200 response.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("create request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("get: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return string(text), err
}

// end stops a service with SIGTERM, unless it was stopped before.
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

// endServices stops all services. It may be called more than once.
func (s *system) endServices() error {
	var errs []error
	for _, name := range s.order {
		errs = append(errs, s.end(name))
	}
	s.order = nil
	return errors.Join(errs...)
}

// stop stops all services and servers. It may be called more than once.
func (s *system) stop(ctx context.Context) error {
	return errors.Join(s.endServices(), s.servers(ctx, "stop"))
}
