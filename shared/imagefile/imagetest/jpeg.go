package imagetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The second bytes of the JPEG markers that the bombs use (ITU-T T.81, table B.1).
const (
	sofBaseline    = 0xc0
	sofProgressive = 0xc2
	markerDHT      = 0xc4
	markerEOI      = 0xd9
	markerSOS      = 0xda
	markerDQT      = 0xdb
	markerDNL      = 0xdc
	markerDRI      = 0xdd
	markerAPP1     = 0xe1
	markerAPP2     = 0xe2
	markerCOM      = 0xfe
)

func segment(marker byte, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(payload)+2))
	return append(b, payload...)
}

// sof returns the frame header of a gray image.
func sof(marker byte, width, height uint16) []byte {
	b := binary.BigEndian.AppendUint16([]byte{8}, height)
	b = binary.BigEndian.AppendUint16(b, width)
	return segment(marker, append(b, 1, 1, 0x11, 0))
}

// sos is the header of a scan with all coefficients.
var sos = segment(markerSOS, []byte{1, 1, 0, 0, 63, 0})

func jpegOf(parts ...[]byte) []byte {
	return join(slices.Concat([][]byte{{0xff, 0xd8}}, parts, [][]byte{{0xff, markerEOI}})...)
}

// inJPEG inserts segments directly after the start-of-image marker.
func inJPEG(jpg []byte, segments ...[]byte) []byte {
	return join(slices.Concat([][]byte{jpg[:2]}, segments, [][]byte{jpg[2:]})...)
}

// dqt returns a quantization table with equal values.
func dqt(value byte) []byte {
	return segment(markerDQT, append([]byte{0}, bytes.Repeat([]byte{value}, 64)...))
}

// dht returns a Huffman table (class 0 for DC, 1 for AC) whose only code is the bit 0.
func dht(class, symbol byte) []byte {
	return segment(markerDHT, append(append([]byte{class << 4, 1}, zeros(15)...), symbol))
}

// scanBombs require many passes over the same pixels.
func scanBombs() []Bomb {
	return []Bomb{
		{Name: "scans 1000 of 16 MP.jpg", Data: scans(4000, 1000), Want: pipeline.CodeTooManyPixels},
		{Name: "scans 101.jpg", Data: scans(64, 101), Want: pipeline.CodeTooManyPixels},
		{Name: "scans 50 of 49 MP.jpg", Data: scans(7000, 50), Want: pipeline.CodeTooManyPixels},
		{Name: "scans 100 of 1 MP.jpg", Data: scans(1000, 100)},
	}
}

// scans returns a valid progressive gray square. Each scan except the first costs a few bytes and a pass over
// all blocks.
func scans(side uint16, n int) []byte {
	blocks := (int(side) + 7) / 8 * ((int(side) + 7) / 8)
	// One bit per block: it has the same mean as the previous one.
	parts := [][]byte{
		dqt(1), sof(sofProgressive, side, side), dht(0, 0),
		segment(markerSOS, []byte{1, 1, 0, 0, 0, 0}), zeros((blocks + 7) / 8),
		// The symbol 0xe0, with 14 bits of its own, is a run of blocks without coefficients in this band.
		dht(1, 0xe0),
	}
	var run []byte // 15 bits each; zeros stand for 16,384 blocks
	for left, bits := blocks, 0; left > 0; left, bits = left-1<<14, bits+15 {
		for len(run)*8 < bits+15 {
			run = append(run, 0)
		}
	}
	for range n - 1 {
		parts = append(parts, segment(markerSOS, []byte{1, 1, 0, 1, 63, 0}), run)
	}
	return jpegOf(parts...)
}

