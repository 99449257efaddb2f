// Package journal records on disk which files were sent, in which job, and how each of them ended, so that a program
// that was killed at any moment continues without sending a file twice.
//
// The journal is a text file to which lines are only appended. Each line is one JSON object:
//
//	{"type":"journal","version":1}
//	{"type":"batch","key":"K","files":[{"path":"a.jpg","size":1,"time":"2026-11-28T18:00:00Z","sha256":"…"}]}
//	{"type":"job","key":"K","job_id":"J","at":"2026-11-28T18:00:01Z"}
//	{"type":"end","key":"K","index":0,"status":"completed","output":"a.jpg","digest":"…"}
//	{"type":"file","file":{"path":"b.jpg",…},"status":"completed","output":"b.jpg","digest":"…"}
//
// A caller calls Begin before it sends a batch, Created when the job exists, and Ended for each file, when its output
// is on disk. Each of these returns after its line is on disk. So after a crash, Batches returns every batch that may
// have reached the gateway: a batch without a job is sent again with the same key, for which the gateway returns the
// job that it may have created.
//
// A last line that was not written completely is removed by Open. A line that is not understood is an error, because a
// caller that ignored it could send files again: no release of this program writes such a line into version 1.
//
// Only one process at a time can open a journal. The lock is a file of its own, PATH.lock, because the journal is
// replaced when it has grown: then only the newest entry of each file and content is kept, one line a file. A journal
// needs about 500 bytes of memory for each of these.
package journal

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/durable"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/lockfile"
)

// Digest is a SHA-256. In text it is hexadecimal, as sha256sum prints it. The zero Digest means that there is none.
type Digest [sha256.Size]byte

var (
	_ encoding.TextMarshaler   = Digest{}
	_ encoding.TextUnmarshaler = (*Digest)(nil)
)

// MarshalText returns the hexadecimal form.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads the hexadecimal form.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("%q is not a SHA-256", text)
	}
	_, err := hex.Decode(d[:], text)
	return err
}

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// File is a file as it was when it was read.
type File struct {
	Path   string    `json:"path"` // relative to the folder of the caller, with slashes
	Size   int64     `json:"size"`
	Time   time.Time `json:"time"` // of the last modification
	SHA256 Digest    `json:"sha256"`
}

// Status is the way in which a file ended.
type Status string

// The statuses of a file.
const (
	Completed Status = "completed" // its output was written
	Failed    Status = "failed"    // the gateway could not process it
	Lost      Status = "lost"      // it was sent, but the gateway no longer has the job, and its result was not fetched
	Skipped   Status = "skipped"   // it was not sent, because it changed or vanished before; the journal forgets it
)

// Outcome is the end of a file.
type Outcome struct {
	Status Status `json:"status"`
	Output string `json:"output,omitempty"` // path of the file that was written, relative to the folder of outputs
	Digest Digest `json:"digest,omitzero"`  // of that file
	Error  string `json:"error,omitempty"`
}

// Record is a file that has ended.
type Record struct {
	File    File
	Outcome Outcome
}

// Batch is a batch that has not ended.
type Batch struct {
	Key      string // idempotency key
	Files    []File
	Outcomes []Outcome // of the files, in their order; an open file has no Status
	JobID    string    // empty until Created
	Created  time.Time
}

// ErrBroken means that what is on disk is uncertain, so that nothing is written any more. Opening the journal again finds
// out.
var ErrBroken = errors.New("what was written is uncertain; start again")

// Journal is an open journal. Its methods may be called concurrently.
type Journal struct {
	path string
	lock *lockfile.Lock

	mu       sync.Mutex // guards all fields below
	file     *os.File
	size     int64 // bytes of complete lines
	entries  int   // lines, and files in lines of batches
	live     int   // entries when the journal was last rewritten, or would have been
	broken   error // what made the state on disk uncertain; no line is written any more
	open     []*Batch
	records  []*Record // in the order in which they ended
	byPath   map[string]*Record
	byHash   map[Digest]*Record
	byOutput map[string]*Record
}

// Open opens the journal and creates it if it does not exist. Its folder must exist.
func Open(path string) (*Journal, error) {
	lock, err := lockfile.Create(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	j := &Journal{path: path, lock: lock}
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), j.Close())
	}
	return j, nil
}

// Close closes the journal and lets other processes open it.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	if j.file != nil {
		err = j.file.Close()
		j.file = nil
	}
	j.broken = errors.Join(j.broken, os.ErrClosed)
	return errors.Join(err, j.lock.Close())
}

