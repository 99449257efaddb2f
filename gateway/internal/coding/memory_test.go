package coding_test

import (
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/imagebatch/imagebatch/gateway/internal/coding"
)

// repeated is a reader of n copies of a text after a head.
type repeated struct {
	head, text string
	n          int
	rest       string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.head != "" {
		r.rest, r.head = r.head, ""
	}
	if r.rest == "" {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.rest, r.n = r.text, r.n-1
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// frame is the header of a zstd frame with a window of 8 MiB, which no block fills.
const frame = "\x28\xb5\x2f\xfd\x00\x68"

// TestMemoryOfBombs verifies that a body that decodes to very much needs only the memory that
// was granted before. With TEST_FULL_SIZE it decodes to 1 GiB, otherwise to 16 MiB.
func TestMemoryOfBombs(t *testing.T) {
	const unit = 1 << 24
	units := 1
	if os.Getenv("TEST_FULL_SIZE") != "" {
		units = 64
	}
	zeros := strings.Repeat("\x00", unit)
	for name, c := range map[string]struct {
		coding  coding.Coding
		body    repeated
		granted int64 // at most
	}{
		"gzip": {coding.Gzip, repeated{text: gzipped(zeros), n: units}, 128 << 10},
		// 128 blocks of one byte, which stands for 128 KiB.
		"zstd":                             {coding.Zstd, repeated{head: frame, text: strings.Repeat("\x02\x00\x10\x00", 128), n: units}, 10 << 20},
		"zstd, a text":                     {coding.Zstd, repeated{text: strings.Repeat(streamed(text, zstd.WithWindowSize(64<<10)), 10), n: units * 12}, 1 << 20},
		"zstd, a text with a large window": {coding.Zstd, repeated{text: strings.Repeat(streamed(text, zstd.WithWindowSize(8<<20)), 10), n: units * 12}, 10 << 20},
		"zstd, small window":               {coding.Zstd, repeated{text: streamed(zeros, zstd.WithWindowSize(zstd.MinWindowSize)), n: units}, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			heap := func() int64 {
				runtime.GC()
				runtime.GC() // empties the pools of the encoders too
				var stats runtime.MemStats
				runtime.ReadMemStats(&stats)
				return int64(stats.HeapAlloc)
			}
			before, granted, peak, decoded := heap(), int64(0), int64(0), 0
			in := c.coding.NewReader(&c.body, func(n int64) error {
				granted += n
				return nil
			})
			var err error
			buffer := make([]byte, 64<<10)
			for n, next := 0, 0; err == nil; decoded += n {
				if n, err = in.Read(buffer); decoded >= next {
					next += unit / 2
					if now := heap() - before - int64(len(buffer)); now > granted {
						t.Fatalf("the heap grew by %d bytes after %d, of which %d were granted", now, decoded, granted)
					} else {
						peak = max(peak, now)
					}
				}
			}
			if c.coding == coding.Zstd && strings.Contains(err.Error(), "unexpected end") {
				err = io.EOF // the bomb has no last block
			}
			if !errors.Is(err, io.EOF) || decoded < units*unit {
				t.Errorf("got %d bytes, %v", decoded, err)
			}
			if granted > c.granted || granted > coding.MaxMemory {
				t.Errorf("%d bytes were asked for, want at most %d", granted, c.granted)
			}
			t.Logf("%d bytes decoded, %d granted, %d in use", decoded, granted, peak)
			if err := in.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGrants verifies what a reader asks for, that it asks before it reads on, and that a
// refusal is returned as it is.
func TestGrants(t *testing.T) {
	full := errors.New("full")
	for name, c := range map[string]struct {
		coding coding.Coding
		body   string
		want   int // number of calls
	}{
		"gzip":            {coding.Gzip, gzipped("one") + gzipped("two"), 1},
		"zstd":            {coding.Zstd, streamed(text), 2},
		"zstd, frames":    {coding.Zstd, zstandard("one") + streamed(text, zstd.WithWindowSize(1<<20)) + streamed(text, zstd.WithWindowSize(1<<20)) + zstandard("two"), 3},
		"identity":        {coding.Identity, "{}", 0},
		"zstd, no frames": {coding.Zstd, skipped, 1},
	} {
		t.Run(name, func(t *testing.T) {
			for refused := range c.want + 1 {
				calls := 0
				_, err := decode(c.coding, strings.NewReader(c.body), func(n int64) error {
					if calls++; n <= 0 {
						t.Errorf("asked for %d bytes", n)
					}
					if calls-1 == refused {
						return full
					}
					return nil
				})
				if want := min(refused+1, c.want); calls != want || (refused < c.want) != errors.Is(err, full) {
					t.Errorf("refused the call %d: %d calls, want %d; %v", refused, calls, want, err)
				}
			}
		})
	}
}

// TestWindowsWaitForData verifies that a client takes the memory of a large window only after
// it has sent 64 KiB: here it stops before.
func TestWindowsWaitForData(t *testing.T) {
	stalled := errors.New("stalled")
	granted := int64(0)
	stops := readerFunc(func([]byte) (int, error) { return 0, stalled })
	_, err := decode(coding.Zstd, io.MultiReader(strings.NewReader(frame+strings.Repeat("\x02\x00\x10\x00", 100)), stops), func(n int64) error {
		granted += n
		return nil
	})
	if !errors.Is(err, stalled) || granted > 64<<10 {
		t.Errorf("got %v after %d bytes were granted, want 64 KiB", err, granted)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
