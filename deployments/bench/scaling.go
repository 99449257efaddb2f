package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// scale is how much is measured of fleets of analyzers.
type scale struct {
	fleets      []int         // of so many analyzers, from one on, the one after the other
	images      int           // for each fleet
	wait        time.Duration // before an original comes
	concurrency int           // of each analyzer
	victims     int           // analyzers of the fleet of which one is killed
	whole       time.Duration // the time of everything, after which it fails
}

var (
	fullScale = scale{fleets: []int{1, 2, 4, 8}, images: 320, wait: 500 * time.Millisecond, concurrency: 2, victims: 4, whole: 5 * time.Minute}
	tinyScale = scale{fleets: []int{1, 2}, images: 12, wait: 20 * time.Millisecond, concurrency: 2, victims: 2, whole: 5 * time.Minute}
)

// scaling is what was measured.
type scaling struct {
	scale   scale
	machine machine
	fleets  []performance
	kill    killing
}

// performance is that of one fleet.
type performance struct {
	analyzers   int
	rate        float64 // images a second
	least, most float64 // images of one analyzer, over the mean of all
	try         float64 // seconds of one try, the wait included
	busy        float64 // of the places of all analyzers, the part that was taken on the average
}

// killing is what became of a job one of whose analyzers was killed.
type killing struct {
	images, done int
	seconds      float64 // from the kill to the last image's end
}

// measureScaling builds and starts what is to be measured, measures it, and ends all
// that it started.
func measureScaling(ctx context.Context, root, dir string, scale scale) (_ *scaling, err error) {
	s, err := newSystem(root, dir)
	if err != nil {
		return nil, err
	}
	if err := s.clear(ctx); err != nil {
		return nil, err
	}
	say("building the services")
	if err := buildServices(ctx, s.root, s.dir); err != nil {
		return nil, err
	}
	small, err := makeSmall(ctx, s.root)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, scale.whole)
	defer cancel()
	r := &scaling{scale: scale, machine: aboutMachine(ctx, s.root)}
	say("starting the system")
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	env, err := s.startServers(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"gateway", "processor"} {
		if err := s.startService(ctx, name, env); err != nil {
			return nil, err
		}
	}
	store, err := startSlowStore(ctx, setting(env, "S3_ENDPOINT"), scale.wait)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop(ctx), store.stop()) }()

	f := &fleet{system: s, env: append(slices.Clip(env), "S3_ENDPOINT="+store.url, fmt.Sprintf("CONCURRENCY=%d", scale.concurrency))}
	for _, n := range scale.fleets {
		if err := f.grow(ctx, n); err != nil {
			return nil, err
		}
		p, err := f.perform(ctx, small, scale)
		if err != nil {
			return nil, err
		}
		r.fleets = append(r.fleets, *p)
	}
	if err := f.shrink(scale.victims); err != nil {
		return nil, err
	}
	if err := f.grow(ctx, scale.victims); err != nil {
		return nil, err
	}
	if r.kill, err = f.loseOne(ctx, small, scale); err != nil {
		return nil, err
	}
	r.machine.loadAfter = loadAverage()
	return r, nil
}

