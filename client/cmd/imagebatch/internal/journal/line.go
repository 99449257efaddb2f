package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/durable"
)

// version is the version of the format.
const version = 1

// The types of lines.
const (
	typeJournal = "journal"
	typeBatch   = "batch"
	typeJob     = "job"
	typeEnd     = "end"
	typeFile    = "file"
)

// line is a line of any type.
type line struct {
	Type    string    `json:"type"`
	Version int       `json:"version,omitempty"` // journal
	Key     string    `json:"key,omitempty"`     // batch, job, end
	Files   []File    `json:"files,omitempty"`   // batch
	JobID   string    `json:"job_id,omitempty"`  // job
	At      time.Time `json:"at,omitzero"`       // job
	File    *File     `json:"file,omitempty"`    // file
	Index   int       `json:"index"`             // end
	Outcome           // end, file
}

// MarshalJSON leaves out the members that the type does not have.
func (l *line) MarshalJSON() ([]byte, error) {
	type all line
	switch l.Type {
	case typeEnd:
		return json.Marshal((*all)(l))
	case typeFile:
		return json.Marshal(struct {
			Type string `json:"type"`
			File *File  `json:"file"`
			Outcome
		}{l.Type, l.File, l.Outcome})
	}
	return json.Marshal(struct {
		*all
		Index  int    `json:"index,omitempty"`
		Status Status `json:"status,omitempty"`
	}{all: (*all)(l)})
}

func writeLine(w io.Writer, l *line) (int64, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(append(text, '\n'))
	return int64(n), err
}

// writeAll writes a whole journal.
func writeAll(w io.Writer, records []*Record, open []*Batch) (size int64, err error) {
	buffered := bufio.NewWriterSize(w, 1<<20)
	write := func(l *line) {
		var n int64
		if err == nil {
			n, err = writeLine(buffered, l)
			size += n
		}
	}
	write(&line{Type: typeJournal, Version: version})
	for _, r := range records {
		write(&line{Type: typeFile, File: &r.File, Outcome: r.Outcome})
	}
	for _, b := range open {
		write(&line{Type: typeBatch, Key: b.Key, Files: b.Files})
		if b.JobID != "" {
			write(&line{Type: typeJob, Key: b.Key, JobID: b.JobID, At: b.Created})
		}
		for i, o := range b.Outcomes {
			if o.Status != "" {
				write(&line{Type: typeEnd, Key: b.Key, Index: i, Outcome: o})
			}
		}
	}
	if err == nil {
		err = buffered.Flush()
	}
	return size, err
}

// load reads the journal, or starts it.
func (j *Journal) load() error {
	j.byPath, j.byHash, j.byOutput = map[string]*Record{}, map[Digest]*Record{}, map[string]*Record{}
	var err error
	if j.file, err = os.OpenFile(j.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return err
	}
	if j.size, err = completeLines(j.file); err != nil {
		return err
	}
	if err := j.replay(io.NewSectionReader(j.file, 0, j.size)); err != nil {
		return err
	}
	if err := j.file.Truncate(j.size); err != nil {
		return err
	}
	if j.size == 0 {
		if err := durable.SyncFolder(filepath.Dir(j.path)); err != nil {
			return err
		}
		return j.append(&line{Type: typeJournal, Version: version})
	}
	j.dropSuperseded()
	return j.compactIfGrown()
}

