package inbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/mirror"
)

// openFiles returns the indexes of the files that have not ended.
func openFiles(b journal.Batch) []int {
	var list []int
	for i, o := range b.Outcomes {
		if o.Status == "" {
			list = append(list, i)
		}
	}
	return list
}

// batch returns an open batch as the journal has it. A batch that has ended has no files.
func (r *runner) batch(key string) journal.Batch {
	for _, b := range r.journal.Batches() {
		if b.Key == key {
			return b
		}
	}
	return journal.Batch{}
}

// work continues a batch from wherever it is until all its files have ended.
func (r *runner) work(ctx context.Context, key string) error {
	if r.batch(key).JobID == "" {
		if err := r.create(ctx, key); err != nil {
			return err
		}
	}
	b := r.batch(key)
	if len(b.Files) == 0 {
		return nil
	}
	job, err := r.gateway.Wait(ctx, b.JobID)
	if isGone(err) {
		return r.endAll(b, journal.Outcome{Status: journal.Lost, Error: "the gateway no longer has job " + b.JobID})
	}
	if err != nil {
		return err
	}
	return r.collect(ctx, b, job)
}

// create sends the batch. Files that have changed or cannot be read leave it, and the rest is sent.
func (r *runner) create(ctx context.Context, key string) error {
	for {
		b := r.batch(key)
		files := openFiles(b)
		if len(files) == 0 {
			return nil
		}
		images := make([]client.Image, len(files))
		for n, i := range files {
			images[n] = r.image(b.Files[i])
		}
		options := []client.JobOption{client.WithIdempotencyKey(key), client.WithMetadata(map[string]string{metadataKey: key})}
		if r.NoCaptions {
			options = append(options, client.WithCaptions(false))
		}
		job, err := r.gateway.Create(ctx, images, options...)
		if ctx.Err() != nil && err != nil {
			return context.Cause(ctx)
		}
		if e, ok := errors.AsType[*client.ImageError](err); ok {
			f := b.Files[files[e.Index]]
			if !errors.Is(e.Err, errChanged) && !errors.Is(e.Err, fs.ErrNotExist) {
				r.problem(f.Path, e.Err)
			}
			if err := r.end(b, files[e.Index], journal.Outcome{Status: journal.Skipped, Error: e.Err.Error()}); err != nil {
				return err
			}
			continue
		}
		if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusUnprocessableEntity {
			// An earlier run has sent it, and since then a file has changed.
			if job, err = r.find(ctx, key); err == nil && job.ID == "" {
				return r.endAll(b, journal.Outcome{Status: journal.Lost, Error: "the gateway no longer has its job"})
			}
		}
		if err != nil {
			if isFinal(err) && !isAccess(err) {
				// The gateway has created no job and never will for these files in this form, so that the journal must not keep them.
				err = errors.Join(err, r.endAll(b, journal.Outcome{Status: journal.Skipped, Error: err.Error()}))
			}
			return err
		}
		if err := r.journal.Created(key, job.ID, time.Now().UTC()); err != nil {
			return local(err)
		}
		r.report(Event{Type: Sent, JobID: job.ID, Files: len(files)}, r.uncounted)
		return nil
	}
}

