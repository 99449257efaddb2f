package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
)

// plan divides the images into batches. With --resume, it continues with those of the journal
// and leaves out what has ended.
func (s *sender) plan() ([]*batch, error) {
	items := make([]*item, 0, len(s.found.items))
	s.summary.Images, s.summary.Jobs = len(s.found.items), []string{}
	for _, i := range s.found.items {
		if !s.tooLarge(i) {
			items = append(items, i)
			continue
		}
		text := fmt.Sprintf("too large: %s, and the gateway accepts %s", bytesText(i.size), bytesText(s.limits.MaxImageBytes))
		if err := s.fail(&batch{}, i, -1, imageLine{Error: text, ErrorCode: "too_large"}); err != nil {
			return nil, err
		}
	}
	var batches []*batch
	if s.journal != nil {
		var err error
		if batches, items, err = s.resume(items); err != nil {
			return nil, err
		}
	}
	if s.folder != nil {
		if err := s.checkOutputs(items); err != nil {
			return nil, err
		}
	}
	for part := range slices.Chunk(items, s.limits.MaxImages) {
		batches = append(batches, &batch{items: part, key: client.NewIdempotencyKey()})
	}
	return batches, nil
}

// resume compares the images with the journal. It returns the open batches, and the images
// that are in none and have not ended.
func (s *sender) resume(items []*item) (open []*batch, rest []*item, err error) {
	byID := map[string]*item{}
	for _, i := range items {
		byID[i.id] = i
	}
	taken := map[string]bool{}
	for _, old := range s.journal.Batches() {
		b := s.reopen(old, byID)
		if s.options.resume && b != nil {
			for _, i := range b.items {
				taken[i.id] = true
			}
			open = append(open, b)
			continue
		}
		// A new run sends everything again, under new keys.
		for i, o := range old.Outcomes {
			if o.Status == "" {
				if err := s.journal.Ended(old.Key, i, journal.Outcome{Status: journal.Skipped}); err != nil {
					return nil, nil, &localError{err}
				}
			}
		}
	}
	for _, i := range items {
		if taken[i.id] {
			continue
		}
		record, known := s.journal.ByPath(i.id)
		if !s.options.resume || !known || !s.same(i, record.File) || s.archive != nil {
			rest = append(rest, i)
			continue
		}
		switch record.Outcome.Status {
		case journal.Completed:
			if s.folder != nil && !s.saved(record.Outcome) {
				rest = append(rest, i)
				continue
			}
			s.summary.Before++
		case journal.Failed:
			if err := s.fail(&batch{}, i, -1, imageLine{Error: record.Outcome.Error}); err != nil {
				return nil, nil, err
			}
		default:
			rest = append(rest, i)
		}
	}
	return open, rest, nil
}

// saved reports whether the output of an earlier run is still there.
func (s *sender) saved(o journal.Outcome) bool {
	digest, err := s.folder.digest(o.Output)
	return err == nil && digest == o.Digest
}

// reopen returns an open batch of an earlier run, or nil if it cannot be continued: it has no
// job, and its files have changed, so that it cannot be sent again under its key.
func (s *sender) reopen(old journal.Batch, byID map[string]*item) *batch {
	b := &batch{key: old.Key, jobID: old.JobID, files: old.Files, begun: true, outcome: make([]journal.Status, len(old.Files))}
	for i, f := range old.Files {
		found := byID[f.Path]
		if b.outcome[i] = old.Outcomes[i].Status; found == nil || !s.same(found, f) {
			if old.JobID == "" {
				return nil
			}
			found = &item{id: f.Path, path: f.Path} // the job has its own copy
		}
		b.items = append(b.items, found)
	}
	return b
}

// same reports whether the image is the file of the journal. Its content is read only if its
// size or time differ.
func (s *sender) same(i *item, f journal.File) bool {
	if i.path != "" && i.size == f.Size && i.modified.Equal(f.Time) {
		return true
	}
	if i.size != f.Size {
		return false
	}
	now, err := fileOf(i)
	return err == nil && now.SHA256 == f.SHA256
}

// fileOf reads an image and describes it for the journal.
func fileOf(i *item) (journal.File, error) {
	f := journal.File{Path: i.id, Size: i.size, Time: i.modified}
	sum := sha256.New()
	if i.url != "" {
		_, _ = io.WriteString(sum, i.url) // a hash returns no error
		f.SHA256 = digestOf(sum)
		return f, nil
	}
	if !utf8.ValidString(i.id) {
		return f, errors.New("its name is not UTF-8")
	}
	r, err := i.image(func(r io.ReadCloser) io.ReadCloser { return r }).Open()
	if err != nil {
		return f, err
	}
	defer r.Close()
	n, err := io.Copy(sum, r)
	if err == nil && n != i.size {
		err = errors.New("it changed while it was read")
	}
	f.SHA256 = digestOf(sum)
	return f, err
}

// checkOutputs returns an error, before anything is sent, if an output would replace a file
// that is not ours.
func (s *sender) checkOutputs(items []*item) error {
	var foreign []string
	check := func(i *item) error {
		if i.url != "" || !isSafe(i.id) {
			return nil // its name is not known yet
		}
		is, err := s.folder.foreign(i.id)
		if err != nil {
			return &localError{err}
		}
		if is {
			foreign = append(foreign, i.id)
		}
		return nil
	}
	for _, i := range items {
		if err := check(i); err != nil {
			return err
		}
	}
	if len(foreign) > 0 {
		return &localError{fmt.Errorf("%s in %s exist and were not written by imagebatch, such as %s; use --force to replace them",
			count(len(foreign), "file"), s.folder.root.Name(), foreign[0])}
	}
	return nil
}
