package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sync/errgroup"
)

// captionScale limits how much of the caption step the scaling benchmark measures.
type captionScale struct {
	fleets      []int         // numbers of caption analyzers, ascending from one
	answer      time.Duration // how long the model takes
	rounds      int           // measured captions of each analyzer
	batch       int           // images per batch that is only described
	batches     int           // number of such batches in flight
	concurrency int           // CONCURRENCY of the describing analyzer
}

// captioning contains the results of one fleet of caption analyzers next to one describing analyzer.
type captioning struct {
	wait                time.Duration // delay of every original that is described
	analyzers           int
	captions, described float64 // per second; only images that want no caption count as described
	perCaption          float64 // CPU ms of the caption analyzers per caption
	fleet, all          float64 // shares of the machine's CPU time: of the caption analyzers, of all processes
}

// captioners is a fleet of caption analyzers, with the describing analyzer that feeds it.
type captioners struct {
	*fleet
	scale     captionScale
	describer *fleet // of one
	model     *slowModel
	store     *slowStore // of the describer
	photo     photo
}

// measureCaptions measures fleets of caption analyzers in a running system without analyzers: while describing waits
// for its originals, and, for the smallest and the largest fleet, while describing uses all processors.
func (s *system) measureCaptions(ctx context.Context, p photo, store *slowStore, scale scale) ([]captioning, error) {
	model := startSlowModel(scale.captions.answer)
	defer model.Close()
	defer model.CloseClientConnections()
	p.varied = new(atomic.Int64)
	env := []string{"CAPTION_URL=" + model.URL + "/v1", "CAPTION_MODEL=slow", "CAPTION_CONCURRENCY=1"}
	describer := append([]string{"ANALYZER_STEPS=describe", "S3_ENDPOINT=" + store.URL, fmt.Sprintf("CONCURRENCY=%d", scale.captions.concurrency)}, env...)
	f := &captioners{
		fleet: &fleet{system: s, prefix: "captioner-", env: append([]string{"ANALYZER_STEPS=caption"}, env...)}, scale: scale.captions,
		describer: &fleet{system: s, prefix: "describer-", env: describer}, model: model, store: store, photo: p,
	}
	if err := f.describer.grow(ctx, 1); err != nil {
		return nil, err
	}
	var all []captioning
	fleets := append([]int{0}, f.scale.fleets...)
	for i, n := range fleets {
		if err := f.grow(ctx, n); err != nil {
			return nil, err
		}
		f.store.delay(0)
		if n > 0 {
			if err := f.batch(ctx, f.photo, 2*n); err != nil { // opens connections and touches memory
				return nil, err
			}
		}
		for _, wait := range []time.Duration{scale.wait, 0} {
			if wait == 0 && i > 1 && i < len(fleets)-1 {
				continue
			}
			c, err := f.perform(ctx, wait)
			if err != nil {
				return nil, err
			}
			all = append(all, *c)
		}
	}
	slices.SortStableFunc(all, func(a, b captioning) int { return cmp.Compare(b.wait, a.wait) })
	return all, nil
}

// perform gives each caption analyzer its images, and describes others in the meantime. It measures from the end of
// the first round to the last answer of the model.
func (f *captioners) perform(ctx context.Context, wait time.Duration) (*captioning, error) {
	c := &captioning{wait: wait, analyzers: len(f.alive)}
	images := c.analyzers * (f.scale.rounds + 1)
	progress("%d caption analyzers: %d captions; describing waits %s for each original", c.analyzers, images, wait)
	from, err := f.described(ctx)
	if err != nil {
		return nil, err
	}
	f.model.hold()
	defer f.model.release()
	f.store.delay(0)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := f.send(ctx, f.photo, images, func(int) {})
		return err
	})
	g.Go(func() error {
		// From here on, only images that want no caption are described.
		err := until(ctx, func() (bool, error) {
			n, err := f.described(ctx)
			return n-from >= float64(images) && f.model.holding() == c.analyzers, err
		})
		if err != nil {
			return fmt.Errorf("fill the queue of the caption analyzers: %w; the model has %d requests", err, f.model.holding())
		}
		f.store.delay(wait)
		return f.describing(ctx, func() error { return f.observe(ctx, c, images) })
	})
	if err := g.Wait(); err != nil || images == 0 {
		return c, err
	}
	answers := f.model.answered()
	if len(answers) != images {
		return nil, fmt.Errorf("the model gave %d answers about %d pictures", len(answers), images)
	}
	c.captions = float64(images-c.analyzers) / answers[images-1].Sub(answers[c.analyzers-1]).Seconds()
	return c, nil
}

