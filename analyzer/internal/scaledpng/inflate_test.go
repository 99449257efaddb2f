package scaledpng

import (
	"bytes"
	"compress/flate"
	"errors"
	"hash/adler32"
	"math/rand/v2"
	"slices"
	"testing"
)

// datas returns data with codes of all lengths, matches of all lengths and distances, and neither.
func datas() map[string][]byte {
	r := rand.New(rand.NewPCG(3, 4))
	random := make([]byte, 50_000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	var skewed []byte // byte i is twice as frequent as byte i+1, so that the rarest have the longest codes
	for range 60_000 {
		b := byte(0)
		for b < 40 && r.IntN(2) == 0 {
			b++
		}
		skewed = append(skewed, b*5)
	}
	var matches []byte
	for len(matches) < 70_000 {
		matches = append(matches, byte(r.Uint32()))
		if n := len(matches); n > 10 {
			distance := min(n, 1+r.IntN(1<<(1+r.IntN(15))))
			for range r.IntN(300) {
				matches = append(matches, matches[len(matches)-distance])
			}
		}
	}
	return map[string][]byte{
		"nothing": nil, "one": {7}, "random": random, "skewed": skewed, "matches": matches,
		"zeros": make([]byte, 70_000), "all": slices.Concat(random[:20_000], skewed[:20_000], matches[:40_000]),
	}
}

// TestInflate compares the decompression of data in every kind of block, which arrives in pieces, with the data.
func TestInflate(t *testing.T) {
	for name, data := range datas() {
		for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.HuffmanOnly} {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			for part := range slices.Chunk(data, 15_000) {
				_, _ = w.Write(part)
				_ = w.Flush()
			}
			_ = w.Close()
			for _, size := range []struct{ piece, room int }{{1 << 20, 1 << 20}, {1, 300}, {7, 0}, {20_000, 5000}} {
				got, _, err := inflated(b.Bytes(), size.piece, size.room, 1<<30)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s, level %d, pieces of %d, room for %d: %d bytes of %d, %v", name, level, size.piece, size.room, len(got), len(data), err)
				}
			}
			for _, cut := range []int{1, 2, 5, b.Len() / 2, b.Len()} {
				if cut > b.Len() {
					continue
				}
				if _, _, err := inflated(b.Bytes()[:b.Len()-cut], 100, 100, 1<<30); !errors.Is(err, errShort) {
					t.Errorf("%s, level %d, %d bytes short: %v", name, level, cut, err)
				}
			}
		}
	}
}

// TestBadStreams verifies the errors of streams that no compressor writes.
func TestBadStreams(t *testing.T) {
	const (
		// The code 0 stands for a length of 1 and the code 1 for repetitions of 0.
		ofLengths   = "000 000 100 000 000 000 000 000 000 000 000 000 000 000 000 000 000 100 000"
		repeated256 = "1 1111111 1 1101011"
		// The same for a length of 2.
		twos = "000 000 100 000 000 000 000 000 000 000 000 000 000 000 000 100 000 000 000"
	)
	for _, c := range []struct {
		name string
		bits string // as they are in the stream, the first one first
		want error
	}{
		{"block type 3", "1 11", errBlock},
		{"length of a stored block", "1 00 00000" + "1000000000000000" + "1000000000000000", errStored},
		{"length code 286", "1 10 11000110", errCode},
		{"distance code 30", "1 10 0000001 11110", errCode},
		{"distance before the start", "1 10 0000001 00000", errDistance},
		{"286 codes", "1 01 10111 00000 1111" + ofLengths + repeated256 + "0 1 1000100 0 0 0", nil},
		{"287 codes", "1 01 01111 00000 1111" + ofLengths + repeated256 + "0 1 0100100 0 0 0", errCodes},
		{"30 distances", "1 01 00000 10111 1111" + ofLengths + repeated256 + "0 1 1000100 0 0 0", nil},
		{"31 distances", "1 01 00000 01111 1111" + ofLengths + repeated256 + "0 1 0100100 0 0 0", errCodes},
		{"no code lengths", "1 01 00000 00000 0000 000 000 000 000", errCodes},
		{"one code length", "1 01 00000 00000 0000 000 000 000 100", errCodes},
		{"repetition of nothing", "1 01 00000 00000 0000 100 100 000 000 0", errCodes},
		{"too many code lengths", "1 01 00000 00000 0000 100 100 100 100", errCodes},
		{"one distance", "1 01 00000 00000 1111" + ofLengths + repeated256 + "0 0 0", nil},
		{"lengths beyond the last", "1 01 00000 00000 1111" + ofLengths + repeated256 + "0 1 0000000 0", errCodes},
		{"codes that leave bits unused", "1 01 00000 00000 1111" + twos + repeated256 + "0 0 00", errCodes},
		{"no end of the block", "1 01 00000 00000 0000 000 000 100 100 1 1111111 1 1110110", errCodes},
	} {
		_, _, err := inflated(packed(c.bits), 1, 100, 1<<20)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// packed returns bits as bytes, and some zeros.
func packed(bits string) []byte {
	out := make([]byte, len(bits)/8+40)
	n := 0
	for _, b := range bits {
		if b == ' ' {
			continue
		}
		if b == '1' {
			out[n/8] |= 1 << (n % 8)
		}
		n++
	}
	return out
}

func TestAdler(t *testing.T) {
	data := slices.Concat(bytes.Repeat([]byte{255}, 100_000), datas()["random"])
	for _, n := range []int{0, 1, 7, 8, 175, 176, 177, 352, 5000, 100_000, len(data)} {
		for _, from := range []int{0, 3, 99_000} {
			part := data[min(from, n):n]
			s := newAdler()
			s.add(part[:len(part)/3])
			s.add(part[len(part)/3:])
			if got, want := s.value(), adler32.Checksum(part); got != want {
				t.Errorf("%d bytes: %08x, want %08x", len(part), got, want)
			}
		}
	}
}
