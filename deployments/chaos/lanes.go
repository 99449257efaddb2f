package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// assignment is one run to be made: a seed, or a scenario on one of the stores.
type assignment struct {
	name string // of its folder
	play func(ctx context.Context, s *servers) *outcome
	of   setting
	hint string // how to run it again
}

// assignments are all runs of this call, in order.
func (h *harness) assignments() ([]assignment, error) {
	if h.scenario != "" {
		return h.scenarios()
	}
	var list []assignment
	for seed := h.first; seed < h.first+h.seeds; seed++ {
		name := fmt.Sprintf("seed-%d", seed)
		list = append(list, assignment{
			name: name, of: settingOf(seed), hint: fmt.Sprintf("make chaos FIRST=%d SEEDS=1", seed),
			play: func(ctx context.Context, s *servers) *outcome {
				return h.play(ctx, s, name, seed, settingOf(seed), (*run).seed)
			},
		})
	}
	return list, nil
}

// tally is what came of all runs so far.
type tally struct {
	mu       sync.Mutex // guards what follows, and the output
	sqlite   outcome
	postgres outcome
	runs     int
	breached []string
	failed   error // a run could not be made
}

// all makes the runs, as many at a time as there are lanes, and prints what came
// of each as it ends.
func (h *harness) all(ctx context.Context) error {
	list, err := h.assignments()
	if err != nil {
		return err
	}
	lanes := max(1, min(h.lanes, len(list)))
	began := time.Now()
	todo := make(chan assignment)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var t tally
	var running sync.WaitGroup
	for i := range lanes {
		// One after the other, so that no two choose the same ports.
		s, err := startServers(ctx, h.root, filepath.Join(h.ground, fmt.Sprintf("servers-%d", i+1)), lanePorts(i, lanes))
		if err != nil {
			cancel()
			close(todo)
			running.Wait()
			return err
		}
		running.Go(func() {
			for a := range todo {
				h.one(ctx, s, a, &t)
			}
			if err := s.close(ctx); err != nil {
				t.fail(err)
			}
		})
	}
	for _, a := range list {
		select {
		case todo <- a:
		case <-ctx.Done():
		}
	}
	close(todo)
	running.Wait()
	return t.close(ctx, time.Since(began))
}

// one makes one run and prints what came of it.
func (h *harness) one(ctx context.Context, s *servers, a assignment, t *tally) {
	if ctx.Err() != nil {
		return
	}
	began := time.Now()
	o := a.play(ctx, s)
	if ctx.Err() != nil {
		return // interrupted, it says nothing
	}
	if o.infrastructure != nil {
		fmt.Printf("%-8s could not be run: %s\n", a.name, o.infrastructure)
		t.fail(fmt.Errorf("%s could not be run", a.name))
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Printf("%-8s %s in %s (%s)\n", a.name, o, time.Since(began).Round(time.Second), a.of)
	for _, b := range o.breaches {
		fmt.Printf("  BREACH %s\n", b)
	}
	if len(o.breaches) > 0 {
		t.breached = append(t.breached, a.name)
		fmt.Printf("  history and logs: %s; again: %s\n", filepath.Join(h.dir, a.name), a.hint)
	}
	t.runs++
	if a.of.postgres {
		t.postgres.add(o)
	} else {
		t.sqlite.add(o)
	}
}

func (t *tally) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = errors.Join(t.failed, err)
}

// close prints all figures together.
func (t *tally) close(ctx context.Context, took time.Duration) error {
	var all outcome
	all.add(&t.sqlite)
	all.add(&t.postgres)
	if t.sqlite.jobs > 0 && t.postgres.jobs > 0 {
		fmt.Printf("on SQLite: %s\non PostgreSQL: %s\n", &t.sqlite, &t.postgres)
	}
	fmt.Printf("in all %s\n", all.rest())
	fmt.Printf("%d runs, %d breached %v, in %s: %s\n", t.runs, len(t.breached), t.breached, took.Round(time.Second), &all)
	switch {
	case t.failed != nil:
		return t.failed
	case len(t.breached) > 0:
		return errBreached
	}
	return ctx.Err()
}
