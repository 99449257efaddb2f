// Package keyring keeps the API keys of a gateway: a file of their names and
// hashes, which is read again when it changes.
//
// A key is 32 random bytes. The file has its SHA-256 only, so that who reads the
// file can't use the API; with that much randomness a slow hash would add nothing.
// A key is looked for by comparing its hash with every one there is, each in
// constant time. No key is ever logged.
//
// A name owns what is made with its keys. Two lines may have the same name, so that
// one key takes over from another without a gap.
//
// A file that can't be read or understood changes nothing: the last good keys stay,
// and the log says so. A file without any key counts as such a one, because an
// editor or a copy that is under way looks like that; so a change counts only
// when it was found twice.
package keyring

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// Interval is how often the file is looked at. A change counts after two looks.
const Interval = 2 * time.Second

// Prefix begins every key, so that a person or a scanner for secrets sees what it
// is.
const Prefix = "ib_"

// Bounds on what is read.
const (
	maxFile = 4 << 20
	maxKey  = 256
)

// Limits are what one name may do. A field that is zero sets no limit.
type Limits struct {
	RequestsPerMinute    int
	UploadBytesPerMinute int64
	OpenImages           int // accepted and not ended
	Sockets              int // WebSockets open at once
}

// Key is one line of the file.
type Key struct {
	Name     string
	Operator bool // sees and may change the jobs of all
	Limits   Limits

	hash    [sha256.Size]byte
	line    int
	removed chan struct{}
}

// Removed is closed when the key is no longer in the file, or has become another
// name's or another kind of key.
func (k *Key) Removed() <-chan struct{} { return k.removed }

// Ring is the keys of a file.
type Ring struct {
	path     string
	defaults Limits
	log      *slog.Logger

	keys atomic.Pointer[[]*Key]

	taken, seen []byte // the file as it was understood, and as it was last found; Run's alone
	complained  string // the last thing that was wrong with it
}

// Open reads the file. What its lines leave open, defaults say.
func Open(path string, defaults Limits, log *slog.Logger) (*Ring, error) {
	r := &Ring{path: path, defaults: defaults, log: log}
	text, err := r.read()
	if err != nil {
		return nil, err
	}
	keys, err := parse(text, defaults)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.adopt(keys)
	r.taken, r.seen = text, text
	return r, nil
}

// Find returns the key, or nil when there is none like it.
func (r *Ring) Find(key string) *Key {
	if len(key) > maxKey {
		return nil
	}
	hash := sha256.Sum256([]byte(key))
	var found *Key
	for _, k := range *r.keys.Load() {
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			found = k
		}
	}
	return found
}

// Run reads the file again and again until ctx ends.
func (r *Ring) Run(ctx context.Context) error {
	again := time.NewTicker(Interval)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
			r.look(ctx)
		}
	}
}

// look takes in a change of the file, once it has been found twice.
func (r *Ring) look(ctx context.Context) {
	text, err := r.read()
	if err != nil {
		r.seen = nil
		r.complain(ctx, err)
		return
	}
	settled := bytes.Equal(text, r.seen)
	r.seen = text
	if !settled {
		return
	}
	if bytes.Equal(text, r.taken) {
		r.complained = ""
		return
	}
	keys, err := parse(text, r.defaults)
	if err != nil {
		r.complain(ctx, err)
		return
	}
	gone := r.adopt(keys)
	r.taken, r.complained = text, ""
	r.log.InfoContext(ctx, "API keys read again", "keys", len(keys), "removed", gone)
}

// complain says once what is wrong.
func (r *Ring) complain(ctx context.Context, err error) {
	if err.Error() == r.complained {
		return
	}
	r.complained = err.Error()
	r.log.ErrorContext(ctx, "API keys not read, the last good ones stay", "file", r.path, "error", err)
}

func (r *Ring) read() ([]byte, error) {
	f, err := os.Open(r.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // It was only read.
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.path, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: more than %d bytes", r.path, maxFile)
	}
	return text, nil
}

// adopt makes these the keys and ends those that are not among them. It returns
// how many it has ended.
func (r *Ring) adopt(keys []*Key) (gone int) {
	var before []*Key
	if old := r.keys.Load(); old != nil {
		before = *old
	}
	known := map[[sha256.Size]byte]*Key{}
	for _, k := range before {
		known[k.hash] = k
	}
	for _, k := range keys {
		k.removed = make(chan struct{})
		if old := known[k.hash]; old != nil && old.Name == k.Name && old.Operator == k.Operator {
			k.removed = old.removed // Who came with it goes on.
			delete(known, k.hash)
		}
	}
	r.keys.Store(&keys)
	for _, k := range known {
		close(k.removed)
	}
	return len(known)
}

// New makes a key for the name, and the line of it for the file.
func New(name string) (key, line string, err error) {
	if err := checkName(name); err != nil {
		return "", "", err
	}
	var secret [32]byte
	rand.Read(secret[:]) // never fails, says its documentation
	key = Prefix + base64.RawURLEncoding.EncodeToString(secret[:])
	hash := sha256.Sum256([]byte(key))
	return key, name + " " + hex.EncodeToString(hash[:]), nil
}

var errNoKeys = errors.New("no keys in it; make one with: gateway api-keys new NAME")
