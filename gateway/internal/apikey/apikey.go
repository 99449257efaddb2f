// Package apikey is the store of a gateway's API keys: a file of their names and
// hashes, which the store reads again when it changes.
//
// A key is 32 random bytes. The file has its SHA-256 only, so that a reader of the
// file can't use the API; with that much randomness a slow hash would add nothing.
// Find compares the hash of a key with every hash of the file, each in constant
// time. The package never logs a key. FindHash reports
// whether the file still has the key of a request that the gateway remembers.
//
// A name owns the jobs that its keys create. Two lines may have the same name, so
// that one key takes over from another without a gap.
//
// A file that can't be read or parsed changes nothing: the last good keys stay, and
// the log reports the error. A file without any key is such an error. Because an
// editor or a copy that is under way looks like that, a change counts only when
// two reads have found it.
package apikey

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// Interval is the time between two reads of the file. A change counts after two reads.
const Interval = 2 * time.Second

// Prefix starts every key, so that a person or a secret scanner recognizes it.
const Prefix = "ib_"

const (
	maxFile = 4 << 20
	maxKey  = 256
)

// Limits are the quotas of one name. A field that is zero sets no limit.
type Limits struct {
	RequestsPerMinute    int64
	UploadBytesPerMinute int64
	OpenImages           int64 // accepted and not ended
	Sockets              int64 // concurrent WebSockets
}

// Key is one line of the file.
type Key struct {
	Name     string
	Operator bool // may see and change the jobs of all names

	CaptionsOff bool // no vision model may see its images
	Limits      Limits

	hash    [sha256.Size]byte
	line    int
	removed context.Context // nil for a key that is not from a file
	remove  context.CancelFunc
}

// Removed returns a channel that is closed when the key is no longer in the file, or
// changes its name or its operator option. It is nil for a key that is not from a file.
func (k *Key) Removed() <-chan struct{} {
	if k.removed == nil {
		return nil
	}
	return k.removed.Done()
}

// AfterRemoved calls f in its own goroutine when Removed is closed, as [context.AfterFunc]
// does. Until then, it needs no goroutine.
func (k *Key) AfterRemoved(f func()) (stop func() bool) {
	if k.removed == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(k.removed, f)
}

// Hash returns the SHA-256 of the key in hex, as the file has it, or "" for a key that
// is not from a file.
func (k *Key) Hash() string {
	if k.removed == nil {
		return ""
	}
	return hex.EncodeToString(k.hash[:])
}

// Store holds the keys of a file.
type Store struct {
	path     string
	defaults Limits
	log      *slog.Logger

	keys atomic.Pointer[[]*Key]

	// Used by Run only.
	taken, seen []byte // contents of the file when it was last accepted, and last read
	complained  string // last error that was logged
}

// Open reads the file. The defaults apply where a line sets no limit of its own.
func Open(path string, defaults Limits, log *slog.Logger) (*Store, error) {
	s := &Store{path: path, defaults: defaults, log: log}
	text, err := s.read()
	if err != nil {
		return nil, err
	}
	keys, err := parse(text, defaults)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.adopt(keys)
	s.taken, s.seen = text, text
	return s, nil
}

// Find returns the key, or nil when the file does not have it.
func (s *Store) Find(key string) *Key {
	if len(key) > maxKey {
		return nil
	}
	hash := sha256.Sum256([]byte(key))
	var found *Key
	for _, k := range *s.keys.Load() {
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			found = k
		}
	}
	return found
}

// FindHash returns the key with this [Key.Hash], or nil when the file does not have it. The
// hash is not a secret, and proves nothing about a client.
func (s *Store) FindHash(hash string) *Key {
	for _, k := range *s.keys.Load() {
		if k.Hash() == hash {
			return k
		}
	}
	return nil
}

// Run reads the file every Interval until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	again := time.NewTicker(Interval)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
			s.look(ctx)
		}
	}
}

// look adopts a change of the file once two reads have found it.
func (s *Store) look(ctx context.Context) {
	text, err := s.read()
	if err != nil {
		s.seen = nil
		s.complain(ctx, err)
		return
	}
	settled := bytes.Equal(text, s.seen)
	s.seen = text
	if !settled {
		return
	}
	if bytes.Equal(text, s.taken) {
		s.complained = ""
		return
	}
	keys, err := parse(text, s.defaults)
	if err != nil {
		s.complain(ctx, err)
		return
	}
	gone := s.adopt(keys)
	s.taken, s.complained = text, ""
	s.log.InfoContext(ctx, "API keys reloaded", "keys", len(keys), "removed", gone)
}

// complain logs an error, but not twice in a row.
func (s *Store) complain(ctx context.Context, err error) {
	if err.Error() == s.complained {
		return
	}
	s.complained = err.Error()
	s.log.ErrorContext(ctx, "API keys not reloaded; the last good ones stay in use", "file", s.path, "error", err)
}

func (s *Store) read() ([]byte, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: more than %d bytes", s.path, maxFile)
	}
	return text, nil
}

// adopt replaces the keys, closes Removed of the keys that are gone, and returns their
// number.
func (s *Store) adopt(keys []*Key) (gone int) {
	known := map[[sha256.Size]byte]*Key{}
	if old := s.keys.Load(); old != nil {
		for _, k := range *old {
			known[k.hash] = k
		}
	}
	for _, k := range keys {
		if old := known[k.hash]; old != nil && old.Name == k.Name && old.Operator == k.Operator {
			k.removed, k.remove = old.removed, old.remove // its connections stay
			delete(known, k.hash)
		} else {
			k.removed, k.remove = context.WithCancel(context.Background())
		}
	}
	s.keys.Store(&keys)
	for _, k := range known {
		k.remove()
	}
	return len(known)
}

// New returns a new key for the name, and its line for the file.
func New(name string) (key, line string, err error) {
	if err := CheckName(name); err != nil {
		return "", "", err
	}
	var secret [32]byte
	rand.Read(secret[:]) // never fails, according to its documentation
	key = Prefix + base64.RawURLEncoding.EncodeToString(secret[:])
	hash := sha256.Sum256([]byte(key))
	return key, name + " " + hex.EncodeToString(hash[:]), nil
}