// completeLines returns the size of the file without a last line that has no end.
func completeLines(f *os.File) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	part := make([]byte, 64<<10)
	for size > 0 {
		from := max(0, size-int64(len(part)))
		n, err := f.ReadAt(part[:size-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(part[:n], '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		size = from
	}
	return 0, nil
}

// replay applies the lines.
func (j *Journal) replay(r io.Reader) error {
	dec := json.NewDecoder(bufio.NewReaderSize(r, 1<<20))
	dec.DisallowUnknownFields()
	for n := 1; ; n++ {
		var l line
		err := dec.Decode(&l)
		if errors.Is(err, io.EOF) && (n > 1 || j.size == 0) {
			return nil
		}
		// The version is checked first: a newer release may have members that this one does not know.
		if n == 1 && l.Type == typeJournal && l.Version > version {
			return fmt.Errorf("it has version %d, and this imagebatch reads up to version %d; update it", l.Version, version)
		}
		if err == nil && n == 1 && (l.Type != typeJournal || l.Version != version) {
			err = errors.New("it does not start as a journal")
		}
		if err == nil {
			err = j.check(&l)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		j.apply(&l)
	}
}

// check returns an error for a line that must not follow the lines before it.
func (j *Journal) check(l *line) error {
	b := j.batch(l.Key)
	switch l.Type {
	case typeJournal:
		if j.entries != 0 {
			return errors.New("a second start")
		}
		return nil
	case typeBatch:
		if l.Key == "" || len(l.Files) == 0 {
			return errors.New("a batch needs a key and files")
		}
		if b != nil {
			return fmt.Errorf("batch %q exists already", l.Key)
		}
		return checkPaths(l.Files...)
	case typeJob:
		if b == nil || l.JobID == "" {
			return fmt.Errorf("job %q of batch %q, which is not open", l.JobID, l.Key)
		}
		return nil
	case typeEnd:
		if b == nil || l.Index < 0 || l.Index >= len(b.Files) || b.Outcomes[l.Index].Status != "" {
			return fmt.Errorf("end of file %d of batch %q, which is not open", l.Index, l.Key)
		}
	case typeFile:
		if l.File == nil {
			return errors.New("an entry without a file")
		}
		if err := checkPaths(*l.File); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown type %q", l.Type)
	}
	switch l.Status {
	case Completed, Failed, Lost, Skipped:
		return nil
	}
	return fmt.Errorf("unknown status %q", l.Status)
}

// checkPaths returns an error for a path that JSON would change, so that it would not be found again.
func checkPaths(files ...File) error {
	for _, f := range files {
		if f.Path == "" || !utf8.ValidString(f.Path) {
			return fmt.Errorf("path %q is not UTF-8 or is empty", f.Path)
		}
	}
	return nil
}

// apply changes the state in memory. The line was checked.
func (j *Journal) apply(l *line) {
	j.entries++
	b := j.batch(l.Key)
	switch l.Type {
	case typeBatch:
		j.entries += len(l.Files)
		j.open = append(j.open, &Batch{Key: l.Key, Files: slices.Clone(l.Files), Outcomes: make([]Outcome, len(l.Files))})
	case typeJob:
		b.JobID, b.Created = l.JobID, l.At
	case typeEnd:
		b.Outcomes[l.Index] = l.Outcome
		j.add(&Record{b.Files[l.Index], l.Outcome})
		if !slices.ContainsFunc(b.Outcomes, func(o Outcome) bool { return o.Status == "" }) {
			j.open = slices.DeleteFunc(j.open, func(other *Batch) bool { return other == b })
		}
	case typeFile:
		j.add(&Record{*l.File, l.Outcome})
	}
}

func (j *Journal) add(r *Record) {
	if r.Outcome.Status == Skipped {
		return
	}
	if r.Outcome.Output == r.File.Path {
		r.Outcome.Output = r.File.Path // shares the memory
	}
	j.records = append(j.records, r)
	j.byPath[r.File.Path] = r
	// A lost file says nothing about its content that an earlier end did not say better.
	if before := j.byHash[r.File.SHA256]; r.File.SHA256 != (Digest{}) && (before == nil || r.Outcome.Status != Lost) {
		j.byHash[r.File.SHA256] = r
	}
	if r.Outcome.Output != "" {
		j.byOutput[r.Outcome.Output] = r
	}
}

func (j *Journal) batch(key string) *Batch {
	if key != "" {
		for _, b := range j.open {
			if b.Key == key {
				return b
			}
		}
	}
	return nil
}
