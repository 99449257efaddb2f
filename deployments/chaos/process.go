package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// folder is where a program's main package lies.
func folder(program string) string {
	if program == "standalone" {
		return "./deployments/standalone"
	}
	return "./" + program + "/cmd/" + program
}

// build builds the programs into dir with the race detector, once for a whole
// run. tags may be empty.
func build(ctx context.Context, root, dir, tags string, programs ...string) error {
	for _, program := range programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-race", "-tags="+tags, "-o", filepath.Join(dir, program), folder(program)) //nolint:gosec // Our own source.
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", program, err, out)
		}
	}
	return nil
}

// process is one of the programs, started and ended any number of times on one
// address, with one log.
type process struct {
	name, program, addr string
	env                 []string
	log                 string // file

	mu      sync.Mutex // guards what follows
	running *exec.Cmd
	over    chan struct{} // closed at the end of running
	err     error         // of that end
	wanted  bool          // it is meant to run
	falls   []string      // ends that nobody had asked for
}

// newProcess does not start it yet.
func newProcess(name, program, addr, logs string, env ...string) *process {
	return &process{name: name, program: program, addr: addr, env: env, log: filepath.Join(logs, name+".log")}
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		return nil
	}
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer file.Close()                  // the process has its own descriptor
	cmd := exec.Command(p.program)      //nolint:gosec,noctx // Our own binary, ended by its own signal.
	cmd.Stdout, cmd.Stderr = file, file // one file, so that nothing is copied by a goroutine of ours
	cmd.Env = append([]string{"HTTP_ADDR=" + p.addr, "LOG_FORMAT=json", "PATH=/nowhere"}, p.env...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	over := make(chan struct{})
	p.running, p.over, p.wanted = cmd, over, true
	go func() { // waited for by end and by whoever awaits over
		err := cmd.Wait()
		p.mu.Lock()
		p.running, p.err = nil, err
		if p.wanted && !killed(cmd) {
			p.falls = append(p.falls, fmt.Sprintf("%s ended by itself: %v", p.name, err))
		}
		p.mu.Unlock()
		close(over)
	}()
	return nil
}

// end sends the signal and waits until the process is gone. It need not run.
func (p *process) end(s syscall.Signal) error {
	p.mu.Lock()
	p.wanted = false
	cmd, over := p.running, p.over
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(s) // it may be gone at this moment
	select {
	case <-over:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.err
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		<-over
		return fmt.Errorf("%s outlived signal %s by 30 s", p.name, s)
	}
}

// signal sends one to the process, if it runs.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		_ = p.running.Process.Signal(s) // it may be gone at this moment
	}
}

// killed tells whether a process was ended by signal 9. One that nobody sent from
// outside was the process's own, at a failpoint.
func killed(cmd *exec.Cmd) bool {
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// nurse starts the process again, until ctx ends, whenever it has killed itself
// at a failpoint.
func (p *process) nurse(ctx context.Context, log func(what string)) {
	for ctx.Err() == nil {
		p.mu.Lock()
		fallen := p.wanted && p.running == nil && p.over != nil
		p.mu.Unlock()
		if fallen {
			log("killed itself")
			if err := p.start(); err != nil {
				log(err.Error())
			}
		}
		pause(ctx, 150*time.Millisecond)
	}
}

// fallen are all ends that nobody had asked for.
func (p *process) fallen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.falls
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

// awaitReady waits until the service says that it has everything it needs.
func (p *process) awaitReady(ctx context.Context) error {
	last := "no answer"
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		if falls := p.fallen(); len(falls) > 0 {
			return false, errors.New(falls[0])
		}
		status, body, err := get(ctx, p.url("/readyz"))
		if err == nil {
			last = string(bytes.TrimSpace(body))
		}
		return err == nil && status == http.StatusOK, nil
	})
	if err != nil {
		return fmt.Errorf("%s is not ready (%s): %w", p.name, last, err)
	}
	return nil
}

// alive waits until the process answers at all, for some seconds.
func (p *process) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return poll(ctx, 50*time.Millisecond, func() (bool, error) {
		status, _, err := get(ctx, p.url("/healthz"))
		return err == nil && status == http.StatusOK, nil
	}) == nil
}

func (p *process) url(path string) string { return "http://" + p.addr + path }

// complaints finds what no log may hold.
func (p *process) complaints() (string, error) {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return "", fmt.Errorf("read log: %w", err)
	}
	for _, word := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if at := bytes.Index(text, []byte(word)); at >= 0 {
			return fmt.Sprintf("log of %s tells of a %s %.300s", p.name, word, text[at:]), nil
		}
	}
	return "", nil
}

// poll asks again and again until the answer is yes, an error, or ctx ends.
func poll(ctx context.Context, pause time.Duration, ask func() (bool, error)) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Bounds of one answer: nobody waits for longer, and no more of it is read.
const (
	answerTime = 15 * time.Second
	maxAnswer  = 64 << 20
)

func get(ctx context.Context, url string) (int, []byte, error) { return ask(ctx, http.MethodGet, url) }

// ask sends a request without a body.
func ask(ctx context.Context, method, url string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	return resp.StatusCode, body, nil
}
