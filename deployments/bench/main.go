// Command bench measures the whole of Imagebatch as it is shipped: it starts the three
// services on a real RabbitMQ and MinIO, sends them batches of photographs, and reports
// what each process spent on an image. The same run measures what to compare with:
// describing and embedding alone, the pipeline that one would write first, and other
// JPEG decoders.
//
//	bench                        everything, into docs/performance.md; at most 8 minutes
//	bench -quick -doc ''         a few images of each, to see that it works
//	GOGC=400 bench -doc ''       GOGC and GOMEMLIMIT are passed on to the services
//	bench -scaling               instead: fleets of analyzers, into docs/operations.md; at most 5 minutes
//
// Fleets are compared by the images that wait in them: a proxy of this program delays
// every original by half a second, because one machine cannot have more processors.
//
// Processor times come from /proc, so this program runs on Linux only. They are nearly
// the same on a loaded machine; images per second and latencies are not, which is why
// the report includes the load. This program imports no service.
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
	quick := flag.Bool("quick", false, "a few images of each only: the figures mean nothing")
	dir := flag.String("dir", "data/bench", "where the programs, pictures, servers and logs lie")
	root := flag.String("root", ".", "the repository")
	doc := flag.String("doc", "docs/performance.md", "the document to write the tables into; empty: none")
	fleets := flag.Bool("scaling", false, "measure fleets of analyzers, into docs/operations.md, and nothing else")
	flag.Parse()
	size, scale := full, fullScale
	if *quick {
		size, scale = tiny, tinyScale
	}
	var text string
	var err error
	at := measuredPlace
	if *fleets {
		at = scalingPlace
		text, err = markdown(measureScaling(ctx, *root, *dir, scale))
	} else {
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

// markdown returns the text of a measurement that did not fail.
func markdown(r interface{ markdown() string }, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return r.markdown(), nil
}

// size is how much is measured. A part that exceeds its time ends after the current
// round, and its figures are the medians of the rounds so far.
type size struct {
	images  int           // of a batch
	rounds  int           // of each kind of load
	singles int           // images sent alone, one after the other
	syncs   int           // calls of fsync
	alone   int           // calls of what is measured without the system, a round
	part    time.Duration // time limit of one kind of load, for one picture
	whole   time.Duration // time limit of everything, after which the run fails
}

var (
	full = size{images: 100, rounds: 5, singles: 100, syncs: 500, alone: 10, part: 50 * time.Second, whole: 8 * time.Minute}
	tiny = size{images: 3, rounds: 1, singles: 3, syncs: 5, alone: 1, part: 30 * time.Second, whole: 5 * time.Minute}
)

// measure builds and starts the system, measures it, and ends all that it started.
func measure(ctx context.Context, root, dir string, size size) (_ *report, err error) {
	s, err := newSystem(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	if err := s.buildBenchmarks(ctx); err != nil {
		return nil, err
	}
	pictures, err := s.draw(ctx, wanted...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, size.whole)
	defer cancel()
	r := &report{size: size, machine: aboutMachine(ctx, s.root)}

	say("starting the system")
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	if err := s.start(ctx, services...); err != nil {
		return nil, err
	}
	idle, err := ofEach(s, procfs.Proc.NewStatus)
	if err != nil {
		return nil, err
	}
	r.idleGateway = idle["gateway"].VmRSS
	for _, p := range pictures {
		c, err := s.load(ctx, p, size)
		if err != nil {
			return nil, err
		}
		r.columns = append(r.columns, c)
	}
	say("single images on the idle system")
	if r.latency, err = s.latency(ctx, pictures[0], size); err != nil {
		return nil, err
	}
	if err := s.stop(ctx); err != nil { // the comparison has the machine to itself
		return nil, err
	}
	say("what there is to compare with")
	r.machine.programs += ", exiftool " + output(ctx, "exiftool -ver") + ", libjpeg-turbo " + version(ctx, "libjpeg-turbo-progs")
	if err := s.compare(ctx, r, size); err != nil {
		return nil, err
	}
	r.machine.loadAfter = loadAverage(ctx)
	return r, nil
}

// say logs progress on standard error.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
