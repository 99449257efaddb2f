package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
)

// batch is a part of the images, which becomes one job.
type batch struct {
	items   []*item
	files   []journal.File // of the items, if there is a journal
	key     string
	jobID   string // known if the batch continues an earlier run
	begun   bool   // the journal has it
	outcome []journal.Status
}

// downloads is how many objects of a job are downloaded at the same time.
const downloads = 4

// process sends a batch and waits for its job. An error concerns the whole run.
func (s *sender) process(ctx context.Context, b *batch) error {
	if b.jobID == "" {
		if err := s.create(ctx, b); err != nil || len(b.items) == 0 {
			return err
		}
	}
	s.mu.Lock()
	s.summary.Jobs = append(s.summary.Jobs, b.jobID)
	s.openJobs = append(s.openJobs, b.jobID)
	s.mu.Unlock()
	if s.options.noWait {
		if s.a.json {
			return nil
		}
		return s.a.line(b.jobID)
	}
	err := s.collect(ctx, b)
	if isMissing(err, "Job not found") { // a proxy's 404 has another text
		err = s.lost(b)
	}
	if err == nil {
		s.mu.Lock()
		s.openJobs = slices.DeleteFunc(s.openJobs, func(id string) bool { return id == b.jobID })
		s.mu.Unlock()
	}
	return err
}

// create sends a batch. Files that cannot be read are left out and reported.
func (s *sender) create(ctx context.Context, b *batch) error {
	for {
		if s.journal != nil && !b.begun {
			if err := s.begin(b); err != nil {
				return err
			}
		}
		if len(b.items) == 0 {
			return nil
		}
		images := make([]client.Image, len(b.items))
		for i, it := range b.items {
			images[i] = it.image(s.counted(b, i))
		}
		options := []client.JobOption{client.WithIdempotencyKey(b.key), client.WithMetadata(s.metadata)}
		if s.options.noCaptions {
			options = append(options, client.WithCaptions(false))
		}
		job, err := s.c.Create(ctx, images, options...)
		if e, ok := errors.AsType[*client.ImageError](err); ok && ctx.Err() == nil {
			if err := s.drop(b, e.Index, e.Err); err != nil {
				return err
			}
			continue
		}
		if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusUnprocessableEntity && b.begun {
			// The files are no longer what was sent under this key.
			if err := s.renew(b); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("send %s: %w", count(len(b.items), "image"), err)
		}
		b.jobID = job.ID
		if s.journal != nil {
			if err := s.journal.Created(b.key, job.ID, time.Now()); err != nil {
				return &localError{err}
			}
		}
		s.mu.Lock()
		s.unsent -= len(b.items)
		s.mu.Unlock()
		if s.a.json {
			return s.a.print(jobLine{"job", job})
		}
		if !s.a.quiet && !s.options.noWait {
			s.a.note("job %s: sent %s", job.ID, count(len(b.items), "image"))
		}
		for _, warning := range job.Warnings {
			s.a.note("job %s: %s", job.ID, warning)
		}
		return nil
	}
}

// begin records the batch in the journal before it is sent.
func (s *sender) begin(b *batch) error {
	b.files = nil
	for n := 0; n < len(b.items); {
		f, err := fileOf(b.items[n])
		if err != nil {
			if err := s.unread(b.items[n], err); err != nil {
				return err
			}
			b.items = slices.Delete(slices.Clone(b.items), n, n+1)
			continue
		}
		b.files = append(b.files, f)
		n++
	}
	if len(b.items) == 0 {
		return nil
	}
	b.begun, b.outcome = true, make([]journal.Status, len(b.items))
	if err := s.journal.Begin(journal.Batch{Key: b.key, Files: b.files}); err != nil {
		return &localError{err}
	}
	return nil
}

// drop leaves a file out that could not be read while it was sent.
func (s *sender) drop(b *batch, index int, err error) error {
	if err := s.unread(b.items[index], err); err != nil {
		return err
	}
	b.items = slices.Delete(slices.Clone(b.items), index, index+1)
	return s.renew(b)
}

// renew gives the batch another key: the gateway would refuse other content under the old one.
func (s *sender) renew(b *batch) error {
	if b.begun {
		for i, status := range b.outcome {
			if status != "" {
				continue
			}
			if err := s.journal.Ended(b.key, i, journal.Outcome{Status: journal.Skipped}); err != nil {
				return &localError{err}
			}
		}
	}
	b.key, b.begun = client.NewIdempotencyKey(), false
	return nil
}

// unread reports a local file that could not be read.
func (s *sender) unread(i *item, err error) error {
	s.mu.Lock()
	s.code = worse(s.code, exitLocal)
	s.summary.Unread++
	s.unsent--
	s.mu.Unlock()
	s.bar.ended(1, 1)
	if s.a.json {
		return s.a.print(imageLine{Type: "image", Path: i.path, URL: i.url, CustomID: i.id, Status: "unread", Error: err.Error()})
	}
	return s.a.printFailure(i.name(), err.Error())
}

// counted returns a function that wraps an image to count the bytes that are sent, and to
// check them against the journal.
func (s *sender) counted(b *batch, index int) func(io.ReadCloser) io.ReadCloser {
	var last *counter
	return func(r io.ReadCloser) io.ReadCloser {
		if last != nil { // it is sent again
			s.bar.add(-last.n)
		}
		last = &counter{ReadCloser: r, bar: s.bar}
		if b.files != nil {
			last.sum, last.want = sha256.New(), b.files[index].SHA256
		}
		return last
	}
}

