package imagetest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

func chunk(kind string, payload []byte) []byte {
	b := make([]byte, 0, 12+len(payload))
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(append(b, kind...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func ihdr(width, height uint32, depth, colorType, interlace byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, width)
	b = binary.BigEndian.AppendUint32(b, height)
	return chunk("IHDR", append(b, depth, colorType, 0, 0, interlace))
}

func pngOf(chunks ...[]byte) []byte {
	return join(slices.Concat([][]byte{[]byte(pngMagic)}, chunks)...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// inPNG inserts chunks directly after the IHDR of a PNG.
func inPNG(png []byte, chunks ...[]byte) []byte {
	const ihdrEnd = len(pngMagic) + 25
	return join(slices.Concat([][]byte{png[:ihdrEnd]}, chunks, [][]byte{png[ihdrEnd:]})...)
}

// zlibZeros returns a complete zlib stream of n zeros, which has a thousandth of that length.
func zlibZeros(n int) []byte {
	const piece = 1 << 20
	var b bytes.Buffer
	z := zlibWriter(&b)
	if pieces := n / piece; pieces > 0 {
		write(z, zeros(piece))
		// The compressor's output is the same for the second piece and every later one: it starts on a byte
		// boundary and looks back into zeros only.
		if start := b.Len(); pieces > 1 {
			write(z, zeros(piece))
			again := bytes.Clone(b.Bytes()[start:])
			b.Write(bytes.Repeat(again, pieces-2))
		}
	}
	write(z, zeros(n%piece))
	if err := z.Close(); err != nil {
		panic(fmt.Sprintf("compress in memory: %v", err))
	}
	// The writer's checksum does not include the repeated pieces. The Adler-32 of n zeros is n in its upper
	// half and 1 in its lower half.
	return binary.BigEndian.AppendUint32(b.Bytes()[:b.Len()-4], uint32(n%65521)<<16|1)
}

func zlibWriter(b *bytes.Buffer) *zlib.Writer {
	z, err := zlib.NewWriterLevel(b, zlib.BestCompression)
	if err != nil {
		panic(fmt.Sprintf("compress in memory: %v", err))
	}
	return z
}

func write(z *zlib.Writer, p []byte) {
	if _, err := z.Write(p); err != nil {
		panic(fmt.Sprintf("compress in memory: %v", err))
	}
	if err := z.Flush(); err != nil {
		panic(fmt.Sprintf("compress in memory: %v", err))
	}
}

// chunkBombs have excessive numbers of PNG chunks, or invalid ones.
func chunkBombs() []Bomb {
	whole := PNG(64, 48)
	// The chunks of the image, with its data in chunks of one byte.
	crumbs := []byte(pngMagic)
	for rest := whole[len(pngMagic):]; len(rest) > 0; {
		n := binary.BigEndian.Uint32(rest)
		if kind := string(rest[4:8]); kind == "IDAT" {
			for _, b := range rest[8 : 8+n] {
				crumbs = append(append(crumbs, chunk("IDAT", nil)...), chunk("IDAT", []byte{b})...)
			}
		} else {
			crumbs = append(crumbs, rest[:12+n]...)
		}
		rest = rest[12+n:]
	}
	animation := chunk("acTL", []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	palette := bytes.Repeat(chunk("PLTE", zeros(768)), 2)
	return []Bomb{
		{Name: "chunks 800,000 and empty.png", Data: inPNG(whole, bytes.Repeat(chunk("aaAa", nil), 800_000))},
		{Name: "chunks 100,000 of text.png", Data: inPNG(whole, bytes.Repeat(chunk("tEXt", []byte("Comment\x00many")), 100_000))},
		{Name: "chunks 100,000 of deflated text.png", Data: inPNG(whole, bytes.Repeat(chunk("zTXt", append([]byte("Comment\x00\x00"), zlibZeros(100)...)), 100_000))},
		{Name: "chunks 100,000 of text without keywords.png", Data: inPNG(whole, bytes.Repeat(chunk("tEXt", nil), 100_000))},
		{Name: "chunks one of 8 MB of text.png", Data: inPNG(whole, chunk("tEXt", append([]byte("Comment\x00"), bytes.Repeat([]byte("long "), 8<<20/5)...)))},
		{Name: "chunks one of 8 MB of UTF-8.png", Data: inPNG(whole, chunk("iTXt", append([]byte("Comment\x00\x00\x00\x00\x00"), bytes.Repeat([]byte("läng "), 8<<20/6)...)))},
		{Name: "chunks of one byte of pixels.png", Data: crumbs},
		{Name: "chunks 800,000 and empty behind the pixels.png", Data: join(whole[:len(whole)-12], bytes.Repeat(chunk("aaAa", nil), 800_000), whole[len(whole)-12:])},
		{Name: "chunks 800,000 without pixels behind the pixels.png", Data: join(whole[:len(whole)-12], bytes.Repeat(chunk("IDAT", nil), 800_000), whole[len(whole)-12:])},
		{Name: "chunks of an animation of 2^31 pictures.png", Data: inPNG(whole, animation)},
		{Name: "chunks of a length of 2^31.png", Data: inPNG(whole, []byte("\x7f\xff\xff\xffaaAa")), Want: pipeline.CodeDamaged},
		{Name: "chunks of a length of 2^32.png", Data: inPNG(whole, []byte("\xff\xff\xff\xffaaAa")), Want: pipeline.CodeDamaged},
		{Name: "chunks two headers.png", Data: inPNG(whole, ihdr(20_000, 2_000, 8, 2, 0)), Want: pipeline.CodeDamaged},
		{Name: "chunks two palettes.png", Data: inPNG(whole, palette), Want: pipeline.CodeDamaged},
		{Name: "chunks without end.png", Data: whole[:len(whole)-12], Want: pipeline.CodeDamaged},
	}
}

// deflateBombs expand to a gibibyte.
func deflateBombs() []Bomb {
	whole := PNG(64, 48)
	bomb := zlibZeros(1 << 30)
	endless := bomb[:len(bomb)/2]
	end := chunk("IEND", nil)
	text := func(kind, head string, stream []byte) []byte {
		return inPNG(whole, chunk(kind, append([]byte(head), stream...)))
	}
	return []Bomb{
		{Name: "deflated pixels, a gibibyte of them in 16×16.png", Data: pngOf(ihdr(16, 16, 8, 2, 0), chunk("IDAT", bomb), end)},
		{Name: "deflated pixels, a little too few.png", Data: pngOf(ihdr(7000, 900, 16, 6, 0), chunk("IDAT", zlibZeros(48<<20)), end), Want: pipeline.CodeDamaged, Late: true},
		{Name: "deflated text.png", Data: text("zTXt", "Comment\x00\x00", bomb)},
		{Name: "deflated UTF-8.png", Data: text("iTXt", "Comment\x00\x01\x00\x00\x00", bomb)},
		{Name: "deflated XMP.png", Data: text("iTXt", "XML:com.adobe.xmp\x00\x01\x00\x00\x00", bomb)},
		{Name: "deflated EXIF.png", Data: text("zTXt", "Raw profile type exif\x00\x00", bomb)},
		{Name: "deflated profile.png", Data: text("iCCP", "ICC\x00\x00", bomb)},
		{Name: "deflated profile, cut.png", Data: text("iCCP", "ICC\x00\x00", endless)},
		{Name: "deflated text, cut.png", Data: text("zTXt", "Comment\x00\x00", endless)},
	}
}

// cutPNGs end at each of the chunks of a PNG: before it, in its header and in its data.
func cutPNGs() []Bomb {
	whole := PNG(64, 48)
	var bombs []Bomb
	for pos := len(pngMagic); pos < len(whole); {
		kind := string(whole[pos+4 : pos+8])
		for _, at := range [...]int{pos, pos + 2, pos + 6, pos + 8, pos + 11} {
			bombs = append(bombs, Bomb{
				Name: fmt.Sprintf("cut at byte %d, chunk %s.png", at, kind), Data: bytes.Clone(whole[:at]), Want: pipeline.CodeDamaged,
			})
		}
		pos += 12 + int(binary.BigEndian.Uint32(whole[pos:]))
	}
	return append(bombs, Bomb{Name: "cut inside its signature.png", Data: bytes.Clone(whole[:5]), Want: pipeline.CodeDamaged})
}