// markerBombs have excessive numbers of JPEG markers, or invalid ones.
func markerBombs() []Bomb {
	whole := JPEG(64, 48)
	large := JPEG(960, 640) // decoded at a reduced scale
	body := whole[:len(whole)-2]
	end := []byte{0xff, markerEOI}
	// A gray image of 16×16 in four equal blocks.
	gray := func(tables ...[]byte) []byte {
		return jpegOf(append(tables, sof(sofBaseline, 16, 16), sos, []byte{0})...)
	}
	huffman := func(lengths ...byte) []byte {
		symbols := 0
		for _, n := range lengths {
			symbols += int(n)
		}
		return segment(markerDHT, bytes.Join([][]byte{{0}, lengths, zeros(16 - len(lengths)), zeros(symbols)}, nil))
	}
	return []Bomb{
		{Name: "markers fill without end.jpg", Data: append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0xff}, 4<<20)...), Want: pipeline.CodeDamaged},
		{Name: "markers fill before a segment.jpg", Data: inJPEG(whole, bytes.Repeat([]byte{0xff}, 4<<20))},
		{Name: "markers fill before the end.jpg", Data: bytes.Join([][]byte{body, bytes.Repeat([]byte{0xff}, 1<<20), end}, nil)},
		{Name: "markers stuffing before the end.jpg", Data: bytes.Join([][]byte{body, bytes.Repeat([]byte{0xff, 0}, 1<<20), end}, nil)},
		{Name: "markers restart before the end.jpg", Data: bytes.Join([][]byte{body, bytes.Repeat([]byte{0xff, 0xd0}, 1<<20), end}, nil)},
		{Name: "markers restart before the end of a large one.jpg", Data: bytes.Join([][]byte{large[:len(large)-2], bytes.Repeat([]byte{0xff, 0xd0}, 1<<20), end}, nil)},
		{Name: "markers restart only.jpg", Data: jpegOf(dqt(1), dht(0, 0), dht(1, 0), sof(sofBaseline, 16, 16), sos, bytes.Repeat([]byte{0xff, 0xd7}, 1<<20)), Want: pipeline.CodeDamaged, Late: true},
		{Name: "markers restart interval without restarts.jpg", Data: inJPEG(whole, segment(markerDRI, []byte{0, 1})), Want: pipeline.CodeDamaged, Late: true},
		{Name: "markers restart interval without restarts in a large one.jpg", Data: inJPEG(large, segment(markerDRI, []byte{0, 1})), Want: pipeline.CodeDamaged, Late: true},
		{Name: "markers DNL.jpg", Data: jpegOf(dqt(1), dht(0, 0), dht(1, 0), sof(sofBaseline, 16, 0), sos, []byte{0}, segment(markerDNL, []byte{0xff, 0xff})), Want: pipeline.CodeTooManyPixels},
		{Name: "markers DNL in addition to a height.jpg", Data: jpegOf(dqt(1), dht(0, 0), dht(1, 0), sof(sofBaseline, 16, 16), sos, []byte{0}, segment(markerDNL, []byte{0xff, 0xff}))},
		{Name: "markers 65535 comments.jpg", Data: inJPEG(whole, bytes.Repeat(segment(markerCOM, nil), 65535))},
		{Name: "markers 65535 comments in a large one.jpg", Data: inJPEG(large, bytes.Repeat(segment(markerCOM, nil), 65535))},
		{Name: "markers 100 comments of 64 kB.jpg", Data: inJPEG(whole, bytes.Repeat(segment(markerCOM, zeros(65533)), 100))},
		{Name: "markers 100,000 quantisation tables.jpg", Data: inJPEG(whole, bytes.Repeat(dqt(255), 100_000))},
		{Name: "markers 100,000 Huffman tables.jpg", Data: inJPEG(whole, bytes.Repeat(dht(0, 0), 100_000))},
		{Name: "markers two frames.jpg", Data: jpegOf(sof(sofBaseline, 16, 16), sof(sofBaseline, 65535, 65535), sos, []byte{0}), Want: pipeline.CodeUnsupportedFormat},
		{Name: "markers two pictures in one.jpg", Data: inJPEG(whole, body), Want: pipeline.CodeDamaged},
		{Name: "markers of length 0.jpg", Data: inJPEG(whole, []byte{0xff, markerCOM, 0, 0})},
		{Name: "markers of length beyond the end.jpg", Data: inJPEG(whole[:100], []byte{0xff, markerCOM, 0xff, 0xff}), Want: pipeline.CodeDamaged},
		{Name: "tables quantise to 0.jpg", Data: gray(dqt(0), dht(0, 0), dht(1, 0))},
		{Name: "tables quantise missing.jpg", Data: gray(dht(0, 0), dht(1, 0)), Want: pipeline.CodeDamaged, Late: true},
		{Name: "tables quantise cut.jpg", Data: gray(segment(markerDQT, []byte{0, 1, 2}), dht(0, 0), dht(1, 0)), Want: pipeline.CodeDamaged, Late: true},
		{Name: "tables Huffman missing.jpg", Data: gray(dqt(1)), Want: pipeline.CodeDamaged, Late: true},
		{Name: "tables Huffman of too many short codes.jpg", Data: gray(dqt(1), huffman(3, 200), dht(1, 0)), Want: pipeline.CodeDamaged, Late: true},
		{Name: "tables Huffman of 4080 codes.jpg", Data: gray(dqt(1), huffman(bytes.Repeat([]byte{255}, 16)...), dht(1, 0)), Want: pipeline.CodeDamaged, Late: true},
		{Name: "tables Huffman without codes.jpg", Data: gray(dqt(1), huffman(0), dht(1, 0)), Want: pipeline.CodeDamaged, Late: true},
		{Name: "tables Huffman of 255 bits a coefficient.jpg", Data: gray(dqt(1), dht(0, 255), dht(1, 255)), Want: pipeline.CodeUnsupportedFormat, Late: true},
	}
}

// cutJPEGs end at each of the markers of a JPEG, before and after it, and in the middle of its pixels, both as
// they are and with an end-of-image marker appended.
func cutJPEGs() []Bomb {
	whole := JPEG(960, 640)
	var bombs []Bomb
	for pos := 2; ; {
		marker := whole[pos+1]
		for _, at := range [...]int{pos, pos + 1, pos + 2, pos + 3} {
			bombs = append(bombs, Bomb{
				Name: fmt.Sprintf("cut at byte %d, marker %02x.jpg", at, marker), Data: bytes.Clone(whole[:at]), Want: pipeline.CodeDamaged,
			})
		}
		bombs = append(bombs, Bomb{
			Name: fmt.Sprintf("cut and closed at marker %02x, byte %d.jpg", marker, pos),
			Data: append(bytes.Clone(whole[:pos]), 0xff, markerEOI), Want: pipeline.CodeDamaged,
		})
		if marker == markerSOS {
			break
		}
		pos += 2 + int(binary.BigEndian.Uint16(whole[pos+2:]))
	}
	half := whole[:len(whole)/2]
	return append(
		bombs,
		Bomb{Name: "cut in the middle.jpg", Data: bytes.Clone(half), Want: pipeline.CodeDamaged, Late: true},
		Bomb{Name: "cut in the middle and closed.jpg", Data: append(bytes.Clone(half), 0xff, markerEOI), Want: pipeline.CodeDamaged, Late: true},
		Bomb{Name: "cut inside its last marker.jpg", Data: bytes.Clone(whole[:len(whole)-1])},
	)
}
