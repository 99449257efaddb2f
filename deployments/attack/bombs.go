package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
)

// pngChunk is a chunk with its length and checksum.
func pngChunk(kind string, data []byte) []byte {
	body := append([]byte(kind), data...)
	out := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	return binary.BigEndian.AppendUint32(append(out, body...), crc32.ChecksumIEEE(body))
}

// pngOf is a PNG that claims a size and brings these compressed rows.
func pngOf(width, height uint32, depth, colour byte, rows []byte, more ...[]byte) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	out := append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", append(head, depth, colour, 0, 0, 0))...)
	for _, chunk := range more {
		out = append(out, chunk...)
	}
	return append(append(out, pngChunk("IDAT", rows)...), pngChunk("IEND", nil)...)
}

// zeros is n compressed zeros.
func zeros(n int64) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, zlib.BestCompression) // the level is a sound one
	_, _ = io.CopyN(w, zeroReader{}, n)                   // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// jpegSegment is a marker segment.
func jpegSegment(marker byte, data ...byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(data)+2)), data...)
}

// resized is a JPEG that claims another size in the header of its frame.
func resized(data []byte, width, height uint16) []byte {
	out := slices.Clone(data)
	at := bytes.Index(out, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(out[at+5:], height)
	binary.BigEndian.PutUint16(out[at+7:], width)
	return out
}

// manyScans is a progressive JPEG whose every scan makes a decoder walk over all of
// the picture again.
func manyScans(width, height uint16, scans int) []byte {
	out := []byte{0xff, 0xd8}
	out = append(out, jpegSegment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)...)
	frame := []byte{8, byte(height >> 8), byte(height), byte(width >> 8), byte(width), 1, 1, 0x11, 0}
	out = append(out, jpegSegment(0xc2, frame...)...)
	// One code of one bit, which means the end of a band that goes on for 32,767 blocks.
	for _, class := range []byte{0x00, 0x10} {
		out = append(out, jpegSegment(0xc4, append(append([]byte{class}, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), class&0x10/0x10*0xe0)...)...)
	}
	out = append(append(out, jpegSegment(0xda, 1, 1, 0, 0, 0, 0)...), make([]byte, 8)...)
	for range scans {
		out = append(append(out, jpegSegment(0xda, 1, 1, 0, 1, 63, 0)...), make([]byte, 32)...)
	}
	return append(out, 0xff, 0xd9)
}

// bombs are small files that cost much, with the error codes that refuse them.
func bombs() map[string]source {
	manyChunks := slices.Repeat([][]byte{pngChunk("tEXt", []byte("a\x00b"))}, 100_000)
	return map[string]source{
		"PNG of 2^62 pixels":        inline(pngOf(1<<31-1, 1<<31-1, 16, 6, zeros(1000))),
		"PNG of 2^64 pixels":        inline(pngOf(1<<32-1, 1<<32-1, 16, 6, zeros(1000))),
		"PNG of 3.6 gigapixels":     inline(pngOf(60_000, 60_000, 8, 6, zeros(1000))),
		"PNG over the pixels":       inline(pngOf(7072, 7072, 1, 0, zeros(885*7072))),
		"PNG one pixel too wide":    inline(pngOf(20_001, 1, 8, 0, zeros(20_002))),
		"PNG one pixel too high":    inline(pngOf(1, 20_001, 8, 0, zeros(40_002))),
		"PNG of no pixels":          inline(pngOf(0, 0, 8, 6, zeros(100))),
		"PNG without its rows":      inline(pngOf(7000, 7000, 16, 6, zeros(10))),
		"PNG with bad rows":         inline(pngOf(7000, 7000, 16, 6, bytes.Repeat([]byte{0xff}, 1000))),
		"PNG of depth 255":          inline(pngOf(10, 10, 255, 6, zeros(1000))),
		"PNG of colour 255":         inline(pngOf(10, 10, 8, 255, zeros(1000))),
		"PNG chunk of 2 GB":         inline(append([]byte("\x89PNG\r\n\x1a\n"), 0x7f, 0xff, 0xff, 0xff, 'I', 'H', 'D', 'R')),
		"PNG chunk of 4 GB":         inline(append([]byte("\x89PNG\r\n\x1a\n"), 0xff, 0xff, 0xff, 0xff, 'I', 'H', 'D', 'R')),
		"PNG without a checksum":    inline(bytes.Replace(drawing, []byte("IHDR"), []byte("IHDS"), 1)),
		"PNG of chunks only":        inline(pngOf(60_000, 60_000, 8, 6, nil, manyChunks...)),
		"JPEG of 4 gigapixels":      inline(resized(photograph, 65_500, 65_500)),
		"JPEG one pixel too wide":   inline(resized(photograph, 20_001, 8)),
		"JPEG over the pixels":      inline(resized(photograph, 7200, 7200)),
		"JPEG of no pixels":         inline(resized(photograph, 0, 0)),
		"JPEG without its data":     inline(resized(photograph, 7000, 7000)),
		"JPEG of 1000 scans":        inline(manyScans(4000, 4000, 1000)),
		"JPEG of 101 scans":         inline(manyScans(16, 16, 101)),
		"JPEG of 90 costly scans":   inline(manyScans(7000, 7000, 90)),
		"JPEG of segments only":     inline(append([]byte{0xff, 0xd8}, bytes.Repeat(jpegSegment(0xfe, 1), 100_000)...)),
		"JPEG of filling":           inline(append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0xff}, 1<<20)...)),
		"JPEG cut off":              inline(photograph[:len(photograph)/2]),
		"PNG cut off":               inline(drawing[:len(drawing)/2]),
		"two bytes of a JPEG":       inline([]byte{0xff, 0xd8}),
		"11 MB":                     inline(append(slices.Clone(photograph), make([]byte, 11<<20)...)),
		"11 MB of text":             {Base64: string(bytes.Repeat([]byte("A"), 15<<20))},
		"no base64":                 {Base64: "data:image/jpeg;base64,!!!!"},
		"a data URL of nothing":     {Base64: "data:image/jpeg;base64,"},
		"a data URL without base64": {Base64: "data:image/svg+xml,<svg/>"},
	}
}

