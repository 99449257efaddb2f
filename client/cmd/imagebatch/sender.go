package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
)

// sender sends a collection of images in batches and collects the results.
type sender struct {
	a        *app
	c        *client.Client
	options  sendOptions
	limits   client.Limits
	metadata map[string]string
	found    collection
	journal  *journal.Journal // nil: none
	folder   *folder          // nil: none
	archive  *archive         // nil: none
	bar      *bar

	mu       sync.Mutex // guards the fields below
	code     int
	unsent   int
	openJobs []string
	summary  summaryLine
}

// summaryLine is the end of a run.
type summaryLine struct {
	Type      string   `json:"type"` // summary
	Images    int      `json:"images"`
	Completed int      `json:"completed"`
	Failed    int      `json:"failed"`
	Skipped   int      `json:"skipped"` // files in folders that are no images
	Unread    int      `json:"unread"`  // local files that could not be read or written
	Before    int      `json:"before"`  // images that an earlier run had completed
	Jobs      []string `json:"jobs"`

	Uncaptioned int `json:"uncaptioned"` // completed images that should have a caption and have none
}

// run sends everything. The error is an *outcome if images or jobs failed.
func (s *sender) run(ctx context.Context) error {
	batches, err := s.plan()
	if err != nil {
		return err
	}
	images, size := 0, int64(0)
	for _, b := range batches {
		images += len(b.items)
		if b.jobID == "" {
			s.unsent += len(b.items)
			for _, i := range b.items {
				size += i.size
			}
		}
	}
	if m := s.limits.Captions; m != nil && s.unsent > 0 && !s.a.json && !s.a.quiet {
		s.a.note("%s", captionsText(s.unsent, m))
	}
	s.bar = s.a.startBar(images, size)
	err = s.runAll(ctx, batches)
	if err == nil && s.archive != nil {
		if err = s.archive.write(ctx, s.c); err == nil {
			err = s.archived(batches)
		}
	}
	s.bar.close()
	if err != nil {
		return err
	}
	if err := s.reportErrors(); err != nil {
		s.code = worse(s.code, severityOf(err))
	}
	if !s.options.noWait || s.a.json {
		if err := s.printSummary(); err != nil {
			return err
		}
	}
	return ended(s.code, nil)
}

// runAll processes the batches, some at a time. The first error that concerns all of them
// ends it.
func (s *sender) runAll(ctx context.Context, batches []*batch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan *batch)
	var wg sync.WaitGroup
	for range s.options.parallel {
		wg.Go(func() {
			for b := range queue {
				if err := s.process(ctx, b); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, b := range batches {
		select {
		case queue <- b:
		case <-ctx.Done():
		}
	}
	close(queue)
	wg.Wait()
	return context.Cause(ctx)
}

// reportErrors prints the files in folders that could not be read.
func (s *sender) reportErrors() error {
	for _, err := range s.found.errs {
		s.a.note("%v", err)
	}
	if n := len(s.found.errs); n > 0 {
		return &outcome{exitLocal}
	}
	return nil
}

func (s *sender) printSummary() error {
	s.summary.Type, s.summary.Skipped = "summary", s.found.skipped
	s.summary.Unread += len(s.found.errs)
	if s.a.json {
		return s.a.print(s.summary)
	}
	parts := []string{fmt.Sprintf("%s: %d completed", count(s.summary.Images, "image"), s.summary.Completed)}
	for _, part := range []struct {
		n    int
		text string
	}{
		{s.summary.Failed, "failed"},
		{s.summary.Uncaptioned, "uncaptioned"},
		{s.summary.Before, "completed by an earlier run"},
		{s.summary.Skipped, "skipped, not an image"},
		{s.summary.Unread, "not read or written"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return s.a.line(strings.Join(parts, ", "))
}

func (s *sender) tooLarge(i *item) bool { return i.size > s.limits.MaxImageBytes }
