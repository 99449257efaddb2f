package imprint

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"

	"github.com/imagebatch/imagebatch/processor/internal/xmp"
)

const (
	pngStart = "\x89PNG\r\n\x1a\n"

	// chunkExtra is what a chunk has besides its data: length, type and CRC.
	chunkExtra = 12

	xmpKeyword = "XML:com.adobe.xmp\x00"
)

// maxPNGPacket is the longest packet that is read or written in a PNG, where the
// format itself has no limit. Sixty JPEG packets fit.
const maxPNGPacket = 4 << 20

// pngLayout is where things lie in a PNG.
type pngLayout struct {
	header      span // IHDR, which is first
	pixels      int  // where the first IDAT begins; 0 while there is none
	packet      span // the first text chunk with an XMP packet; empty when there is none
	credentials bool
}

func writePNG(data []byte, d xmp.Description) File {
	l, ok := readPNG(data)
	switch {
	case !ok:
		return untouched(data, OddStructure)
	case l.credentials:
		return untouched(data, Credentials)
	}
	var old []byte
	if !l.packet.empty() {
		text, warning := readPacketChunk(l.packet.of(data))
		if warning != "" {
			return untouched(data, warning)
		}
		old = text
	}
	p, outcome, warning := packet(old, d, maxPNGPacket)
	if p == nil {
		return untouched(data, warning)
	}
	chunk := packetChunk(p)

	// Directly behind IHDR no rule about the order of chunks can be broken, and a
	// reader finds it early. A packet that is there keeps its place, unless that is
	// behind the pixels, where many readers do not look.
	at := span{l.header.end, l.header.end}
	if !l.packet.empty() {
		if l.packet.start < l.pixels {
			at = l.packet
		} else {
			data = replace(data, l.packet, nil)
		}
	}
	return File{Data: replace(data, at, chunk), Outcome: outcome, Warning: warning}
}

// readPNG walks over the chunks to IEND. It is not ok when IHDR is not first, or
// pixels or IEND are missing, or a chunk reaches over the end.
func readPNG(data []byte) (pngLayout, bool) {
	var l pngLayout
	at := len(pngStart)
	for {
		if len(data)-at < chunkExtra {
			return l, false
		}
		length := binary.BigEndian.Uint32(data[at:])
		if length > math.MaxInt32 || int(length) > len(data)-at-chunkExtra {
			return l, false
		}
		chunk := span{at, at + chunkExtra + int(length)}
		kind := string(data[at+4 : at+8])
		if l.header.empty() != (kind == "IHDR") {
			return l, false
		}
		switch kind {
		case "IHDR":
			l.header = chunk
		case "IDAT":
			if l.pixels == 0 {
				l.pixels = chunk.start
			}
		case "iTXt", "zTXt", "tEXt":
			if l.packet.empty() && bytes.HasPrefix(data[at+8:chunk.end-4], []byte(xmpKeyword)) {
				l.packet = chunk
			}
		case "caBX":
			l.credentials = true
		case "IEND":
			return l, l.pixels > 0
		}
		at = chunk.end
	}
}

// readPacketChunk reads the packet out of a whole text chunk, of which length and
// keyword are known to be right, or says why it does not. The packet belongs into
// an iTXt chunk, but some programs put it into the two older ones.
func readPacketChunk(chunk []byte) ([]byte, Warning) {
	body, sum := chunk[4:len(chunk)-4], chunk[len(chunk)-4:]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(sum) {
		return nil, PacketMalformed
	}
	var compressed bool
	text := body[4+len(xmpKeyword):]
	switch string(body[:4]) {
	case "zTXt": // method, text
		if len(text) < 1 || text[0] != 0 {
			return nil, PacketMalformed
		}
		compressed, text = true, text[1:]
	case "iTXt": // flag, method, language and zero, translated keyword and zero, text
		if len(text) < 2 || text[0] > 1 || text[0] == 1 && text[1] != 0 {
			return nil, PacketMalformed
		}
		compressed = text[0] == 1
		var hasLanguage, hasKeyword bool
		_, text, hasLanguage = bytes.Cut(text[2:], []byte{0})
		_, text, hasKeyword = bytes.Cut(text, []byte{0})
		if !hasLanguage || !hasKeyword {
			return nil, PacketMalformed
		}
	}
	if compressed {
		z, err := zlib.NewReader(bytes.NewReader(text))
		if err != nil {
			return nil, PacketMalformed
		}
		if text, err = io.ReadAll(io.LimitReader(z, maxPNGPacket+1)); err != nil {
			return nil, PacketMalformed
		}
	}
	if len(text) > maxPNGPacket {
		return nil, PacketTooLarge
	}
	return text, ""
}

// packetChunk is the iTXt chunk of a packet: not compressed, with neither language
// nor translated keyword, as ISO 16684-3 demands.
func packetChunk(p []byte) []byte {
	body := "iTXt" + xmpKeyword + "\x00\x00\x00\x00"
	chunk := make([]byte, 0, len(body)+len(p)+8)
	chunk = binary.BigEndian.AppendUint32(chunk, uint32(len(body)-4+len(p))) //nolint:gosec // maxPNGPacket bounds it
	chunk = append(append(chunk, body...), p...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
}
