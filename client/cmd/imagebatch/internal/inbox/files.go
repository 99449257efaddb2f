package inbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/mirror"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/watchfolder"
)

// errChanged means that a file is no longer as it was hashed or found.
var errChanged = errors.New("file has changed")

// newBatch puts a batch together from ready files and writes it to the journal. It returns no key if there is no batch to
// send now.
func (r *runner) newBatch(ctx context.Context) (string, error) {
	if len(r.ready)+len(r.next) == 0 {
		return "", nil
	}
	if r.limits.MaxImages == 0 {
		if err := r.getLimits(ctx); err != nil {
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			if r.Once || isFinal(err) {
				return "", err
			}
			r.unavailable(err)
			return "", nil
		}
		r.online()
	}
	for len(r.next) < r.limits.MaxImages && len(r.ready) > 0 {
		f := r.ready[0]
		r.ready = r.ready[1:]
		if err := r.takeUp(ctx, f); err != nil {
			return "", err
		}
	}
	// Files that are still being written may fill the batch.
	if len(r.next) == 0 || len(r.next) < r.limits.MaxImages && r.waiting() > 0 && time.Since(r.since) < 2*r.Poll {
		return "", nil
	}
	key := client.NewIdempotencyKey()
	if err := r.journal.Begin(journal.Batch{Key: key, Files: r.next}); err != nil {
		if r.Once || errors.Is(err, journal.ErrBroken) {
			return "", local(err)
		}
		r.problem(".", err) // a full disk
		return "", nil
	}
	r.solved(".")
	r.open[key], r.next = true, nil
	return key, nil
}

// getLimits asks the gateway for its limits. Those of an older gateway are in its documentation.
func (r *runner) getLimits(ctx context.Context) error {
	limits, err := r.gateway.Limits(ctx)
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusNotFound {
		limits, err = client.Limits{MaxImages: 100, MaxImageBytes: 10 << 20}, nil
	}
	if err == nil && (limits.MaxImages < 1 || limits.MaxImageBytes < 1) {
		err = fmt.Errorf("gateway accepts batches of %d images of %d bytes", limits.MaxImages, limits.MaxImageBytes)
	}
	if err != nil {
		return err
	}
	r.limits = limits
	if limits.Captions != nil && !r.NoCaptions && r.Captions != nil {
		r.Captions(limits.Captions)
	}
	return nil
}

// takeUp hashes a ready file and adds it to the next batch, or ends it if its content has ended before.
func (r *runner) takeUp(ctx context.Context, found watchfolder.File) error {
	f, err := r.hash(ctx, found)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errChanged), errors.Is(err, fs.ErrNotExist):
		r.report(Event{Type: Scanned}, func(c *Counts) { c.Ready--; c.Waiting++ })
		return nil
	case err != nil:
		r.problem(f.Path, err)
		r.report(Event{Type: Scanned}, func(c *Counts) { c.Ready-- })
		return nil
	}
	r.mu.Lock()
	sending := r.contents[f.SHA256]
	r.mu.Unlock()
	if sending {
		r.later = append(r.later, found)
		return nil
	}
	before, known := r.journal.ByContent(f.SHA256)
	there := known && (before.Outcome.Status != journal.Completed || mirror.Has(r.Out, before.Outcome.Output, before.Outcome.Digest))
	if newer, ok := r.journal.ByOutput(before.Outcome.Output); known && !there && ok && newer.File.SHA256 != f.SHA256 {
		known = false // The result was replaced by that of another content, and now the first one is back.
	}
	if known && !there {
		before.Outcome = journal.Outcome{Status: journal.Lost, Error: "its content was sent before, and the result is no longer at " + before.Outcome.Output}
	}
	if known && before.Outcome.Status != journal.Completed && r.mayResend(f.Path) {
		known = false
	}
	switch {
	case known:
		r.report(Event{Type: Scanned}, func(c *Counts) { c.Ready-- })
		return r.reuse(f, before)
	case f.Size > r.limits.MaxImageBytes:
		r.report(Event{Type: Scanned}, func(c *Counts) { c.Ready-- })
		return r.note(f, journal.Outcome{Status: journal.Failed, Error: fmt.Sprintf("larger than the %d bytes that the gateway accepts", r.limits.MaxImageBytes)}, Failed)
	}
	if len(r.next) == 0 {
		r.since = time.Now()
	}
	r.progress = true
	if r.Resend {
		r.sent[f.Path] = true
	}
	r.next = append(r.next, f)
	r.hold(f)
	r.solved(f.Path)
	r.report(Event{Type: Scanned}, func(c *Counts) { c.Ready--; c.Sending++ })
	return nil
}

