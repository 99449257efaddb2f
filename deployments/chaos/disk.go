package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// disk is a small one of its own, in memory, for the job store. To make it takes
// root.
type disk struct{ dir string }

// diskSize leaves the job store of a run room enough.
const diskSize = "24m"

func newDisk(dir string) (*disk, error) {
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=0700,size="+diskSize, "tmpfs", dir).CombinedOutput(); err != nil { //nolint:gosec,noctx // A folder of our own, at once.
		return nil, fmt.Errorf("mount a small disk: %w: %s", err, out)
	}
	return &disk{dir}, nil
}

// leaveDisk takes a disk away, if there is one.
func leaveDisk(dir string) {
	_ = exec.Command("umount", "--lazy", dir).Run() //nolint:gosec,noctx // A folder of our own, where mostly nothing is mounted.
}

func (d *disk) close() error {
	if out, err := exec.Command("umount", "--lazy", d.dir).CombinedOutput(); err != nil { //nolint:gosec,noctx // A folder of our own, at once.
		return fmt.Errorf("unmount the small disk: %w: %s", err, out)
	}
	return nil
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill takes all room that is left.
func (d *disk) fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer f.Close() // what is not written is no loss
	for _, size := range []int64{1 << 20, 4 << 10} {
		for err = nil; err == nil; {
			_, err = io.CopyN(f, zeros{}, size)
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("fill the disk: %w", err)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// free gives the room back.
func (d *disk) free() error {
	if err := os.Remove(d.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free the disk: %w", err)
	}
	return nil
}

// diskFaults happen to the disk under the job store, whoever is the victim.
var diskFaults = []fault{
	{"disk full", 3, 2 * time.Second, func(ctx context.Context, r *run, b blow) error { return r.fullDisk(ctx, b.lasts) }},
}

// fullDisk fills the disk and holds what a client sees of it: a batch is refused
// with 503 and not otherwise, what there is can be read, and afterwards all is well
// by itself. The gateway is not hit by another fault meanwhile.
func (r *run) fullDisk(ctx context.Context, lasts time.Duration) error {
	gateway := r.gateway(0)
	if !gateway.alive(ctx) {
		return errors.New("the gateway has not begun yet")
	}
	if err := r.disk.fill(); err != nil {
		return errors.Join(err, r.disk.free())
	}
	for until := time.Now().Add(lasts); time.Now().Before(until) && ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
		status, body, err := get(ctx, gateway.url("/api/v1/batch?limit=3"))
		if err != nil || status != http.StatusOK {
			r.history.breach("while the disk is full GET answers %d: %.200s (%v)", status, body, err)
		}
		if err := r.disk.fill(); err != nil {
			return errors.Join(err, r.disk.free())
		}
		refused, err := r.knock(ctx)
		if err != nil {
			r.history.breach("while the disk is full a POST is not answered: %v", err)
		}
		if refused {
			r.mu.Lock()
			r.refused++
			r.mu.Unlock()
		}
	}
	if err := r.disk.free(); err != nil {
		return err
	}
	healing, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := poll(healing, 200*time.Millisecond, func() (bool, error) {
		refused, err := r.knock(healing)
		return !refused && err == nil, nil
	}); err != nil && ctx.Err() == nil {
		r.history.breach("no batch is accepted %s after the disk has room again", 15*time.Second)
	}
	return nil
}

// knock posts a small batch of its own and tells whether it was refused.
func (r *run) knock(ctx context.Context) (refused bool, err error) {
	b := &batch{images: []source{{
		name: fmt.Sprintf("knock-%d.jpg", time.Now().UnixNano()), url: r.site.url("plain", "absent.jpg", ""), code: "download_failed",
	}}}
	body, err := b.body()
	if err != nil {
		return false, err
	}
	id, err := r.post(ctx, 0, "/api/v1/batch", body, "")
	switch {
	case err == nil:
		r.ledger.accept(id, b)
		r.began(id)
		return false, nil
	case errors.Is(err, errUnknown):
		r.ledger.doubt(b)
		return false, err
	case strings.Contains(err.Error(), "connection refused"):
		return false, err
	}
	return true, nil
}
