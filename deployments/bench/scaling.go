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

// scale limits how much the scaling benchmark measures.
type scale struct {
	fleets      []int         // numbers of analyzers, ascending from one
	images      int           // images per fleet
	wait        time.Duration // delay of every original
	concurrency int           // CONCURRENCY of each analyzer
	victims     int           // size of the fleet that loses an analyzer
	captions    captionScale
	whole       time.Duration // time limit of the run, after which it fails
}

var (
	fullScale = scale{
		fleets: []int{1, 2, 4, 8}, images: 320, wait: 500 * time.Millisecond, concurrency: 2, victims: 4, whole: 8 * time.Minute,
		captions: captionScale{fleets: []int{1, 2, 4, 8}, answer: time.Second, rounds: 12, batch: 30, batches: 5, concurrency: 8},
	}
	tinyScale = scale{
		fleets: []int{1, 2}, images: 12, wait: 20 * time.Millisecond, concurrency: 2, victims: 2, whole: 5 * time.Minute,
		captions: captionScale{fleets: []int{1, 2}, answer: 50 * time.Millisecond, rounds: 3, batch: 3, batches: 2, concurrency: 2},
	}
)

// scaling contains all results.
type scaling struct {
	scale    scale
	machine  machine
	fleets   []performance
	lost     time.Duration // from the kill of an analyzer to the end of the last image
	pixels   string        // size of the captioned pictures
	captions []captioning
}

// performance contains the results of one fleet.
type performance struct {
	analyzers   int
	rate        float64 // images per second
	least, most float64 // images of one analyzer, divided by the mean of all
	attempt     float64 // mean seconds of one attempt, including the wait
	busy        float64 // mean share of the analyzers' slots that are in use
}

// fleet is a number of analyzers with one gateway and one processor. The analyzers do not
// know each other: each is another process with the same environment.
type fleet struct {
	*system
	prefix  string   // of the analyzers' names
	env     []string // environment of each analyzer
	started int
	alive   []member // in start order
}

type member struct{ name, addr string }

