package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// scale is how much is measured of fleets of analyzers.
type scale struct {
	fleets      []int         // numbers of analyzers, ascending from one
	images      int           // for each fleet
	wait        time.Duration // before an original arrives
	concurrency int           // of each analyzer
	victims     int           // size of the fleet that loses an analyzer
	whole       time.Duration // time limit of everything, after which the run fails
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
	lost    time.Duration // from the kill of an analyzer to the end of the last image
}

// performance is that of one fleet.
type performance struct {
	analyzers   int
	rate        float64 // images a second
	least, most float64 // images of one analyzer, over the mean of all
	try         float64 // seconds of one try, the wait included
	busy        float64 // mean share of the analyzers' places that are taken
}

// fleet is a number of analyzers next to one gateway and one processor. They know
// nothing of each other: each is one more process with the same environment.
type fleet struct {
	*system
	env     []string // of each analyzer
	started int
	alive   []member // in the order of their start
}

type member struct{ name, addr string }

// measureScaling builds and starts the system, measures its fleets, and ends all that
// it started.
func measureScaling(ctx context.Context, root, dir string, scale scale) (_ *scaling, err error) {
	s, err := newSystem(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	small, err := s.draw(ctx, wantedSmall)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, scale.whole)
	defer cancel()
	r := &scaling{scale: scale, machine: aboutMachine(ctx, s.root)}
	say("starting the system")
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	if err := s.start(ctx, "gateway", "processor"); err != nil {
		return nil, err
	}
	store, err := startSlowStore(s.s3Endpoint, scale.wait)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	defer store.CloseClientConnections()

	f := &fleet{system: s, env: []string{"S3_ENDPOINT=" + store.URL, fmt.Sprintf("CONCURRENCY=%d", scale.concurrency)}}
	for _, n := range scale.fleets {
		if err := f.grow(ctx, n); err != nil {
			return nil, err
		}
		p, err := f.perform(ctx, small[0], scale)
		if err != nil {
			return nil, err
		}
		r.fleets = append(r.fleets, *p)
		if n == scale.victims {
			if r.lost, err = f.loseOne(ctx, small[0], scale); err != nil {
				return nil, err
			}
		}
	}
	r.machine.loadAfter = loadAverage(ctx)
	return r, nil
}

// grow starts analyzers until there are n.
func (f *fleet) grow(ctx context.Context, n int) error {
	for len(f.alive) < n {
		f.started++
		name := "analyzer-" + strconv.Itoa(f.started)
		addr, err := f.startService(ctx, "analyzer", name, f.env...)
		if err != nil {
			return err
		}
		f.alive = append(f.alive, member{name, addr})
	}
	return nil
}

// work is what one analyzer has done, by its own metrics.
type work struct{ images, tries, seconds float64 }

// work returns what each analyzer has done since then, and the sum.
func (f *fleet) work(ctx context.Context, since map[string]work) (each map[string]work, all work, err error) {
	each = map[string]work{}
	for _, m := range f.alive {
		text, err := get(ctx, "http://"+m.addr+"/metrics")
		if err != nil {
			return nil, work{}, fmt.Errorf("read metrics of %s: %w", m.name, err)
		}
		figure := func(series string) float64 {
			_, rest, _ := strings.Cut(text, "\nimagebatch_stage_"+series+`queue="image_upload"} `)
			line, _, _ := strings.Cut(rest, "\n")
			value, _ := strconv.ParseFloat(line, 64) // there is no line before the first image
			return value
		}
		w := work{
			images:  figure(`messages_total{outcome="done",`) - since[m.name].images,
			tries:   figure(`duration_seconds_count{`) - since[m.name].tries,
			seconds: figure(`duration_seconds_sum{`) - since[m.name].seconds,
		}
		each[m.name], all = w, work{all.images + w.images, all.tries + w.tries, all.seconds + w.seconds}
	}
	return each, all, nil
}

// perform sends the fleet its images and measures from the end of the first round, in
// which every place has had one, to the end of the last image: the time to send the
// first batch does not count.
func (f *fleet) perform(ctx context.Context, p picture, scale scale) (*performance, error) {
	places := len(f.alive) * scale.concurrency
	if _, err := f.send(ctx, p, 2*places, func(int) {}); err != nil { // opens connections and touches memory
		return nil, err
	}
	say("%d analyzers: %d images", len(f.alive), scale.images)
	before, _, err := f.work(ctx, nil)
	if err != nil {
		return nil, err
	}
	ends, err := f.send(ctx, p, scale.images, func(int) {})
	if err != nil {
		return nil, err
	}
	each, all, err := f.work(ctx, before)
	// A client may learn of the last image a moment before it is counted.
	for tries := 0; err == nil && all.images < float64(scale.images) && tries < 100; tries++ {
		time.Sleep(50 * time.Millisecond)
		each, all, err = f.work(ctx, before)
	}
	if err == nil && all.images != float64(scale.images) {
		err = fmt.Errorf("%d analyzers count %.0f images, and %d were sent", len(f.alive), all.images, scale.images)
	}
	if err != nil {
		return nil, err
	}
	first, last := ends[min(places, len(ends)-1)-1], ends[len(ends)-1]
	r := &performance{analyzers: len(f.alive), rate: float64(scale.images-places) / max(last.Sub(first), time.Millisecond).Seconds()}
	var shares []float64
	for _, w := range each {
		shares = append(shares, w.images*float64(len(each))/all.images)
	}
	r.least, r.most = slices.Min(shares), slices.Max(shares)
	r.try = all.seconds / all.tries
	r.busy = all.seconds / (float64(places) * (last.Sub(ends[0]).Seconds() + r.try))
	return r, nil
}

// loseOne kills the newest analyzer when a quarter of the images has ended, and returns
// the time from then to the end of the last image.
func (f *fleet) loseOne(ctx context.Context, p picture, scale scale) (time.Duration, error) {
	say("%d analyzers, of which one is killed: %d images", len(f.alive), scale.images)
	var killed time.Time
	ends, err := f.send(ctx, p, scale.images, func(ended int) {
		if ended == max(1, scale.images/4) {
			killed = time.Now()
			last := len(f.alive) - 1
			_ = f.running[f.alive[last].name].Process.Kill()
			_ = f.end(f.alive[last].name) // it reports the kill
			f.alive = f.alive[:last]
		}
	})
	if err != nil {
		return 0, err
	}
	return ends[len(ends)-1].Sub(killed), nil
}

// send sends the picture n times, in as few batches as possible, and waits until all have
// completed. It returns the time of each end, and calls ended with the number so far.
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
			return f.watch(ctx, id, count, func() {
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
		return nil, fmt.Errorf("%d of %d images have ended", len(ends), n)
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
	one, others := r.fleets[0], ""
	for _, p := range r.fleets {
		times := p.rate / one.rate
		fmt.Fprintf(&b, "| %d | %.2f | %.2f | %.0f %% | %.0f to %.0f %% | %.3f | %.0f %% |\n", p.analyzers, p.rate, times,
			100*times*float64(one.analyzers)/float64(p.analyzers), 100*p.least, 100*p.most, p.try, 100*p.busy)
		if p.analyzers == r.scale.victims {
			left := float64(r.scale.images - r.scale.images/4)
			others = fmt.Sprintf("; the others do as many in %.1f s", left/(p.rate*float64(p.analyzers-1)/float64(p.analyzers)))
		}
	}
	fmt.Fprintf(&b, "\nOf %d analyzers one was killed after a quarter of %d images: all completed, the last of them %.1f s after the kill%s.\n",
		r.scale.victims, r.scale.images, r.lost.Seconds(), others)
	return b.String()
}