// perform sends the fleet its images and measures from the end of the first round, in
// which every place has had one, to the end of the last image: the sending of the
// first batch is not the analyzers'.
func (f *fleet) perform(ctx context.Context, p picture, scale scale) (*performance, error) {
	places := len(f.alive) * scale.concurrency
	if _, err := f.send(ctx, p, 2*places, func(int) {}); err != nil { // connections are opened, memory is touched
		return nil, err
	}
	say("%d analyzers: %d images", len(f.alive), scale.images)
	before, err := f.work(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := f.send(ctx, p, scale.images, func(int) {})
	if err != nil {
		return nil, err
	}
	each, all, err := f.done(ctx, before, float64(scale.images))
	if err != nil {
		return nil, err
	}
	first, last := ends[min(places, len(ends)-1)-1], ends[len(ends)-1]
	r := &performance{analyzers: len(f.alive), rate: float64(scale.images-places) / max(last.Sub(first), time.Millisecond).Seconds()}
	var shares []float64
	for _, w := range each {
		shares = append(shares, w.images)
	}
	mean := all.images / float64(len(shares))
	r.least, r.most = slices.Min(shares)/mean, slices.Max(shares)/mean
	r.try = all.seconds / all.tries
	r.busy = all.seconds / (float64(places) * (last.Sub(ends[0]).Seconds() + r.try))
	return r, nil
}

// loseOne kills an analyzer when a quarter of the images has ended.
func (f *fleet) loseOne(ctx context.Context, p picture, scale scale) (killing, error) {
	say("%d analyzers, of which one is killed: %d images", len(f.alive), scale.images)
	var killed time.Time
	ends, err := f.send(ctx, p, scale.images, func(ended int) {
		if ended == max(1, scale.images/4) {
			killed = time.Now()
			f.kill()
		}
	})
	if err != nil {
		return killing{}, err
	}
	return killing{images: scale.images, done: len(ends), seconds: ends[len(ends)-1].Sub(killed).Seconds()}, nil
}

// send sends the picture n times, in as few batches as may be, and waits until all have
// completed. It returns when each did, and tells how many did as they do.
func (f *fleet) send(ctx context.Context, p picture, n int, ended func(int)) ([]time.Time, error) {
	var mu sync.Mutex // guards ends, and holds calls of ended apart
	var ends []time.Time
	g, ctx := errgroup.WithContext(ctx)
	for sent := 0; sent < n; {
		count := min(n-sent, 100)
		id, err := f.post(ctx, p, count)
		if err != nil {
			return nil, errors.Join(err, g.Wait())
		}
		sent += count
		g.Go(func() error {
			return f.follow(ctx, id, count, func() {
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, time.Now())
				ended(len(ends))
			})
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if len(ends) != n {
		return nil, fmt.Errorf("%d of %d images were told to have ended", len(ends), n)
	}
	return ends, nil
}

// markdown is the table as it stands in the document.
func (r *scaling) markdown() string {
	var b strings.Builder
	b.WriteString(r.machine.markdown())
	fmt.Fprintf(&b, "\n%d small images for each line; every original takes %d ms to come; `CONCURRENCY=%d`.\n\n",
		r.scale.images, r.scale.wait.Milliseconds(), r.scale.concurrency)
	b.WriteString("| Analyzers | images a second | × one analyzer | of linear | images of one, of the mean | s a try | places taken |\n|--:|--:|--:|--:|--:|--:|--:|\n")
	one := r.fleets[0]
	for _, p := range r.fleets {
		times := p.rate / one.rate
		fmt.Fprintf(&b, "| %d | %.2f | %.2f | %.0f %% | %.0f to %.0f %% | %.3f | %.0f %% |\n", p.analyzers, p.rate, times,
			100*times*float64(one.analyzers)/float64(p.analyzers), 100*p.least, 100*p.most, p.try, 100*p.busy)
	}
	fmt.Fprintf(&b, "\nOf %d analyzers one was killed after a quarter of %d images: %d completed, the last of them %.1f s after the kill",
		r.scale.victims, r.kill.images, r.kill.done, r.kill.seconds)
	for _, p := range r.fleets {
		if p.analyzers == r.scale.victims {
			left := float64(r.kill.images - r.kill.images/4)
			fmt.Fprintf(&b, "; the others do as many in %.1f s", left/(p.rate*float64(p.analyzers-1)/float64(p.analyzers)))
		}
	}
	b.WriteString(".\n")
	return b.String()
}

// runScaling measures fleets, prints the table, and writes it into the document.
func runScaling(ctx context.Context, root, dir, doc string, scale scale) error {
	r, err := measureScaling(ctx, root, dir, scale)
	if err != nil {
		return err
	}
	text := r.markdown()
	fmt.Print(text)
	if doc == "" {
		return nil
	}
	return scalingPlace.write(filepath.Join(root, doc), text)
}
