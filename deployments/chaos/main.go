// Command chaos holds Imagebatch to its promise that nothing is lost. It runs the
// real services, built with the race detector, on a real RabbitMQ and MinIO, sends
// them batches, breaks everything around them, and then judges: every accepted job
// has ended as its images deserve, nothing was told that is not so, nothing is
// left over.
//
// Load and faults are drawn from a seed, so a run can be repeated: the plan is the
// same, although two runs of one plan never meet the same moment twice. A history
// of each run that went wrong stays in its folder, beside the services' logs.
//
//	chaos -seeds 5               five seeds from 1 on
//	chaos -first 17 -seeds 1     seed 17 again
//
// It is never linked into a service and knows none from within.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	seeds := flag.Uint64("seeds", 5, "how many seeds to run")
	first := flag.Uint64("first", 1, "the first of them")
	dir := flag.String("dir", "data/chaos", "where the servers, histories and logs lie")
	root := flag.String("root", ".", "the repository")
	flag.Parse()
	if err := all(ctx, *root, *dir, *first, *seeds); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

// errBreached says that something did not hold.
var errBreached = errors.New("the promise was broken")

// all runs the seeds, one after the other, and prints what came of each.
func all(ctx context.Context, root, dir string, first, seeds uint64) (err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("find the folder: %w", err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o750); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if err := build(ctx, root, bin, "", "gateway", "analyzer", "processor"); err != nil {
		return err
	}
	if root, err = filepath.Abs(root); err != nil {
		return fmt.Errorf("find the repository: %w", err)
	}
	s, err := startServers(ctx, root, filepath.Join(dir, "servers"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()

	var total outcome
	breached := 0
	for seed := first; seed < first+seeds && ctx.Err() == nil; seed++ {
		began := time.Now()
		o := play(ctx, s, bin, dir, seed)
		if o.infrastructure != nil {
			return fmt.Errorf("seed %d could not be run: %w", seed, o.infrastructure)
		}
		fmt.Printf("seed %-4d %s in %s\n", seed, o, time.Since(began).Round(time.Second))
		for _, b := range o.breaches {
			fmt.Printf("  BREACH %s\n", b)
		}
		if len(o.breaches) > 0 {
			breached++
			fmt.Printf("  history and logs: %s; again: make chaos FIRST=%d SEEDS=1\n", filepath.Join(dir, fmt.Sprintf("seed-%d", seed)), seed)
		}
		total.add(o)
	}
	fmt.Printf("%d seeds, %d breached: %s\n", seeds, breached, total)
	if breached > 0 {
		return errBreached
	}
	return ctx.Err()
}

func (o outcome) String() string {
	return fmt.Sprintf("%d jobs, %d images (%d completed, %d failed as they must), %d faults, %d storage requests broken, %d lost, %d duplicated, longest recovery %.1fs",
		o.jobs, o.images, o.completed, o.failed, o.faults, o.requestsBroken, o.lost, o.duplicated, o.longest.Seconds())
}

// add takes in the figures of a run.
func (o *outcome) add(other outcome) {
	o.jobs += other.jobs
	o.images += other.images
	o.completed += other.completed
	o.failed += other.failed
	o.faults += other.faults
	o.requestsBroken += other.requestsBroken
	o.lost += other.lost
	o.duplicated += other.duplicated
	o.longest = max(o.longest, other.longest)
}