// Begin records a batch with its Key and Files. The caller sends it afterwards.
func (j *Journal) Begin(b Batch) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.append(&line{Type: typeBatch, Key: b.Key, Files: b.Files})
}

// Created records that the batch has become a job.
func (j *Journal) Created(key, jobID string, at time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.append(&line{Type: typeJob, Key: key, JobID: jobID, At: at})
}

// Ended records the end of the file with this index in the batch. A batch whose files have all ended is no longer in
// Batches.
func (j *Journal) Ended(key string, index int, o Outcome) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(&line{Type: typeEnd, Key: key, Index: index, Outcome: o}); err != nil {
		return err
	}
	return j.compactIfGrown()
}

// Note records the end of a file that was not sent in a batch, because its content had ended before.
func (j *Journal) Note(r Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(&line{Type: typeFile, File: &r.File, Outcome: r.Outcome}); err != nil {
		return err
	}
	return j.compactIfGrown()
}

// Batches returns the batches that have not ended, in the order of Begin.
func (j *Journal) Batches() []Batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := make([]Batch, len(j.open))
	for i, b := range j.open {
		list[i] = *b
		list[i].Outcomes = slices.Clone(b.Outcomes)
	}
	return list
}

// ByPath returns the newest record of a file with this path.
func (j *Journal) ByPath(path string) (Record, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return found(j.byPath[path])
}

// ByContent returns the newest record of a file with this content.
func (j *Journal) ByContent(d Digest) (Record, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return found(j.byHash[d])
}

// ByOutput returns the record of the file whose output was last written to this path.
func (j *Journal) ByOutput(path string) (Record, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return found(j.byOutput[path])
}

func found(r *Record) (Record, bool) {
	if r == nil {
		return Record{}, false
	}
	return *r, true
}

// append writes a line, syncs it and applies it.
func (j *Journal) append(l *line) error {
	if j.broken != nil {
		return fmt.Errorf("journal %s: %w", j.path, j.broken)
	}
	if err := j.check(l); err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	n, err := writeLine(j.file, l)
	if err != nil {
		// The disk may be full. Without the piece of a line, the journal stays usable.
		if undo := j.file.Truncate(j.size); undo != nil {
			err = fmt.Errorf("%w: %w: %w", ErrBroken, err, undo)
			j.broken = err
		}
		return fmt.Errorf("write to journal %s: %w", j.path, err)
	}
	if err := j.file.Sync(); err != nil {
		// The kernel reports this error once and may have dropped the data, so that a later success means nothing.
		j.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		return fmt.Errorf("write to journal %s: %w", j.path, j.broken)
	}
	j.size += n
	j.apply(l)
	return nil
}

// compactIfGrown rewrites the journal if it has doubled since the last time, so that the work for an entry stays
// constant. A small one costs nothing to read and is left alone.
func (j *Journal) compactIfGrown() error {
	const small = 20_000
	if j.entries <= 2*j.live+small {
		return nil
	}
	if err := j.compact(); err != nil {
		return fmt.Errorf("rewrite journal %s: %w", j.path, err)
	}
	return nil
}

// compact replaces the journal with one that has a line for each live record and the open batches. The old journal is
// in place until the new one is complete on disk.
func (j *Journal) compact() error {
	next := j.path + ".tmp"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	j.dropSuperseded()
	size, err := writeAll(f, j.records, j.open)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	// Windows does not replace an open file.
	err = j.file.Close()
	j.file = nil
	if err == nil {
		err = os.Rename(next, j.path)
	}
	if err == nil {
		err = durable.SyncFolder(filepath.Dir(j.path))
	}
	if err == nil {
		j.file, err = os.OpenFile(j.path, os.O_RDWR|os.O_APPEND, 0)
	}
	if err != nil {
		j.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		return j.broken
	}
	j.size, j.entries = size, j.live
	return nil
}

// dropSuperseded forgets records that no method returns any more and counts the rest.
func (j *Journal) dropSuperseded() {
	j.records = slices.DeleteFunc(j.records, func(r *Record) bool {
		return j.byPath[r.File.Path] != r && j.byHash[r.File.SHA256] != r && j.byOutput[r.Outcome.Output] != r
	})
	j.live = len(j.records)
	for _, b := range j.open {
		j.live += 2 + 2*len(b.Files)
	}
}
