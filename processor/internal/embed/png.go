package embed

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"strings"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
	"github.com/imagebatch/imagebatch/processor/internal/xmp"
)

const (
	pngStart = "\x89PNG\r\n\x1a\n"

	// chunkExtra is the size of a chunk without its data: length, type and CRC.
	chunkExtra = 12

	xmpKeyword = "XML:com.adobe.xmp\x00"
)

// maxPNGPacket is the longest packet that is read or written in a PNG, which has no limit itself. Sixty JPEG
// packets fit.
const maxPNGPacket = 4 << 20

// Keywords of text chunks that affect what is written.
var (
	pngTitle       = []byte("Title\x00")
	pngDescription = []byte("Description\x00")
	pngPlace       = []byte("exif:GPS") // written by ImageMagick: one value from EXIF
)

// pngLayout contains the positions of the parts of a PNG.
type pngLayout struct {
	header      span // IHDR, which is first
	pixels      int  // start of the first IDAT; 0 if there is none
	packet      span // the first text chunk with an XMP packet; empty if there is none
	exif        span // the eXIf chunk; empty if there is none
	exifHead    int  // length of the prefix that EXIF data has in JPEG, which some writers keep
	places      []span
	stated      [len(caption.Fields)]bool
	hides       bool // there are raw profiles, second blocks, or data after the end
	credentials bool
}

func (w writer) writePNG(data []byte) File {
	l, ok := readPNG(data)
	if !ok {
		m := made{file: File{Sidecar: xmp.New(w.description)}}
		m.leave(OddStructure)
		m = w.finish(found{}, m)
		m.file.Data = data
		return m.file
	}
	f := l.found(data)
	f.cuts = w.options.StripPlace && len(l.places) > 0
	m := w.make(f)
	var es edits
	if m.packet != nil {
		es = l.packetEdits(chunkOf("iTXt", []byte(xmpKeyword+"\x00\x00\x00\x00"), m.packet))
	}
	if m.tiff != nil {
		head := data[l.tiff().start-l.exifHead : l.tiff().start]
		es = append(es, edit{l.exif, chunkOf("eXIf", head, m.tiff)})
	}
	if w.options.StripPlace && (!m.file.Signed || w.options.EmbedSigned) {
		for _, place := range l.places {
			es, m.file.Place = append(es, edit{span: place}), Removed
		}
	}
	m.file.Data = data
	if len(es) > 0 {
		m.file.Data = es.apply(data)
	}
	return m.file
}

// found returns the metadata of a PNG. It does not support IPTC-IIM.
func (l pngLayout) found(data []byte) found {
	f := found{
		packetLimit: maxPNGPacket, tiffLimit: math.MaxInt32,
		stated: l.stated, credentials: l.credentials, place: l.hides,
	}
	if !l.packet.empty() {
		f.packet, f.odd = readPacketChunk(l.packet.of(data))
	}
	if !l.exif.empty() {
		f.tiff = l.tiff().of(data)
	}
	return f
}

// tiff returns the range of the TIFF block of the EXIF data.
func (l pngLayout) tiff() span { return span{l.exif.start + 8 + l.exifHead, l.exif.end - 4} }

// packetEdits returns the edits that write a packet's chunk. Directly after IHDR the chunk violates no rule
// about the order of chunks, and readers find it early. An existing packet keeps its position, unless it is
// after the pixels, where many readers do not look.
func (l pngLayout) packetEdits(chunk []byte) edits {
	if l.packet.empty() || l.packet.start > l.pixels {
		es := edits{{span{l.header.end, l.header.end}, chunk}}
		if !l.packet.empty() {
			es = append(es, edit{span: l.packet})
		}
		return es
	}
	return edits{{l.packet, chunk}}
}

// readPNG walks over the chunks to IEND. It is not ok if IHDR is not first, if pixels or IEND are missing, or
// if a chunk extends beyond the end.
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
			l.noteText(data[at+8:chunk.end-4], chunk)
		case "eXIf":
			if !l.exif.empty() || !soundChunk(chunk.of(data)) {
				l.hides = true
				break
			}
			l.exif = chunk
			if head := len(exifSignature) + 1; int(length) > head && bytes.HasPrefix(data[at+8:], []byte(exifSignature)) {
				l.exifHead = head
			}
		case "caBX":
			l.credentials = true
		case "IEND":
			l.hides = l.hides || !isZero(data[chunk.end:])
			return l, l.pixels > 0
		}
		at = chunk.end
	}
}

// noteText records a text chunk that affects what is written.
func (l *pngLayout) noteText(body []byte, chunk span) {
	switch {
	case bytes.HasPrefix(body, []byte(xmpKeyword)):
		if l.packet.empty() {
			l.packet = chunk
			return
		}
		l.stated, l.hides = [...]bool{true, true, true}, true // a second packet, which most readers ignore
	case bytes.HasPrefix(body, pngTitle):
		l.stated[caption.Title] = true
	case bytes.HasPrefix(body, pngDescription):
		l.stated[caption.Description] = true
	case hidesCaption(body):
		l.stated, l.hides = [...]bool{true, true, true}, true
	case bytes.HasPrefix(body, pngPlace):
		l.places = append(l.places, chunk)
	}
}

// hidesCaption reports whether a text chunk is one in which ImageMagick stores EXIF, IPTC-IIM or XMP, as hex
// digits.
func hidesCaption(body []byte) bool {
	profile, ok := bytes.CutPrefix(body, []byte("Raw profile type "))
	if !ok {
		return false
	}
	kind, _, _ := bytes.Cut(profile, []byte{0})
	switch strings.ToLower(string(kind)) {
	case "exif", "app1", "iptc", "8bim", "xmp":
		return true
	default:
		return false
	}
}

// soundChunk reports whether the checksum of a chunk is correct.
func soundChunk(chunk []byte) bool {
	end := len(chunk) - 4
	return crc32.ChecksumIEEE(chunk[4:end]) == binary.BigEndian.Uint32(chunk[end:])
}

// readPacketChunk reads the packet from a complete text chunk, whose length and keyword have been checked, or
// returns a warning. The packet belongs into an iTXt chunk, but some programs write it into the two older ones.
func readPacketChunk(chunk []byte) ([]byte, Warning) {
	if !soundChunk(chunk) {
		return nil, PacketMalformed
	}
	body := chunk[4 : len(chunk)-4]
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

// chunkOf returns a chunk with a payload of two parts. A packet's chunk is not compressed and has neither a
// language nor a translated keyword, as ISO 16684-3 requires.
func chunkOf(kind string, head, data []byte) []byte {
	chunk := make([]byte, 0, chunkExtra+len(head)+len(data))
	chunk = binary.BigEndian.AppendUint32(chunk, uint32(len(head)+len(data)))
	chunk = append(append(append(chunk, kind...), head...), data...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
}