// reuse ends a file in the way in which a file with the same content has ended.
func (r *runner) reuse(f journal.File, before journal.Record) error {
	outcome, event := before.Outcome, Copied
	switch {
	case outcome.Status == journal.Lost:
		event = Lost
	case outcome.Status == journal.Failed:
		event = Failed
	case before.File.Path != f.Path:
		source := filepath.Join(r.Out, filepath.FromSlash(outcome.Output))
		output, digest, err := mirror.Write(r.Out, f.Path, func(w io.Writer) error {
			in, err := os.Open(source)
			if err != nil {
				return err
			}
			defer in.Close()
			_, err = io.Copy(w, in)
			return err
		}, r.ours(f.Path))
		if err != nil {
			r.problem(f.Path, err)
			return nil
		}
		outcome.Output, outcome.Digest = output, digest
	}
	return r.note(f, outcome, event)
}

// note ends a file that was not sent. Its original is moved.
func (r *runner) note(f journal.File, outcome journal.Outcome, event EventType) error {
	rec := journal.Record{File: f, Outcome: outcome}
	if err := r.journal.Note(rec); err != nil {
		if errors.Is(err, journal.ErrBroken) {
			return local(err)
		}
		r.problem(f.Path, err)
		return nil
	}
	r.progress = true
	r.solved(f.Path)
	r.report(Event{Type: event, Path: f.Path, Output: outcome.Output, Error: outcome.Error}, func(c *Counts) { c.add(outcome) })
	r.move(rec)
	return nil
}

// add counts an ended file.
func (c *Counts) add(o journal.Outcome) {
	switch o.Status {
	case journal.Completed:
		c.Completed++
	case journal.Failed:
		c.Failed++
	case journal.Lost:
		c.Lost++
	case journal.Skipped:
	}
}

// ours returns the function with which mirror.Write recognizes the result that was written for this file.
func (r *runner) ours(path string) func(string) (journal.Digest, bool) {
	return func(output string) (journal.Digest, bool) {
		rec, ok := r.journal.ByOutput(output)
		return rec.Outcome.Digest, ok && rec.File.Path == path
	}
}

// target returns the folder for the original of a file that has ended, or nothing if it stays.
func (r *runner) target(o journal.Outcome) string {
	switch o.Status {
	case journal.Completed:
		return r.Done
	case journal.Failed:
		return r.Failed
	case journal.Lost, journal.Skipped:
	}
	return ""
}

// moveAll moves originals that are still there from before.
func (r *runner) moveAll() {
	for _, rec := range r.moves {
		r.move(rec)
	}
	r.moves = r.moves[:0]
}

// move moves the original of a file that has ended, unless it has changed.
func (r *runner) move(rec journal.Record) {
	dir, path := r.target(rec.Outcome), rec.File.Path
	if dir == "" {
		return
	}
	source := r.source(path)
	info, err := os.Lstat(source)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !unchanged(rec.File, info) {
		return
	}
	to := ""
	if err == nil {
		to, err = mirror.Move(source, dir, path)
	}
	if err != nil {
		r.problem(path, fmt.Errorf("move to %s: %w", dir, err))
		return
	}
	r.solved(path)
	r.report(Event{Type: Moved, Path: path, Output: to}, r.uncounted)
}

func (r *runner) source(path string) string { return filepath.Join(r.In, filepath.FromSlash(path)) }

func unchanged(f journal.File, info fs.FileInfo) bool {
	now := watchfolder.FileOf(f.Path, info)
	return info.Mode().IsRegular() && now.Size == f.Size && now.Time.Equal(f.Time)
}

// hash returns the file with its digest.
func (r *runner) hash(ctx context.Context, found watchfolder.File) (journal.File, error) {
	f := journal.File{Path: found.Path, Size: found.Size, Time: found.Time}
	in, err := os.Open(r.source(f.Path))
	if err != nil {
		return f, err
	}
	defer in.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, reader{ctx, in}); err != nil {
		return f, err
	}
	info, err := in.Stat()
	if err != nil {
		return f, err
	}
	if !unchanged(f, info) {
		return f, errChanged
	}
	f.SHA256 = journal.Digest(sum.Sum(nil))
	return f, nil
}

// reader reads until ctx is done.
type reader struct {
	ctx context.Context // Read has none
	in  io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.in.Read(p)
}

// checked reads a file and returns errChanged instead of its end if it is not the one that was hashed.
type checked struct {
	*os.File
	hash hash.Hash
	want journal.Digest
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.hash.Write(p[:n])
	if errors.Is(err, io.EOF) && journal.Digest(c.hash.Sum(nil)) != c.want {
		err = errChanged
	}
	return n, err
}
