// Command chaos holds Imagebatch to its promise that nothing is lost. It runs the
// real services, built with the race detector and the failpoints, on a real
// RabbitMQ, MinIO and SQLite or PostgreSQL, sends them batches, breaks everything
// around them, and then judges: every accepted job has ended as its images
// deserve, nothing was told that is not so, nothing is left over.
//
// Load and faults are drawn from a seed, so a run can be repeated: the plan is the
// same, although two runs of one plan never meet the same moment twice. A history
// of each run that went wrong stays in its folder, beside the services' logs. A
// run mostly waits, so several lanes run side by side, each with servers of its
// own.
//
//	chaos -seeds 5               five seeds from 1 on
//	chaos -first 17 -seeds 1     seed 17 again
//	chaos -seeds 200 -lanes 3    three at a time
//	chaos -scenario rolling      the services restarted every 5 s under load
//	chaos -scenario outage       three minutes without the storage
//	chaos -scenario leaderless   a work queue that has lost its leader for good
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var h harness
	flag.Uint64Var(&h.seeds, "seeds", 5, "how many seeds to run")
	flag.Uint64Var(&h.first, "first", 1, "the first of them")
	flag.IntVar(&h.lanes, "lanes", 1, "how many run side by side")
	flag.StringVar(&h.scenario, "scenario", "", "rolling, outage or leaderless: that in place of what seeds draw")
	flag.StringVar(&h.dir, "dir", "data/chaos", "where the services, histories and logs lie")
	flag.BoolVar(&h.keep, "keep", false, "keep the history and the logs of what went well, too")
	flag.StringVar(&h.root, "root", ".", "the repository")
	flag.Parse()
	if err := h.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

// errBreached says that something did not hold.
var errBreached = errors.New("the promise was broken")

// harness is one call of the command.
type harness struct {
	seeds, first uint64
	lanes        int
	scenario     string
	keep         bool
	dir, root    string
	bin          string // where the services are
	ground       string // where the servers lie
}

func (h *harness) run(ctx context.Context) (err error) {
	if h.dir, err = filepath.Abs(h.dir); err != nil {
		return fmt.Errorf("find the folder: %w", err)
	}
	if h.root, err = filepath.Abs(h.root); err != nil {
		return fmt.Errorf("find the repository: %w", err)
	}
	h.bin = filepath.Join(h.dir, "bin")
	if err := os.MkdirAll(h.bin, 0o750); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if h.ground, err = os.MkdirTemp("", "imagebatch-chaos-"); err != nil {
		return fmt.Errorf("make a folder for the servers: %w", err)
	}
	defer func() {
		if err == nil { // else their logs may tell why
			err = os.RemoveAll(h.ground)
		} else {
			fmt.Println("the servers' logs are in", h.ground)
		}
	}()
	// PostgreSQL refuses root, so another user must reach its folder, which the
	// checkout need not let him.
	if err := os.Chmod(h.ground, 0o755); err != nil { //nolint:gosec // See above.
		return fmt.Errorf("open the folder of the servers: %w", err)
	}
	if err := build(ctx, h.root, h.bin, "failpoints", "gateway", "analyzer", "processor"); err != nil {
		return err
	}
	if !mayMount() {
		fmt.Println("not root, so no small disk can be made: the fault \"disk full\" is left out")
	}
	return h.all(ctx)
}
