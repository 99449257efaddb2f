package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fleet is a number of analyzers beside one gateway and one processor. They are told
// nothing of one another: one more is one more process with the same environment.
type fleet struct {
	*system
	env   []string // of each analyzer
	size  int      // that were ever started
	alive []member // in the order of their start
}

// member is one analyzer.
type member struct{ name, addr string }

// grow starts analyzers until there are n.
func (f *fleet) grow(ctx context.Context, n int) error {
	for len(f.alive) < n {
		f.size++
		m := member{name: "analyzer-" + strconv.Itoa(f.size)}
		var err error
		if m.addr, err = freeAddr(ctx); err != nil {
			return err
		}
		if err := f.startProgram("analyzer", m.name, append(slices.Clip(f.env), "HTTP_ADDR="+m.addr)); err != nil {
			return err
		}
		if err := awaitReady(ctx, m.name, m.addr); err != nil {
			return err
		}
		f.alive = append(f.alive, m)
	}
	return nil
}

// shrink ends analyzers as an operator does until there are n.
func (f *fleet) shrink(n int) error {
	for len(f.alive) > n {
		last := len(f.alive) - 1
		if err := f.end(f.alive[last].name); err != nil {
			return err
		}
		f.alive = f.alive[:last]
	}
	return nil
}

// kill ends the newest analyzer as a crash does.
func (f *fleet) kill() {
	last := len(f.alive) - 1
	f.crash(f.alive[last].name)
	f.alive = f.alive[:last]
}

// work is what one analyzer has done so far, as it tells itself.
type work struct {
	images  float64 // done
	tries   float64
	seconds float64 // in tries
}

func (w work) since(before work) work {
	return work{w.images - before.images, w.tries - before.tries, w.seconds - before.seconds}
}

// work asks each analyzer what it has done.
func (f *fleet) work(ctx context.Context) (map[string]work, error) {
	all := map[string]work{}
	for _, m := range f.alive {
		text, err := scrape(ctx, m.addr)
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", m.name, err)
		}
		var w work
		for name, into := range map[string]*float64{
			`imagebatch_stage_messages_total{outcome="done",queue="image_upload"} `: &w.images,
			`imagebatch_stage_duration_seconds_count{queue="image_upload"} `:        &w.tries,
			`imagebatch_stage_duration_seconds_sum{queue="image_upload"} `:          &w.seconds,
		} {
			_, rest, told := strings.Cut(text, "\n"+name)
			line, _, _ := strings.Cut(rest, "\n")
			if !told {
				continue // it has done nothing yet
			}
			if *into, err = strconv.ParseFloat(line, 64); err != nil {
				return nil, fmt.Errorf("read what %s has done: %w", m.name, err)
			}
		}
		all[m.name] = w
	}
	return all, nil
}

// done tells what each analyzer has done since then, and all of them, when together they
// have done so many images. A client may learn of the last a moment before it is counted.
func (f *fleet) done(ctx context.Context, since map[string]work, images float64) (each []work, all work, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := f.work(ctx)
		if err != nil {
			return nil, work{}, fmt.Errorf("%d analyzers tell of %.0f images, %.0f were sent: %w", len(f.alive), all.images, images, err)
		}
		each, all = nil, work{}
		for name, w := range now {
			one := w.since(since[name])
			each, all = append(each, one), work{all.images + one.images, all.tries + one.tries, all.seconds + one.seconds}
		}
		if all.images == images {
			return each, all, nil
		}
		<-tick.C
	}
}

// scrape reads the metrics of a service.
func scrape(ctx context.Context, addr string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("read metrics: answer %d, %w", resp.StatusCode, err)
	}
	return string(text), nil
}
