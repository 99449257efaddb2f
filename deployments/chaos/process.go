package main

import (
	"bytes"
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

// build builds the programs into dir, with the race detector and the failpoints.
func build(ctx context.Context, root, dir string, programs ...string) error {
	args := []string{"build", "-race", "-tags=failpoints", "-o", dir + string(filepath.Separator)}
	for _, program := range programs {
		folder := "./" + program + "/cmd/" + program
		if program == "standalone" {
			folder = "./deployments/standalone"
		}
		args = append(args, folder)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
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

// process is a program that is started and ended any number of times, on one
// address and with one log.
type process struct {
	name, program, addr string
	env                 []string
	log                 string // path

	mu         sync.Mutex // guards what follows
	supervised bool       // restart it when it has ended by itself
	wanted     bool       // it is meant to run
	running    *exec.Cmd
	over       chan struct{} // closed at the end of running
	err        error         // of that end
	deaths     int           // number of times that it ended by itself
	falls      []string      // those ends that no failpoint explains
}

func newProcess(name, program, addr, logs string, env ...string) *process {
	env = append([]string{"HTTP_ADDR=" + addr, "LOG_FORMAT=json", "PATH=/nowhere", "HOME=" + logs, "DATA_DIR=" + filepath.Join(logs, "data")}, env...)
	return &process{name: name, program: program, addr: addr, env: env, log: filepath.Join(logs, name+".log")}
}

// start starts the process, if it does not run.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
	return p.launch()
}

// supervise restarts the process from now on whenever it ends by itself.
func (p *process) supervise() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.supervised = true
}

// launch runs the program. The caller holds p.mu.
func (p *process) launch() error {
	if p.running != nil {
		return nil
	}
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()             // The process has its own descriptor.
	cmd := exec.Command(p.program) //nolint:gosec,noctx // Our own binary, which end ends.
	cmd.Stdout, cmd.Stderr, cmd.Env = file, file, p.env
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	over := make(chan struct{})
	p.running, p.over = cmd, over
	go p.await(cmd, over) // end and awaitEnd wait for it.
	return nil
}

// await waits for the end of the program.
func (p *process) await(cmd *exec.Cmd, over chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	p.running, p.err = nil, err
	if p.wanted {
		p.deaths++
		// Signal 9 comes from a failpoint, where the process kills itself.
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			p.falls = append(p.falls, fmt.Sprintf("%s ended by itself: %v", p.name, err))
		}
	}
	p.mu.Unlock()
	close(over)
	pause(context.Background(), 150*time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.supervised && p.wanted {
		if err := p.launch(); err != nil {
			p.falls = append(p.falls, err.Error())
		}
	}
}

// end sends the signal and waits for the end, if the process runs. It returns the
// error with which the process ended.
func (p *process) end(s syscall.Signal) error {
	p.mu.Lock()
	p.wanted = false
	cmd, over := p.running, p.over
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(s) // It may just have ended.
	select {
	case <-over:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.err
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		<-over
		return fmt.Errorf("%s did not end within 30 s of signal %s", p.name, s)
	}
}

// awaitEnd waits until the process has ended by itself.
func (p *process) awaitEnd(ctx context.Context) error {
	p.mu.Lock()
	over := p.over
	p.mu.Unlock()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s has not ended: %w", p.name, ctx.Err())
	}
}

// kill ends the process with signal 9.
func (p *process) kill() { _ = p.end(syscall.SIGKILL) }

// signal sends a signal to the process, if it runs.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		_ = p.running.Process.Signal(s) // It may just have ended.
	}
}

// ends returns how often the process ended by itself, and those of the ends that no
// failpoint explains.
func (p *process) ends() (deaths int, falls []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaths, p.falls
}

// awaitReady waits until the service is ready.
func (p *process) awaitReady(ctx context.Context) error {
	last := "no response"
	if err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		if _, falls := p.ends(); len(falls) > 0 {
			return false, errors.New(falls[0])
		}
		a, err := get(ctx, p.url("/readyz"))
		if err == nil {
			last = string(bytes.TrimSpace(a.body))
		}
		return err == nil && a.status == http.StatusOK, nil
	}); err != nil {
		return fmt.Errorf("%s is not ready (%s): %w", p.name, last, err)
	}
	return nil
}

// alive waits some seconds for the process to respond.
func (p *process) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return poll(ctx, 50*time.Millisecond, func() (bool, error) {
		a, err := get(ctx, p.url("/healthz"))
		return err == nil && a.status == http.StatusOK, nil
	}) == nil
}

func (p *process) url(path string) string { return "http://" + p.addr + path }

// poll calls done until it returns true or an error, or until ctx ends.
func poll(ctx context.Context, interval time.Duration, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if pause(ctx, interval); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
