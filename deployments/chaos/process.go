package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// build builds the services, and more packages, into dir, with the race detector and
// the failpoints.
func build(ctx context.Context, root, dir string, more ...string) error {
	args := []string{"build", "-race", "-tags=failpoints", "-o", dir + "/", "./gateway/cmd/gateway", "./analyzer/cmd/analyzer", "./processor/cmd/processor"}
	cmd := exec.CommandContext(ctx, "go", append(args, more...)...) //nolint:gosec // Our own source.
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

// process is a program with one address and one log. It is restarted whenever it
// ends by itself.
type process struct {
	name, program, addr, log string
	env                      []string

	mu     sync.Mutex // guards what follows
	wanted bool       // it is meant to run
	cmd    *exec.Cmd
	over   chan error // receives the error of the end that was wanted
	deaths int        // number of times that it ended by itself
	falls  []string   // those ends that no failpoint explains
}

func newProcess(name, program, dir string, env ...string) (*process, error) {
	addr, err := freeAddr()
	env = append([]string{"HTTP_ADDR=" + addr, "LOG_FORMAT=json", "PATH=/nowhere", "HOME=" + dir, "DATA_DIR=" + filepath.Join(dir, "data")}, env...)
	return &process{name: name, program: program, addr: addr, env: env, log: filepath.Join(dir, name+".log")}, err
}

// start starts the process, if it is not meant to run already.
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
	p.cmd = exec.Command(p.program) //nolint:gosec,noctx // Our own binary, which end ends.
	p.cmd.Env = p.env
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		defer file.Close() // The process has its own descriptor.
		p.cmd.Stdout, p.cmd.Stderr = file, file
		err = p.cmd.Start()
	}
	if err != nil {
		p.falls = append(p.falls, fmt.Sprintf("start %s: %v", p.name, err))
	}
}

func (p *process) supervise(over chan<- error) {
	for {
		err := p.cmd.Wait()
		p.mu.Lock()
		if p.wanted {
			p.deaths++
			if err == nil || err.Error() != "signal: killed" { // At a failpoint the process kills itself.
				p.falls = append(p.falls, fmt.Sprintf("%s ended by itself: %v", p.name, err))
			}
			err = nil
			p.mu.Unlock()
			pause(context.Background(), 150*time.Millisecond)
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

// end sends the signal and waits for the end, if the process is meant to run. It
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
		<-over
		return fmt.Errorf("%s did not end within 30 s of signal %s", p.name, s)
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

// ends returns how often the process ended by itself, and those of the ends that no
// failpoint explains.
func (p *process) ends() (deaths int, falls []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaths, p.falls
}

// awaitReady waits until the service is ready, for readyTime at most.
func (p *process) awaitReady(ctx context.Context) error { return p.await(ctx, "/readyz", readyTime) }

// await waits for 200 from the path.
func (p *process) await(ctx context.Context, path string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last answer
	var falls []string
	err := poll(ctx, 50*time.Millisecond, func() bool {
		if a, err := get(ctx, p.url(path)); err == nil {
			last = a
		}
		_, falls = p.ends()
		return last.status == http.StatusOK || len(falls) > 0
	})
	if err != nil || len(falls) > 0 {
		return fmt.Errorf("%s of %s: %s (%w) %q", path, p.name, last, err, falls)
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
