package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// points are the named moments of each program at which a fault is worth most, in
// the order of the line.
var points = map[string][]string{
	"gateway": {
		"batch reserved", "inline image stored", "job created", "fetch begun", "fetched image stored", "fetched image noted",
		"uploads published", "uploads marked sent", "image_processed delivered", "result settled", "watchers told",
		"image_processed published", "image_processed acked",
	},
	"analyzer":  {"image_upload delivered", "analysis", "image_upload published", "image_upload acked"},
	"processor": {"metadata_generated delivered", "result stored", "results stored", "metadata_generated published", "metadata_generated acked"},
}

// retentionPoints are those of a gateway that deletes.
var retentionPoints = []string{"jobs hidden", "originals deleted", "originals forgotten"}

// orders is the file by which a service is ordered to die or to stop at a point.
func (r *run) orders(name string) string { return filepath.Join(r.dir, name+".order") }

// clock is the file that says by how much the clock of a service is wrong.
func (r *run) clock(name string) string { return filepath.Join(r.dir, name+".clock") }

// hitAtPoint orders the victim to be hit at one of its points. It is not the
// victim's fault when nothing passes there meanwhile.
func (r *run) hitAtPoint(ctx context.Context, b blow, verb string) error {
	at := points[programOf(b.victim)]
	if r.retention > 0 && programOf(b.victim) == "gateway" {
		at = slices.Concat(retentionPoints, at)
	}
	point := at[b.draw.IntN(len(at))]
	r.history.note("fault", b.String(), "at "+point, nil)
	if err := replaceFile(r.orders(b.victim), verb+" "+point); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 2*time.Second+b.lasts)
	defer cancel()
	if err := poll(wait, 20*time.Millisecond, func() (bool, error) {
		_, err := os.Stat(r.orders(b.victim))
		return errors.Is(err, os.ErrNotExist), nil
	}); err != nil && r.disarm(b.victim) {
		return fmt.Errorf("nothing came to %q", point)
	}
	if verb == "STOP" {
		pause(ctx, b.lasts)
		r.services[b.victim].signal(syscall.SIGCONT)
	}
	return nil // its nurse starts one that was killed again
}

// disarm takes an order back and tells whether it was still there.
func (r *run) disarm(name string) bool { return os.Remove(r.orders(name)) == nil }

// clockFaults set the clock of one service wrong by an hour, and right again.
var clockFaults = []fault{
	{"clock an hour fast", 2, 2 * time.Second, func(ctx context.Context, r *run, b blow) error {
		return r.wrongClock(ctx, b, time.Hour)
	}},
	{"clock an hour slow", 2, 2 * time.Second, func(ctx context.Context, r *run, b blow) error {
		return r.wrongClock(ctx, b, -time.Hour)
	}},
}

func (r *run) wrongClock(ctx context.Context, b blow, by time.Duration) error {
	if err := r.setClock(b.victim, by); err != nil {
		return err
	}
	pause(ctx, b.lasts)
	return r.setClock(b.victim, 0)
}

func (r *run) setClock(name string, by time.Duration) error {
	return replaceFile(r.clock(name), by.String())
}

// replaceFile writes a file so that no reader sees half of it.
func replaceFile(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("replace %s: %w", filepath.Base(path), err)
	}
	return nil
}
