// Command bench measures the whole of Imagebatch as it is shipped: it starts the
// three services on a real RabbitMQ and MinIO, sends them batches of photographs,
// and tells what each process spent on an image. In the same run it measures what
// there is to compare with: describing and embedding alone, the pipeline that one
// would write first, and other JPEG decoders.
//
//	bench                        everything, into docs/performance.md; at most 8 minutes
//	bench -quick -doc ''         a few images of each, to see that it works
//	GOGC=400 bench -doc ''       GOGC and GOMEMLIMIT are handed on to the services
//	bench -scaling               instead: fleets of analyzers, into docs/operations.md; at most 5 minutes
//
// Fleets are compared by the images that wait in them: every original takes half a
// second to come, in a proxy of this program before the store, since the processors of
// one machine cannot be shown to be more.
//
// Figures of processor time are read from /proc, so it runs on Linux only. They
// mean the same on a loaded machine, nearly; images per second and latencies do not,
// which is why the load is told beside them.
//
// It is never linked into a service and knows none from within: what the analyzer
// and the processor do with the bytes of an image is measured by their own Go
// benchmarks, which it builds and runs.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	quick := flag.Bool("quick", false, "a few images of each only: the figures mean nothing")
	dir := flag.String("dir", "data/bench", "where the programs, pictures, servers and logs lie")
	root := flag.String("root", ".", "the repository")
	doc := flag.String("doc", "docs/performance.md", "the document to write the tables into; empty: none")
	fleets := flag.Bool("scaling", false, "measure fleets of analyzers, into docs/operations.md, and nothing else")
	images := flag.Int("images", 0, "of a batch, in place of the hundred")
	rounds := flag.Int("rounds", 0, "of each kind of load, in place of five")
	flag.Parse()
	size, scale := full, fullScale
	if *quick {
		size, scale = tiny, tinyScale
	}
	size.images, size.rounds, scale.images = cmp.Or(*images, size.images), cmp.Or(*rounds, size.rounds), cmp.Or(*images, scale.images)
	bench := func() error { return run(ctx, *root, *dir, *doc, size) }
	if *fleets {
		if *doc != "" {
			*doc = scalingDoc
		}
		bench = func() error { return runScaling(ctx, *root, *dir, *doc, scale) }
	}
	if err := bench(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// size is how much is measured. A part that has not come to its end within its
// time is cut short after the round it is in, and its figures are the medians of the
// rounds that there were.
type size struct {
	images  int           // of a batch
	rounds  int           // of each kind of load
	singles int           // images sent alone, one after the other
	syncs   int           // calls of fsync
	alone   int           // calls of what is measured without the system, a round
	naive   int           // rounds of the naive pipeline, an image each
	part    time.Duration // the time of one part: of a kind of load, for one picture
	whole   time.Duration // the time of everything, after which it fails
}

var (
	full = size{images: 100, rounds: 5, singles: 100, syncs: 500, alone: 10, naive: 5, part: 50 * time.Second, whole: 8 * time.Minute}
	tiny = size{images: 3, rounds: 1, singles: 3, syncs: 5, alone: 1, naive: 1, part: 30 * time.Second, whole: 5 * time.Minute}
)

// run measures everything, prints it, and writes it into the document.
func run(ctx context.Context, root, dir, doc string, size size) error {
	report, err := measure(ctx, root, dir, size)
	if err != nil {
		return err
	}
	text := report.markdown()
	fmt.Print(text)
	if doc == "" {
		return nil
	}
	return measuredPlace.write(filepath.Join(root, doc), text)
}

// measure builds and starts what is to be measured, measures it, and ends all that
// it started.
func measure(ctx context.Context, root, dir string, size size) (_ *report, err error) {
	s, err := newSystem(root, dir)
	if err != nil {
		return nil, err
	}
	root, dir = s.root, s.dir
	// Data of an earlier run would be measured too; its servers are ended by what it
	// left, should it have been killed.
	if err := s.clear(ctx); err != nil {
		return nil, err
	}
	say("building the services and the benchmarks of the analyzer and the processor")
	if err := buildServices(ctx, root, dir); err != nil {
		return nil, err
	}
	alone, err := buildAlone(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	say("drawing the pictures")
	pictures, err := makePictures(ctx, root, alone.pictures)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, size.whole)
	defer cancel()
	r := &report{size: size, machine: aboutMachine(ctx, root)}

	say("starting the system")
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	idle, err := s.memory()
	if err != nil {
		return nil, err
	}
	r.idleGateway = idle["gateway"].now
	for _, p := range pictures {
		c := column{picture: p}
		if c.load, err = s.load(ctx, p, size); err != nil {
			return nil, err
		}
		r.columns = append(r.columns, c)
	}
	say("single images on the idle system")
	if r.latency, err = s.latency(ctx, pictures[0], size); err != nil {
		return nil, err
	}
	if err := s.stop(ctx); err != nil { // what follows has the machine to itself
		return nil, err
	}
	say("what there is to compare with")
	if err := compare(ctx, r, alone, size); err != nil {
		return nil, err
	}
	r.machine.loadAfter = loadAverage()
	return r, nil
}

// compare fills in what is measured without the system.
func compare(ctx context.Context, r *report, alone *benchmarks, size size) error {
	floor, err := alone.measure(ctx, size)
	if err != nil {
		return err
	}
	for i := range r.columns {
		c := &r.columns[i]
		c.describe, c.make = floor.describe[c.picture.name], floor.make[c.picture.name]
		if c.naive, err = naive(ctx, c.picture, size); err != nil {
			return err
		}
	}
	r.decoders, err = compareDecoders(ctx, alone.pictures, floor.decode, size)
	return err
}

// say tells on standard error what is being done.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