// isAccess reports whether the gateway refuses the API key.
func isAccess(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

// isGone reports whether the gateway no longer has a job or a result. A proxy whose gateway is restarting sends 404 too.
func isGone(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && e.Status == http.StatusNotFound && (strings.HasPrefix(e.Text, "Job not found") || strings.HasPrefix(e.Text, "No result"))
}

// find returns the job that was created with the key, or an empty one if the gateway does not have it.
func (r *runner) find(ctx context.Context, key string) (client.Job, error) {
	for job, err := range r.gateway.List(ctx, client.ListOptions{WithoutImages: true, PageSize: 1000}) {
		if err != nil || job.Metadata[metadataKey] == key {
			return job, err
		}
	}
	return client.Job{}, nil
}

// image returns a file as it is sent.
func (r *runner) image(f journal.File) client.Image {
	return client.Image{Name: path.Base(f.Path), CustomID: customID(f), Size: f.Size, Open: func() (io.ReadCloser, error) {
		in, err := os.Open(r.source(f.Path))
		if err != nil {
			return nil, err
		}
		return &checked{in, sha256.New(), f.SHA256}, nil
	}}
}

// customID identifies a file in its job: by its path if that is possible.
func customID(f journal.File) string {
	if len(f.Path) <= 255 && !strings.Contains(f.Path, "\x00") {
		return f.Path
	}
	return "sha256:" + f.SHA256.String()
}

// collect writes the results of a job that has ended. A file that cannot be written does not keep the others from it.
func (r *runner) collect(ctx context.Context, b journal.Batch, job client.Job) error {
	images := map[string]client.JobImage{}
	for _, img := range job.Images {
		images[img.CustomID] = img
	}
	var unwritten error
	for _, i := range openFiles(b) {
		outcome := journal.Outcome{Status: journal.Skipped, Error: "the job does not contain it"}
		cancelled, uncaptioned := false, false
		if img, ok := images[customID(b.Files[i])]; ok {
			if img.Status == client.Completed {
				var err error
				outcome, err = r.save(ctx, b.Files[i], job.ID, img.Index)
				if isLocal(err) {
					r.problem(b.Files[i].Path, err)
					unwritten = err
					continue
				}
				if err != nil {
					return err
				}
				uncaptioned = img.Uncaptioned && outcome.Status == journal.Completed
			} else {
				outcome = journal.Outcome{Status: journal.Failed, Error: img.Error}
				cancelled = img.ErrorCode == "cancelled"
			}
		}
		if cancelled {
			r.report(Event{Type: Scanned}, func(c *Counts) { c.Cancelled++ })
		}
		if uncaptioned {
			r.report(Event{Type: Scanned}, func(c *Counts) { c.Uncaptioned++ })
		}
		if err := r.end(b, i, outcome); err != nil {
			return err
		}
	}
	return unwritten
}

// save writes the result of a file.
func (r *runner) save(ctx context.Context, f journal.File, jobID string, index int) (journal.Outcome, error) {
	object, err := r.gateway.Object(ctx, jobID, index, client.ProcessedFile)
	if isGone(err) {
		return journal.Outcome{Status: journal.Lost, Error: "the gateway no longer has its result"}, nil
	}
	if err != nil {
		return journal.Outcome{}, err
	}
	defer object.Close()
	var download error
	output, digest, err := mirror.Write(r.Out, f.Path, func(w io.Writer) error {
		in := &failing{in: object}
		_, err := io.Copy(w, in)
		download = in.err
		return err
	}, r.ours(f.Path))
	if download != nil {
		return journal.Outcome{}, fmt.Errorf("%s: %w", f.Path, download)
	}
	if err != nil {
		return journal.Outcome{}, local(err)
	}
	return journal.Outcome{Status: journal.Completed, Output: output, Digest: digest}, nil
}

// failing keeps the error of a reader, to distinguish it from that of the writer.
type failing struct {
	in  io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// end ends a file of a batch and moves its original.
func (r *runner) end(b journal.Batch, i int, o journal.Outcome) error {
	if err := r.journal.Ended(b.Key, i, o); err != nil {
		return local(err)
	}
	f := b.Files[i]
	e := Event{Path: f.Path, Output: o.Output, JobID: b.JobID, Error: o.Error}
	switch o.Status {
	case journal.Completed:
		e.Type = Completed
	case journal.Failed:
		e.Type = Failed
	case journal.Lost:
		e.Type = Lost
	case journal.Skipped:
		e.Type = Skipped
	}
	if o.Status != journal.Skipped {
		r.solved(f.Path)
	}
	r.report(e, func(c *Counts) { c.Sending--; c.add(o) })
	r.move(journal.Record{File: f, Outcome: o})
	r.release(f)
	return nil
}

// endAll ends all open files of a batch in the same way.
func (r *runner) endAll(b journal.Batch, o journal.Outcome) error {
	for _, i := range openFiles(b) {
		if err := r.end(b, i, o); err != nil {
			return err
		}
	}
	return nil
}
