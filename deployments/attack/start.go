package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// targets are the gateway that may fetch from public addresses only, and one that
// may fetch from an origin of the tool's, which some attacks need.
type targets struct {
	strict, lenient *target // lenient may be nil
	started         []*process
}

// aim finds or starts what is attacked. The second result ends what it began.
func aim(ctx context.Context, o options) (_ *targets, end func() error, err error) {
	a := &targets{}
	var origins []*origin
	end = func() error {
		var errs []error
		for _, p := range a.started {
			errs = append(errs, p.end())
		}
		for _, o := range origins {
			errs = append(errs, o.close())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	address := o.origin
	if o.gateway == "" {
		address = "127.0.0.1:0"
	}
	var own *origin
	if address != "" {
		if own, err = newOrigin(ctx, address); err != nil {
			return nil, nil, err
		}
		origins = append(origins, own)
	}
	if o.gateway != "" {
		if a.strict, err = newTarget(strings.TrimSuffix(o.gateway, "/")); err != nil {
			return nil, nil, err
		}
		if own != nil {
			lenient := *a.strict
			lenient.origin = own
			a.lenient = &lenient
		}
		return a, end, nil
	}
	strict, err := a.start(ctx, o.program, "")
	if err != nil {
		return nil, nil, err
	}
	lenient, err := a.start(ctx, o.program, "127.0.0.1/32")
	if err != nil {
		return nil, nil, err
	}
	lenient.origin = own
	a.strict, a.lenient = strict, lenient
	return a, end, nil
}

// process is a standalone that the tool started.
type process struct {
	cmd     *exec.Cmd
	addr    string
	dir     string
	log     bytes.Buffer // read only when it has ended
	over    chan error
	started int64 // bytes of memory at the beginning
	allows  string
}

// start starts the program in a folder of its own and waits until it is ready.
func (a *targets) start(ctx context.Context, program, allow string) (*target, error) {
	dir, err := os.MkdirTemp("", "imagebatch-attack-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	program, err = filepath.Abs(program)
	if err != nil {
		return nil, fmt.Errorf("find program: %w", err)
	}
	p := &process{addr: freeAddr(ctx), dir: dir, over: make(chan error, 1), allows: allow}
	p.cmd = exec.Command(program) //nolint:gosec,noctx // What the caller named, ended by its own signal.
	p.cmd.Dir = dir
	p.cmd.Env = []string{"HTTP_ADDR=" + p.addr, "DATA_DIR=" + filepath.Join(dir, "data"), "HOME=" + dir, "PATH=/nowhere", "DOWNLOAD_ALLOW_NETWORKS=" + allow}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), os.RemoveAll(dir))
	}
	go func() { p.over <- p.cmd.Wait() }() // waited for by end
	a.started = append(a.started, p)
	t, err := newTarget("http://" + p.addr)
	if err != nil {
		return nil, err
	}
	t.dir = dir
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if a, err := t.do(ctx, "GET", "/readyz", nil); err == nil && a.status == 200 {
			break
		}
		select {
		case err := <-p.over:
			p.over <- err
			return nil, fmt.Errorf("%s ended: %w\n%s", program, err, p.log.Bytes())
		case <-ctx.Done():
			return nil, fmt.Errorf("await %s: %w", program, ctx.Err())
		case <-tick.C:
		}
	}
	if err := t.alive(ctx); err != nil { // the first batch takes memory that stays
		return nil, err
	}
	p.started = p.resident()
	return t, nil
}

// end stops the process, and says what is wrong with its end or its log.
func (p *process) end() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	var err error
	select {
	case err = <-p.over:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		err = errors.Join(errors.New("outlived SIGTERM by 30 s"), <-p.over)
	}
	if err == nil && (bytes.Contains(p.log.Bytes(), []byte("DATA RACE")) || bytes.Contains(p.log.Bytes(), []byte("panic"))) {
		err = errors.New("its log tells of a data race or a panic")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", p.cmd.Path, err, p.log.Bytes())
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// resident is the process's memory in bytes; 0 where /proc does not tell.
func (p *process) resident() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// memory tells what the processes held before and after.
func (a *targets) memory() string {
	var lines []string
	for _, p := range a.started {
		allows := "public addresses only"
		if p.allows != "" {
			allows = p.allows + " too"
		}
		lines = append(lines, fmt.Sprintf("memory of the gateway that fetches from %s: %d MiB before, %d MiB after", allows, p.started>>20, p.resident()>>20))
	}
	return strings.Join(lines, "\n")
}

// freeAddr is a loopback address that nobody listens on.
func freeAddr(ctx context.Context) string {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0" // starting says what is wrong
	}
	defer l.Close()
	return l.Addr().String()
}
