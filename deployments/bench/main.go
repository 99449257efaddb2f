// Command bench measures the released form of Imagebatch: it starts the three services
// on a real RabbitMQ and MinIO, sends them batches of photos, and reports the CPU time
// of each process per image. For comparison, the same run measures describing and
// embedding alone, a naive pipeline and other JPEG decoders.
//
//	bench                        everything, into docs/performance.md; at most 8 minutes
//	bench -quick -doc ''         a few images of each, to check that it works
//	GOGC=400 bench -doc ''       GOGC and GOMEMLIMIT are passed on to the services
//	bench -scaling               instead: fleets of analyzers, into docs/operations.md; at most 8 minutes
//	bench -stores                instead: several S3 servers in turn, into docs/performance.md; at most 8 minutes
//	bench -latency               instead: several round trips to the servers in turn, into docs/operations.md; at most 8 minutes
//	bench -compare HEAD^         instead: the services of a commit and of the working tree, in turn; at most 8 minutes
//	bench -compare HEAD^ -- -bench=Settle -count=6
//	                             the same for Go benchmarks, with flags of go test
//
// The scaling benchmark needs images that mostly wait, because one machine cannot get
// more processors: a proxy in this program delays every original by half a second, and
// a stand-in for a vision model answers after a second.
//
// CPU times come from /proc, so this program runs on Linux only. They are nearly
// the same on a loaded machine. Images per second and latencies are not, so the report
// includes the load. This program imports no service.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	quick := flag.Bool("quick", false, "send only a few images of each kind: the results are not meaningful")
	dir := flag.String("dir", "data/bench", "the folder for programs, photos, servers and logs")
	root := flag.String("root", ".", "the root of the repository")
	doc := flag.String("doc", "docs/performance.md", "the document to write the tables into; empty: none")
	fleets := flag.Bool("scaling", false, "measure only fleets of analyzers, and write the table into docs/operations.md")
	base := flag.String("compare", "", "only compare the working tree with this commit, and write no document; auto: where the branch left main, or the last commit")
	byStore := flag.Bool("stores", false, "measure only the services on several S3 servers in turn")
	byRoundTrip := flag.Bool("latency", false, "measure only the services at several distances from their servers, and write the table into docs/operations.md; needs root")
	flag.Parse()
	size, scale, pairs := full, fullScale, fullPairs
	if *quick {
		size, scale, pairs = tiny, tinyScale, tinyPairs
	}
	var text string
	var err error
	at := measuredPlace
	switch {
	case *base != "" && flag.NArg() > 0:
		*doc = ""
		text, err = compareBenchmarks(ctx, *root, *dir, *base, flag.Args())
	case *base != "":
		*doc = ""
		text, err = compareVersions(ctx, *root, *dir, *base, pairs)
	case *byStore:
		at = storesPlace
		text, err = compareStores(ctx, *root, *dir, pairs)
	case *byRoundTrip:
		at = latencyPlace
		text, err = compareRoundTrips(ctx, *root, *dir, pairs, roundTrips)
	case *fleets:
		at = scalingPlace
		text, err = markdown(measureScaling(ctx, *root, *dir, scale))
	default:
		text, err = markdown(measure(ctx, *root, *dir, size))
	}
	fmt.Print(text)
	if err == nil && *doc != "" {
		err = at.write(filepath.Join(*root, cmp.Or(at.doc, *doc)), text)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// markdown returns the report of a measurement, or its error.
func markdown(r interface{ markdown() string }, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return r.markdown(), nil
}

// size limits how much is measured. A part that exceeds its time limit ends after the
// current round, and its results are the medians of the finished rounds.
type size struct {
	images  int           // images per batch
	rounds  int           // rounds of each kind of load
	singles int           // images sent alone, one after the other
	syncs   int           // calls of fsync
	alone   int           // calls per round of code that is measured without the system
	part    time.Duration // time limit of one kind of load, for one photo
	whole   time.Duration // time limit of the run, after which it fails
}

var (
	full = size{images: 100, rounds: 5, singles: 100, syncs: 500, alone: 10, part: 50 * time.Second, whole: 8 * time.Minute}
	tiny = size{images: 3, rounds: 1, singles: 3, syncs: 5, alone: 1, part: 30 * time.Second, whole: 5 * time.Minute}
)

// measure builds and starts the system, measures it, and stops everything it started.
func measure(ctx context.Context, root, dir string, size size) (_ *report, err error) {
	s, err := newSystem(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	if err := s.buildBenchmarks(ctx); err != nil {
		return nil, err
	}
	photos, err := s.draw(ctx, wanted...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, size.whole)
	defer cancel()
	r := &report{size: size, machine: aboutMachine(ctx, s.root)}

	progress("starting the system")
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	if err := s.start(ctx, services...); err != nil {
		return nil, err
	}
	idle, err := ofEach(s, procfs.Proc.NewStatus)
	if err != nil {
		return nil, err
	}
	r.idleGateway = idle["gateway"].VmRSS
	for _, p := range photos {
		c, err := s.load(ctx, p, size)
		if err != nil {
			return nil, err
		}
		r.columns = append(r.columns, c)
	}
	progress("single images on the idle system")
	if r.latency, err = s.latency(ctx, photos[0], size); err != nil {
		return nil, err
	}
	if err := s.stop(ctx); err != nil { // the comparison has the machine to itself
		return nil, err
	}
	progress("measuring the comparisons")
	r.machine.programs += ", exiftool " + output(ctx, "exiftool -ver") + ", libjpeg-turbo " + version(ctx, "libjpeg-turbo-progs")
	if err := s.compare(ctx, r, size); err != nil {
		return nil, err
	}
	r.machine.loadAfter = loadAverage(ctx)
	return r, nil
}

// progress logs progress on standard error.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
