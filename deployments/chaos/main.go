// Command chaos tests the promise of docs/delivery.md that no image is lost. It
// runs the real services, built with the race detector and the failpoints, on a
// real RabbitMQ, MinIO or versitygw, and SQLite or PostgreSQL. It sends batches, injects faults
// and then checks that every accepted job ended as its images require, that no
// response was wrong, and that no message or object is left over.
//
// A seed determines the load and the faults, so a plan can be repeated, although
// two runs of one plan differ in their timing. Scenarios are fixed plans. The
// history and the logs of a run that broke the promise stay in data/chaos.
//
// It runs in the root of the repository. No service imports it, and it imports none, except for the stand-in of a vision
// model.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	seeds := flag.Uint64("seeds", 5, "number of seeds to run")
	first := flag.Uint64("first", 1, "first seed")
	lanes := flag.Int("lanes", 1, "number of concurrent runs, each with servers of its own")
	s3 := flag.String("s3", "minio", "S3 server: minio or versitygw, outside of clusters")
	scenario := flag.String("scenario", "", "run rolling, outage, move or leaderless instead of seeds, or cluster with seeds")
	flag.Parse()
	var plans []*plan
	var err error
	if *scenario == "leaderless" {
		err = runLeaderless(ctx, *first, *seeds)
	} else if plans, err = plansOf(*scenario, *first, *seeds); err == nil {
		err = runAll(ctx, plans, max(1, min(*lanes, len(plans))), *s3)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

// runAll runs the plans, as many at a time as there are lanes, and prints the
// result of each and of all. The last line starts with "N runs, N breached".
func runAll(ctx context.Context, plans []*plan, lanes int, s3 string) (err error) {
	dir, err := filepath.Abs("data/chaos")
	if err != nil {
		return fmt.Errorf("find the folder of the runs: %w", err)
	}
	bin := filepath.Join(dir, "bin")
	if err := build(ctx, ".", bin); err != nil {
		return err
	}
	// PostgreSQL refuses to run as root, so another user must be able to enter.
	base := filepath.Join(os.TempDir(), fmt.Sprintf("imagebatch-chaos-%d", os.Getpid()))
	if err := os.Mkdir(base, 0o755); err != nil { //nolint:gosec // See above.
		return fmt.Errorf("create a folder for the servers: %w", err)
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(base)
		}
	}()
	started := time.Now()
	idle := make(chan *servers, lanes)
	for i := range lanes {
		dir, start := filepath.Join(base, fmt.Sprintf("servers-%d", i+1)), startCluster
		if !plans[0].clustered {
			start = func(ctx context.Context, dir string) (*servers, error) {
				return startServers(ctx, dir, "rabbitmq "+s3+" postgres")
			}
		}
		s, err := start(ctx, dir)
		if err != nil {
			return err
		}
		if s.other, err = startOther(ctx, plans[0], dir+"-other"); err != nil {
			return errors.Join(err, s.call(ctx, "stop"))
		}
		defer func() {
			if s.other != nil {
				err = errors.Join(err, s.other.call(ctx, "stop"))
			}
			err = errors.Join(err, s.call(ctx, "stop"))
		}()
		idle <- s
	}
	var (
		running  sync.WaitGroup
		mu       sync.Mutex // guards the fields below and the output
		total    = counts{}
		breached []string
		failed   error
	)
	for _, p := range plans {
		s := <-idle
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { idle <- s }()
			started := time.Now()
			r, err := p.run(ctx, s, bin, filepath.Join(dir, p.name))
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() != nil {
				return // The result of an interrupted run is meaningless.
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s could not be run: %w", p.name, err))
				return
			}
			slowest := max(total[longest], r.counts[longest])
			for name, n := range r.counts {
				total[name] += n
			}
			total[longest] = slowest
			fmt.Printf("%-8s %s in %s (%s)\n", p.name, r.counts, time.Since(started).Round(time.Second), p)
			for _, b := range r.breaches {
				fmt.Printf("  BREACH %s\n", b)
			}
			if len(r.breaches) > 0 {
				breached = append(breached, p.name)
				fmt.Printf("  history and logs: %s; again: make chaos %s\n", filepath.Join(dir, p.name), p.again)
			}
		})
	}
	running.Wait()
	if len(breached) > 0 {
		failed = errors.Join(failed, errors.New("the promise was broken"))
	}
	if failed != nil {
		fmt.Println("logs of the servers:", base)
	}
	fmt.Printf("%v\n%d runs, %d breached %v, in %s: %s\n",
		map[string]int(total), total["runs"], len(breached), breached, time.Since(started).Round(time.Second), total)
	return errors.Join(failed, ctx.Err())
}

// startOther starts the RabbitMQ to which the scenario move moves, from Debian's unstable suite.
func startOther(ctx context.Context, p *plan, dir string) (*servers, error) {
	if !strings.HasPrefix(p.name, "move") {
		return nil, nil //nolint:nilnil // No other plan needs one.
	}
	place := "suite=sid debian_bin=$cache/debian-sid/bin\n"
	if err := errors.Join(os.MkdirAll(dir, 0o750), os.WriteFile(filepath.Join(dir, "place"), []byte(place), 0o600)); err != nil {
		return nil, err
	}
	return startServers(ctx, dir, "rabbitmq")
}

// counts are the counters of one or more runs: those that String prints, others, and
// how often each fault happened.
type counts map[string]int

const longest = "longest recovery" // in milliseconds, from the last fault to the end of the last job

func (f counts) String() string {
	return fmt.Sprintf("%d jobs, %d images (%d completed, %d failed as expected, %d captioned, %d uncaptioned with a warning), "+
		"%d faults, %d storage requests broken, %d lost, %d duplicated, %s %.1fs",
		f["jobs"], f["images"], f["completed"], f["failed"], f["captioned"], f["uncaptioned"],
		f["faults"], f["broken"], f["lost"], f["duplicated"], longest, float64(f[longest])/1000)
}