// describing keeps the describer busy with images that want no caption until do returns. It calls do when a batch of
// them has been described.
func (f *captioners) describing(ctx context.Context, do func() error) error {
	from, err := f.described(ctx)
	if err != nil {
		return err
	}
	plain := f.photo
	plain.options = `"captions":false,`
	var enough atomic.Bool
	g, ctx := errgroup.WithContext(ctx)
	for range f.scale.batches {
		g.Go(func() error {
			for !enough.Load() {
				if err := f.batch(ctx, plain, f.scale.batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = until(ctx, func() (bool, error) {
		n, err := f.described(ctx)
		return n-from >= float64(f.scale.batch), err
	})
	if err == nil {
		err = do()
	}
	enough.Store(true)
	f.store.delay(0)
	return errors.Join(err, g.Wait())
}

// observe lets the model answer, and measures until its last answer, or without caption analyzers for as long as its
// answers would take. At least one image is described in that time.
func (f *captioners) observe(ctx context.Context, c *captioning, images int) error {
	before, err := f.usage(ctx)
	if err != nil {
		return err
	}
	f.model.release()
	err = until(ctx, func() (bool, error) {
		if images == 0 && time.Since(before.at) < f.scale.answer*time.Duration(f.scale.rounds) || len(f.model.answered()) < images {
			return false, nil
		}
		n, err := f.described(ctx)
		return n > before.described, err
	})
	if err != nil {
		return fmt.Errorf("wait for %d answers: %w; there are %d", images, err, len(f.model.answered()))
	}
	after, err := f.usage(ctx)
	if err != nil {
		return err
	}
	took := after.at.Sub(before.at).Seconds()
	c.described = (after.described - before.described) / took
	c.fleet = (after.fleet - before.fleet).Seconds() / took / float64(runtime.NumCPU())
	c.all = (after.all - before.all).Seconds() / took / float64(runtime.NumCPU())
	c.perCaption = ms(after.fleet-before.fleet) / float64(max(images, 1))
	return nil
}

// usage contains the totals at one moment.
type usage struct {
	at         time.Time
	described  float64
	fleet, all time.Duration // CPU time of the caption analyzers, and of all processes with this program
}

func (f *captioners) usage(ctx context.Context) (u usage, err error) {
	if u.described, err = f.described(ctx); err != nil {
		return u, err
	}
	u.at, u.all = time.Now(), ownTime()
	for name, pid := range f.pids {
		if f.running[name] == nil && name != "rabbitmq" && name != "minio" {
			continue // it has ended
		}
		p, err := procfs.NewProc(pid)
		var used time.Duration
		if err == nil {
			used, err = spent(p)
		}
		if err != nil {
			return u, fmt.Errorf("%s: %w", name, err)
		}
		u.all += used
		if strings.HasPrefix(name, f.prefix) {
			u.fleet += used
		}
	}
	return u, nil
}

// described returns the number of images that the describer has finished.
func (f *captioners) described(ctx context.Context) (float64, error) {
	_, all, err := f.describer.work(ctx, nil)
	return all.images, err
}

// until waits for an event.
func until(ctx context.Context, event func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := event(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// captionsMarkdown returns the table of the caption analyzers as the document contains it.
func (r *scaling) captionsMarkdown() string {
	var b strings.Builder
	s := r.scale.captions
	fmt.Fprintf(&b, "\n`ANALYZER_STEPS=caption`, `CAPTION_CONCURRENCY=1`, and a model that answers after %d ms; next to them, one analyzer with\n"+
		"`ANALYZER_STEPS=describe`, `CONCURRENCY=%d`. Every image is another picture of %s pixels; %d captions of each analyzer for each row.\n\n",
		s.answer.Milliseconds(), s.concurrency, r.pixels, s.rounds)
	b.WriteString("| Describing | caption analyzers | captions per second | × one analyzer | of linear | images described per second | of those with no captions | CPU ms per caption | CPU: caption analyzers | CPU: all processes |\n" +
		"|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	var none, one captioning // of the same kind
	for _, c := range r.captions {
		kind := "uses all processors"
		if c.wait > 0 {
			kind = fmt.Sprintf("waits %d ms for each original", c.wait.Milliseconds())
		}
		captions, cpu := "– | – | –", "–"
		if c.analyzers == 0 {
			none, one = c, captioning{}
		} else {
			if one.analyzers == 0 {
				one = c
			}
			times := c.captions / one.captions
			captions = fmt.Sprintf("%.2f | %.2f | %.0f %%", c.captions, times, 100*times*float64(one.analyzers)/float64(c.analyzers))
			cpu = fmt.Sprintf("%.0f", c.perCaption)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %.1f | %.0f %% | %s | %.0f %% | %.0f %% |\n",
			kind, c.analyzers, captions, c.described, 100*c.described/none.described, cpu, 100*c.fleet, 100*c.all)
	}
	return b.String()
}