// attackBombs sends them as one batch with an honest image behind each. Refused is:
// each bomb ends as failed for what it is, not for what it did to the service, and
// every honest image completes.
//
// Those that the tests of the services have come after them. They know to the code
// how each has to end; a file that is a whole picture, however odd, has to complete.
func attackBombs(ctx context.Context, t *target, r *tally) {
	refuseImages(ctx, t, r, bombs(), "too_many_pixels", "damaged_image", "too_large", "not_an_image", "invalid_base64", "unsupported_format")
	endBombs(ctx, t, r, func(b imagetest.Bomb) bool { return len(b.Data) < largeBomb })
}

// largeBomb is from how many bytes on a bomb is sent by attackLargeBombs.
const largeBomb = 64 << 10

// attackLargeBombs sends the others, 193 MiB of them.
func attackLargeBombs(ctx context.Context, t *target, r *tally) {
	endBombs(ctx, t, r, func(b imagetest.Bomb) bool { return len(b.Data) >= largeBomb })
}

// endBombs sends those that are taken, some at a time.
func endBombs(ctx context.Context, t *target, r *tally, take func(imagetest.Bomb) bool) {
	all := slices.DeleteFunc(imagetest.All(), func(b imagetest.Bomb) bool { return !take(b) })
	for some := range slices.Chunk(all, 20) {
		endBatch(ctx, t, r, some)
	}
}

// endBatch sends some as one batch with an honest image behind them.
func endBatch(ctx context.Context, t *target, r *tally, some []imagetest.Bomb) {
	var batch []source
	for _, b := range some {
		// Base64 of nothing would be no image at all, a data URL of nothing is one.
		batch = append(batch, source{Base64: "data:image/png;base64," + inline(b.Data).Base64})
	}
	j, err := t.process(ctx, append(batch, inline(photograph))...)
	for i, b := range some {
		outcome := err
		if err == nil {
			want := "completed"
			if b.Want != "" {
				want = "failed"
			}
			got, good := j.Images[i], j.Images[len(some)]
			switch {
			case got.Status != want || got.ErrorCode != b.Want:
				outcome = fmt.Errorf("got %+v, want it %s %s", got, want, b.Want)
			case good.Status != "completed":
				outcome = fmt.Errorf("the honest image behind them: %+v", good)
			}
		}
		r.note(b.Name, outcome)
	}
}

// refuseImages sends images with an honest one behind each.
func refuseImages(ctx context.Context, t *target, r *tally, images map[string]source, codes ...string) {
	names := slices.Sorted(maps.Keys(images))
	var batch []source
	for _, name := range names {
		batch = append(batch, images[name], inline(photograph))
	}
	j, err := t.process(ctx, batch...)
	for i, name := range names {
		outcome := err
		if err == nil {
			bad, good := j.Images[2*i], j.Images[2*i+1]
			switch {
			case bad.Status != "failed" || !slices.Contains(codes, bad.ErrorCode):
				outcome = fmt.Errorf("got %+v, want one of %v", bad, codes)
			case good.Status != "completed":
				outcome = fmt.Errorf("the honest image behind it: %+v", good)
			}
		}
		r.note(name, outcome)
	}
}