// counter counts the bytes of an image.
type counter struct {
	io.ReadCloser
	bar  *bar
	n    int64
	sum  hash.Hash // nil: not checked
	want journal.Digest
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	c.bar.add(int64(n))
	if c.sum != nil {
		c.sum.Write(p[:n])
		if errors.Is(err, io.EOF) && digestOf(c.sum) != c.want {
			err = errors.New("it changed before it was sent")
		}
	}
	return n, err
}

// collect waits for the job and saves its results while they arrive.
func (s *sender) collect(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	room := make(chan struct{}, downloads)
	var wg sync.WaitGroup
	defer wg.Wait()
	var last client.Event
	for e, err := range s.c.Watch(ctx, b.jobID) {
		if err != nil {
			cancel(err)
			return err
		}
		last = e
		if e.Image == nil || e.Image.Index < 0 || e.Image.Index >= len(b.items) {
			continue
		}
		img := e.Image
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			if ctx.Err() != nil {
				return
			}
			if err := s.result(ctx, b, img); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	s.code = worse(s.code, codeOf(client.Job{Status: last.Status, Failed: last.Failed}))
	s.mu.Unlock()
	if s.archive != nil {
		s.archive.add(b.jobID)
	}
	return nil
}

// result saves an image that has ended, and records its end.
func (s *sender) result(ctx context.Context, b *batch, img *client.JobImage) error {
	it := b.items[img.Index]
	line := imageLine{
		Type: "image", JobID: b.jobID, Index: img.Index, Path: it.path, URL: it.url, CustomID: it.id, OriginalFilename: img.OriginalFilename,
		Status: string(img.Status), Error: img.Error, ErrorCode: img.ErrorCode, Uncaptioned: img.Uncaptioned,
	}
	if img.Status != client.Completed {
		return s.fail(b, it, img.Index, line)
	}
	o := journal.Outcome{Status: journal.Completed}
	if s.folder != nil && b.status(img.Index) == "" {
		want := it.id
		if it.url != "" || !isSafe(want) {
			want = safePath(img)
		}
		name := s.folder.take(want)
		digest, err := s.folder.save(ctx, s.c, b.jobID, img.Index, name)
		if _, isLocal := errors.AsType[*localError](err); isLocal && errors.Is(err, errForeign) {
			s.mu.Lock()
			s.code = worse(s.code, exitLocal)
			s.summary.Unread++
			s.mu.Unlock()
			s.bar.ended(1, 1)
			return s.a.printFailure(it.name(), err.Error())
		}
		if isMissing(err, "No result") { // its retention has ended, or an operator has deleted it
			line.Status, line.Error = string(client.Failed), err.Error()
			return s.fail(b, it, img.Index, line)
		}
		if err != nil {
			return fmt.Errorf("save %s: %w", it.name(), err)
		}
		o.Output, o.Digest, line.Output = name, digest, s.folder.root.Name()+string(os.PathSeparator)+name
	}
	if err := s.end(b, img.Index, o); err != nil {
		return err
	}
	s.mu.Lock()
	s.summary.Completed++
	if img.Uncaptioned {
		s.summary.Uncaptioned++
	}
	s.mu.Unlock()
	s.bar.ended(1, 0)
	if s.a.json {
		return s.a.print(line)
	}
	return nil
}

// isMissing reports whether the gateway has responded with 404 and a text that starts so.
func isMissing(err error, text string) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && e.Status == http.StatusNotFound && strings.HasPrefix(e.Text, text)
}

// status returns how the image has ended in an earlier run.
func (b *batch) status(index int) journal.Status {
	if index < len(b.outcome) {
		return b.outcome[index]
	}
	return ""
}

// fail records and prints an image that failed. Without an index, it was not sent.
func (s *sender) fail(b *batch, i *item, index int, line imageLine) error {
	if index >= 0 {
		if err := s.end(b, index, journal.Outcome{Status: journal.Failed, Error: line.Error}); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.code = worse(s.code, exitImagesFailed)
	s.summary.Failed++
	s.mu.Unlock()
	if s.bar != nil {
		s.bar.ended(1, 1)
	}
	if !s.a.json {
		return s.a.printFailure(i.name(), line.Error)
	}
	line.Type, line.Path, line.URL, line.CustomID, line.Status = "image", i.path, i.url, i.id, string(client.Failed)
	return s.a.print(line)
}

// end records the end of an image. Results that go into a ZIP file have not ended before that
// is complete.
func (s *sender) end(b *batch, index int, o journal.Outcome) error {
	if s.journal == nil || !b.begun || b.status(index) != "" || s.archive != nil && o.Status != journal.Lost {
		return nil
	}
	if err := s.journal.Ended(b.key, index, o); err != nil {
		return &localError{err}
	}
	return nil
}

// archived records the images whose results are in the ZIP file.
func (s *sender) archived(batches []*batch) error {
	if s.journal == nil {
		return nil
	}
	for _, b := range batches {
		for i, status := range b.outcome {
			if !b.begun || b.jobID == "" || status != "" {
				continue
			}
			if err := s.journal.Ended(b.key, i, journal.Outcome{Status: journal.Completed}); err != nil {
				return &localError{err}
			}
		}
	}
	return nil
}

// lost reports a job of an earlier run that the gateway no longer has.
func (s *sender) lost(b *batch) error {
	s.a.note("job %s: the gateway no longer has it; its results were not fetched, and its images are not sent again", b.jobID)
	s.mu.Lock()
	s.code = worse(s.code, exitJobFailed)
	s.mu.Unlock()
	for i := range b.items {
		if b.status(i) != "" {
			continue
		}
		if err := s.end(b, i, journal.Outcome{Status: journal.Lost}); err != nil {
			return err
		}
		s.mu.Lock()
		s.summary.Failed++
		s.mu.Unlock()
		s.bar.ended(1, 1)
	}
	return nil
}