// measureScaling builds and starts the system, measures its fleets, and stops everything
// it started.
func measureScaling(ctx context.Context, root, dir string, scale scale) (_ *scaling, err error) {
	s, err := newSystem(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	photos, err := s.draw(ctx, wantedSmall, wanted[0])
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, scale.whole)
	defer cancel()
	r := &scaling{scale: scale, machine: aboutMachine(ctx, s.root)}
	progress("starting the system")
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

	f := &fleet{system: s, prefix: "analyzer-", env: []string{"S3_ENDPOINT=" + store.URL, fmt.Sprintf("CONCURRENCY=%d", scale.concurrency)}}
	for _, n := range scale.fleets {
		if err := f.grow(ctx, n); err != nil {
			return nil, err
		}
		p, err := f.perform(ctx, photos[0], scale)
		if err != nil {
			return nil, err
		}
		r.fleets = append(r.fleets, *p)
		if n == scale.victims {
			if r.lost, err = f.loseOne(ctx, photos[0], scale); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range f.alive {
		if err := s.end(m.name); err != nil {
			return nil, err
		}
	}
	large := photos[1]
	r.pixels = fmt.Sprintf("%d×%d", large.width, large.height)
	if r.captions, err = s.measureCaptions(ctx, large, store, scale); err != nil {
		return nil, err
	}
	r.machine.loadAfter = loadAverage(ctx)
	return r, nil
}

// grow starts analyzers until there are n.
func (f *fleet) grow(ctx context.Context, n int) error {
	for len(f.alive) < n {
		f.started++
		name := f.prefix + strconv.Itoa(f.started)
		addr, err := f.startService(ctx, "analyzer", name, f.env...)
		if err != nil {
			return err
		}
		f.alive = append(f.alive, member{name, addr})
	}
	return nil
}

// work contains the totals of one analyzer, according to its own metrics.
type work struct{ images, attempts, seconds float64 }

// work returns the work of each analyzer in addition to since, and the sum.
func (f *fleet) work(ctx context.Context, since map[string]work) (each map[string]work, all work, err error) {
	each = map[string]work{}
	for _, m := range f.alive {
		text, err := get(ctx, "http://"+m.addr+"/metrics")
		if err != nil {
			return nil, work{}, fmt.Errorf("read metrics of %s: %w", m.name, err)
		}
		metric := func(series string) float64 {
			_, rest, _ := strings.Cut(text, "\nimagebatch_stage_"+series+`queue="image_upload"} `)
			line, _, _ := strings.Cut(rest, "\n")
			value, _ := strconv.ParseFloat(line, 64) // the line is missing before the first image
			return value
		}
		w := work{
			images:   metric(`messages_total{outcome="done",`) - since[m.name].images,
			attempts: metric(`duration_seconds_count{`) - since[m.name].attempts,
			seconds:  metric(`duration_seconds_sum{`) - since[m.name].seconds,
		}
		each[m.name], all = w, work{all.images + w.images, all.attempts + w.attempts, all.seconds + w.seconds}
	}
	return each, all, nil
}

// perform sends the fleet its images. It measures from the end of the first round, when
// every slot has processed one image, to the end of the last image, so the time to send
// the first batch is not included.
func (f *fleet) perform(ctx context.Context, p photo, scale scale) (*performance, error) {
	slots := len(f.alive) * scale.concurrency
	if _, err := f.send(ctx, p, 2*slots, func(int) {}); err != nil { // opens connections and touches memory
		return nil, err
	}
	progress("%d analyzers: %d images", len(f.alive), scale.images)
	before, _, err := f.work(ctx, nil)
	if err != nil {
		return nil, err
	}
	ends, err := f.send(ctx, p, scale.images, func(int) {})
	if err != nil {
		return nil, err
	}
	each, all, err := f.work(ctx, before)
	// A client may see the end of the last image shortly before the analyzer counts it.
	for tries := 0; err == nil && all.images < float64(scale.images) && tries < 100; tries++ {
		time.Sleep(50 * time.Millisecond)
		each, all, err = f.work(ctx, before)
	}
	if err == nil && all.images != float64(scale.images) {
		err = fmt.Errorf("%d analyzers counted %.0f images; %d were sent", len(f.alive), all.images, scale.images)
	}
	if err != nil {
		return nil, err
	}
	first, last := ends[min(slots, len(ends)-1)-1], ends[len(ends)-1]
	r := &performance{analyzers: len(f.alive), rate: float64(scale.images-slots) / max(last.Sub(first), time.Millisecond).Seconds()}
	var shares []float64
	for _, w := range each {
		shares = append(shares, w.images*float64(len(each))/all.images)
	}
	r.least, r.most = slices.Min(shares), slices.Max(shares)
	r.attempt = all.seconds / all.attempts
	r.busy = all.seconds / (float64(slots) * (last.Sub(ends[0]).Seconds() + r.attempt))
	return r, nil
}

// loseOne kills the newest analyzer when a quarter of the images have ended. It returns
// the time from the kill to the end of the last image.
func (f *fleet) loseOne(ctx context.Context, p photo, scale scale) (time.Duration, error) {
	progress("%d analyzers, one of them killed: %d images", len(f.alive), scale.images)
	var killed time.Time
	ends, err := f.send(ctx, p, scale.images, func(ended int) {
		if ended == max(1, scale.images/4) {
			killed = time.Now()
			last := len(f.alive) - 1
			_ = f.running[f.alive[last].name].Process.Kill()
			_ = f.end(f.alive[last].name) // the error reports the kill
			f.alive = f.alive[:last]
		}
	})
	if err != nil {
		return 0, err
	}
	return ends[len(ends)-1].Sub(killed), nil
}

// send sends the photo n times, in as few batches as possible, and waits until all images
// have completed. It returns the time of each end, and calls ended with the number so far.
func (f *fleet) send(ctx context.Context, p photo, n int, ended func(int)) ([]time.Time, error) {
	var mu sync.Mutex // guards ends and serializes calls of ended
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

// markdown returns the table as the document contains it.
func (r *scaling) markdown() string {
	var b strings.Builder
	b.WriteString(r.machine.markdown())
	fmt.Fprintf(&b, "\n%d small images for each row; every original is delayed by %d ms; `CONCURRENCY=%d`.\n\n",
		r.scale.images, r.scale.wait.Milliseconds(), r.scale.concurrency)
	b.WriteString("| Analyzers | images per second | × one analyzer | of linear | images of one, of the mean | s per attempt | capacity in use |\n|--:|--:|--:|--:|--:|--:|--:|\n")
	one, others := r.fleets[0], ""
	for _, p := range r.fleets {
		times := p.rate / one.rate
		fmt.Fprintf(&b, "| %d | %.2f | %.2f | %.0f %% | %.0f to %.0f %% | %.3f | %.0f %% |\n", p.analyzers, p.rate, times,
			100*times*float64(one.analyzers)/float64(p.analyzers), 100*p.least, 100*p.most, p.attempt, 100*p.busy)
		if p.analyzers == r.scale.victims {
			left := float64(r.scale.images - r.scale.images/4)
			others = fmt.Sprintf("; the others alone process that many in %.1f s", left/(p.rate*float64(p.analyzers-1)/float64(p.analyzers)))
		}
	}
	fmt.Fprintf(&b, "\nOne of %d analyzers was killed after a quarter of %d images: all completed, the last one %.1f s after the kill%s.\n",
		r.scale.victims, r.scale.images, r.lost.Seconds(), others)
	return b.String() + r.captionsMarkdown()
}
