package describe

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// pngPixels reads a PNG that [imagefile.Read] accepted as if it contained only the image: header, palette,
// transparency, all its pixels in one IDAT chunk, and the end. image/png would ignore the other chunks too, but
// it allocates a buffer of 4 KiB for each chunk that it skips, so that 10 MB of empty chunks would take 3 GiB.
type pngPixels struct {
	rest  []byte // rest of the file, from the next chunk on
	piece []byte // piece to return next
	size  uint32 // compressed size of all pixels
	sum   uint32 // checksum of the one IDAT chunk
	state pngState
}

// pngState is the position of a pngPixels in the file.
type pngState int

const (
	beforePixels pngState = iota
	inPixels
	behindPixels
)

// The length of the signature of a PNG, and of the parts of a chunk other than its payload: a length and a kind
// before it, a checksum after it.
const (
	pngSignature = 8
	pngFrame     = 12
)

const pngEnd = "\x00\x00\x00\x00IEND\xae\x42\x60\x82"

func newPNGPixels(data []byte) *pngPixels {
	r := &pngPixels{piece: data[:pngSignature], rest: data[pngSignature:], sum: crc32.ChecksumIEEE([]byte("IDAT"))}
	// As for the decoder, the pixels end at the first other chunk after them.
	for rest, seen := r.rest, false; len(rest) >= pngFrame; {
		kind, whole := pngChunk(rest)
		if kind == "IDAT" {
			payload := whole[8 : len(whole)-4]
			r.size, r.sum, seen = r.size+uint32(len(payload)), crc32.Update(r.sum, crc32.IEEETable, payload), true
		} else if seen {
			break
		}
		rest = rest[len(whole):]
	}
	return r
}

// pngChunk returns the first chunk of data that imagefile has checked.
func pngChunk(rest []byte) (kind string, whole []byte) {
	return string(rest[4:8]), rest[:pngFrame+binary.BigEndian.Uint32(rest)]
}

func (r *pngPixels) Read(p []byte) (int, error) {
	for len(r.piece) == 0 {
		if r.state == behindPixels {
			return 0, io.EOF
		}
		r.next()
	}
	n := copy(p, r.piece)
	r.piece = r.piece[n:]
	return n, nil
}

// next sets piece to the following part, which may be empty.
func (r *pngPixels) next() {
	kind, whole := pngChunk(r.rest)
	switch {
	case r.state == inPixels && kind != "IDAT":
		r.piece = append(binary.BigEndian.AppendUint32(nil, r.sum), pngEnd...)
		r.state = behindPixels
	case r.state == inPixels:
		r.piece, r.rest = whole[8:len(whole)-4], r.rest[len(whole):]
	case kind == "IDAT":
		// The chunk itself is processed again, as one of the pixels.
		r.piece = append(binary.BigEndian.AppendUint32(nil, r.size), kind...)
		r.state = inPixels
	default:
		if kind == "IHDR" || kind == "PLTE" || kind == "tRNS" {
			r.piece = whole
		}
		r.rest = r.rest[len(whole):]
	}
}
