package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// pairs limits how much of two versions is measured. If the rounds exceed their time limit,
// the comparison ends after the current one.
type pairs struct {
	rounds  int           // rounds of each version
	images  int           // images per batch
	batches int           // measured batches per round
	singles int           // images per round that are sent alone, one after the other
	limit   time.Duration // time limit of the rounds
	whole   time.Duration // time limit of the run, after which it fails
}

var (
	fullPairs = pairs{rounds: 12, images: 100, batches: 2, singles: 25, limit: 6 * time.Minute, whole: 8 * time.Minute}
	tinyPairs = pairs{rounds: 2, images: 3, batches: 1, singles: 1, limit: 2 * time.Minute, whole: 5 * time.Minute}
)

// units states for benchstat what is better.
const units = `Unit cpu-ms/image better=lower
Unit peak-B better=lower
Unit images/s better=higher
Unit ms/job better=lower
`

// rowNames contains the names of the processes in Go's benchmark format.
var rowNames = map[string]string{"gateway": "Gateway", "analyzer": "Analyzer", "processor": "Processor", "rabbitmq": "RabbitMQ", "store": "Store"}

// compareVersions measures the services of a commit and of the working tree in turn, on the same
// servers, and returns their comparison. Each round starts the services again.
func compareVersions(ctx context.Context, root, dir, ref string, p pairs) (_ string, err error) {
	base, tree, remove, err := twoVersions(ctx, root, dir, ref)
	if err != nil {
		return "", err
	}
	defer remove()
	if err := tree.clear(ctx); err != nil {
		return "", err
	}
	for _, v := range []*variant{base, tree} {
		progress("building the services of %s", v.name)
		if err := v.build(ctx); err != nil {
			return "", fmt.Errorf("build %s: %w", v.name, err)
		}
	}
	photos, err := tree.draw(ctx, wanted[0])
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, p.whole)
	defer cancel()
	machine := aboutMachine(ctx, tree.root)
	progress("starting the servers")
	defer func() { err = errors.Join(err, tree.stop(ctx)) }()
	if _, err := tree.startServers(ctx, "minio"); err != nil {
		return "", err
	}
	if err := base.share(ctx, tree.system); err != nil {
		return "", err
	}
	for _, v := range []*variant{base, tree} {
		if err := v.begin(fmt.Sprintf("goos: %s\ngoarch: %s\n%s", runtime.GOOS, runtime.GOARCH, units)); err != nil {
			return "", err
		}
	}
	started := time.Now()
	for n := 0; n < p.rounds && (n == 0 || time.Since(started) < p.limit); n++ {
		if err := inTurn(n, []*variant{base, tree}, func(v *variant) error {
			progress("round %d of %d: %s", n+1, p.rounds, v.name)
			return v.round(ctx, photos[0], p)
		}); err != nil {
			return "", err
		}
	}
	if err := tree.stop(ctx); err != nil {
		return "", err
	}
	machine.loadAfter = loadAverage(ctx)
	table, err := benchstat(ctx, base, tree)
	return machine.markdown() + "\n" + table, err
}

// share lets the services use the servers of another system, with a virtual host, buckets and jobs
// of their own.
func (v *variant) share(ctx context.Context, s *system) error {
	v.pids = maps.Clone(s.pids)
	v.env = append(slices.Clip(s.env), "S3_BUCKET_ORIGINAL=base-original", "S3_BUCKET_PROCESSED=base-processed",
		"DATA_DIR="+filepath.Join(v.dir, "gateway"), "HOME="+v.dir)
	return v.separate(ctx, s, "base")
}

// round starts the services, measures them, records the results, and stops the services.
func (v *variant) round(ctx context.Context, photo photo, p pairs) (err error) {
	defer func() { err = errors.Join(err, v.endServices()) }()
	if v.before != nil {
		v.before()
	}
	if err := v.startServices(ctx, services...); err != nil {
		return err
	}
	// The first images open connections and touch memory.
	if err := v.batch(ctx, photo, min(p.images, 20)); err != nil {
		return err
	}
	spent, rate := map[string]float64{}, 0.0
	for range p.batches {
		c, err := v.cost(ctx, photo, p.images)
		if err != nil {
			return err
		}
		rate += c.rate / float64(p.batches)
		for name, value := range c.spent {
			spent[name] += value / float64(p.batches)
		}
	}
	var singles []float64
	for range p.singles {
		_, whole, err := v.single(ctx, photo)
		if err != nil {
			return err
		}
		singles = append(singles, whole)
	}
	status, err := ofEach(v.system, procfs.Proc.NewStatus)
	if err != nil {
		return err
	}

	var lines strings.Builder
	whole, images := 0.0, p.images*p.batches
	for _, name := range processes {
		fmt.Fprintf(&lines, "Benchmark%s %d %.3f cpu-ms/image", rowNames[name], images, spent[name])
		if slices.Contains(services, name) { // the servers keep what earlier rounds have touched
			fmt.Fprintf(&lines, " %d peak-B", status[name].VmHWM)
		}
		lines.WriteString("\n")
		whole += spent[name]
	}
	fmt.Fprintf(&lines, "BenchmarkAllFive %d %.3f cpu-ms/image\nBenchmarkBatch %d %.3f images/s\nBenchmarkSingle %d %.3f ms/job\n",
		images, whole, images, rate, p.singles, median(singles))
	return v.record(lines.String())
}
