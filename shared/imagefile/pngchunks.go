package imagefile

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// PNG is Portable Network Graphics, third edition.
var PNG = &Format{
	Name: "png", MediaType: "image/png", Extensions: []string{".png"}, Magic: pngMagic,
	read: readPNG, layout: layOutPNG, edits: editPNG, picture: pngPicture,
	limits: func() (int, int, int) { return MaxPacket, math.MaxInt32, 0 },
	goesOn: func(l Layout, data []byte) bool { return !isZero(data[l.end:]) },
}

const pngMagic = "\x89PNG\r\n\x1a\n"

// xmpKeyword is the keyword of the text chunk with an XMP packet. The packet belongs into an iTXt chunk, but
// some programs write it into the two older ones.
const xmpKeyword = "XML:com.adobe.xmp"

// wordKeywords are the keywords of the text chunks that the analyzer reads. Some programs write them in lower case.
var wordKeywords = [...]string{"Title", "Description", "Copyright", "Software", "Author"}

// pngChunk is one chunk of a PNG.
type pngChunk struct {
	edit.Span

	kind []byte
}

func (c pngChunk) payload() edit.Span { return edit.Span{Start: c.Start + 8, End: c.End - 4} }

// critical reports whether a decoder that does not know the chunk cannot show the image.
func (c pngChunk) critical() bool { return c.kind[0]&0x20 == 0 }

// sound reports whether the checksum is correct.
func (c pngChunk) sound(data []byte) bool {
	end := c.End - 4
	return crc32.ChecksumIEEE(data[c.Start+4:end]) == binary.BigEndian.Uint32(data[end:])
}

// pngChunks walks over the chunks of a PNG file.
type pngChunks struct {
	data []byte
	pos  int
}

// next returns the next chunk, and moves behind it.
func (w *pngChunks) next() (pngChunk, error) {
	rest := w.data[w.pos:]
	const frame = 12 // length, kind and checksum
	if len(rest) < frame {
		return pngChunk{}, damagedPNG("ends before its IEND chunk")
	}
	length := binary.BigEndian.Uint32(rest)
	c := pngChunk{kind: rest[4:8], Span: edit.Span{Start: w.pos}}
	for _, letter := range c.kind {
		if (letter|0x20) < 'a' || (letter|0x20) > 'z' {
			return pngChunk{}, damagedPNG("a chunk has an impossible name")
		}
	}
	if length > math.MaxInt32 {
		return pngChunk{}, damagedPNG("chunk %s has an impossible length", c.kind)
	}
	if int64(length) > int64(len(rest)-frame) {
		return pngChunk{}, damagedPNG("ends before its IEND chunk")
	}
	w.pos += frame + int(length)
	c.End = w.pos
	return c, nil
}

// layOutPNG walks over the chunks to IEND. It is not ok if IHDR is not first, if pixels or IEND are missing, or
// if a chunk extends beyond the end.
func layOutPNG(data []byte) (Layout, bool) {
	var l Layout
	chunks := pngChunks{data: data, pos: len(pngMagic)}
	for {
		c, err := chunks.next()
		if err != nil || (l.place == 0) != (string(c.kind) == "IHDR") {
			return l, false
		}
		if string(c.kind) == "IEND" {
			l.end = c.End
			return l, l.pixels > 0
		}
		l.noteChunk(data, c)
	}
}

// noteChunk records the metadata in a chunk. A new packet is inserted directly after IHDR, where it violates no
// rule about the order of chunks, and readers find it early. A block with a wrong checksum is odd.
func (l *Layout) noteChunk(data []byte, c pngChunk) {
	payload := c.payload()
	body := payload.Of(data)
	switch string(c.kind) {
	case "IHDR":
		l.place = c.End
	case "IDAT":
		if l.pixels == 0 {
			l.pixels = c.Start
		}
	case "eXIf":
		b := Block{Kind: EXIF, Whole: c.Span, Data: payload, Odd: !c.sound(data)}
		// Some writers keep the prefix that EXIF has in JPEG.
		if head := len(exifName) + 1; len(body) > head && bytes.HasPrefix(body, []byte(exifName)) {
			b.Data.Start += head
		}
		l.add(b)
	case "iCCP":
		name, profile, ok := bytes.Cut(body, []byte{0})
		ok = ok && len(profile) > 0 && profile[0] == 0 && c.sound(data)
		b := Block{Kind: ICC, Whole: c.Span, Data: payload, Odd: !ok}
		if ok {
			b.Text = &Text{Keyword: string(name), Value: profile[1:], Deflated: true}
		}
		l.add(b)
	case "cICP", "sRGB", "gAMA", "cHRM":
		// They apply to the pixels after them.
		if l.pixels == 0 {
			kind := map[string]Kind{"cICP": CICP, "sRGB": SRGB, "gAMA": Gamma, "cHRM": Chromaticities}[string(c.kind)]
			l.add(Block{Kind: kind, Whole: c.Span, Data: payload, Odd: !c.sound(data)})
		}
	case "caBX":
		l.add(Block{Kind: Credentials, Whole: c.Span, Data: payload})
	case "tEXt", "zTXt", "iTXt":
		l.noteText(data, c)
	}
}

// noteText records a text chunk with one of the keywords that matter.
func (l *Layout) noteText(data []byte, c pngChunk) {
	b := Block{Whole: c.Span, Data: c.payload()}
	word := -1
	switch keyword, _, _ := bytes.Cut(b.Data.Of(data), []byte{0}); {
	case len(keyword) > 79:
		return
	case string(keyword) == xmpKeyword:
		b.Kind = XMP
	case bytes.HasPrefix(keyword, []byte("exif:GPS")): // written by ImageMagick: one value from EXIF
		b.Kind = GPSText
	case isRawProfile(string(keyword)):
		b.Kind = RawProfile
	default:
		word = slices.IndexFunc(wordKeywords[:], func(w string) bool { return strings.EqualFold(w, string(keyword)) })
		if word < 0 || l.words[word] {
			return
		}
		b.Kind = Words
	}
	text, ok := readText(string(c.kind), b.Data.Of(data))
	ok = ok && c.sound(data)
	if b.Text, b.Odd = &text, !ok; ok {
		b.Data.Start = b.Data.End - len(text.Value)
		if word >= 0 {
			l.words[word], text.Keyword = true, wordKeywords[word]
		}
	}
	l.add(b)
}

// readText splits a text chunk. It returns the keyword even if it is not ok.
func readText(kind string, payload []byte) (t Text, ok bool) {
	keyword, rest, ok := bytes.Cut(payload, []byte{0})
	t.Keyword = string(keyword[:min(len(keyword), 79)])
	if !ok || len(keyword) == 0 || len(keyword) > 79 {
		return t, false
	}
	switch kind {
	case "tEXt":
		t.Value = rest
		return t, true
	case "zTXt":
		if len(rest) < 1 || rest[0] != 0 {
			return t, false
		}
		t.Value, t.Deflated = rest[1:], true
		return t, true
	}
	if len(rest) < 2 || rest[0] > 1 || rest[0] == 1 && rest[1] != 0 {
		return t, false
	}
	t.UTF8, t.Deflated = true, rest[0] == 1
	_, rest, ok = bytes.Cut(rest[2:], []byte{0}) // skip the language
	if !ok {
		return t, false
	}
	_, t.Value, ok = bytes.Cut(rest, []byte{0}) // skip the translated keyword
	return t, ok
}

// editPNG returns the edits that write a change. An existing packet keeps its position, unless it is after the
// pixels, where many readers do not look.
func editPNG(l Layout, data []byte, c Change) edit.Edits {
	var es edit.Edits
	if c.XMP != nil {
		// The chunk is not compressed, and has neither a language nor a translated keyword, as ISO 16684-3 requires.
		chunk := newChunk("iTXt", []byte(xmpKeyword+"\x00\x00\x00\x00\x00"), c.XMP)
		old, has := l.First(XMP)
		if c.Raw != nil {
			old, has, chunk = c.Raw.block, true, c.Raw.with(data, c.XMP)
		} else if !has || old.Late {
			es = append(es, edit.Edit{Span: edit.Span{Start: l.place, End: l.place}, With: chunk})
			chunk = nil
		}
		if has {
			es = append(es, edit.Edit{Span: old.Whole, With: chunk})
		}
	}
	if b, ok := l.First(EXIF); ok && c.EXIF != nil {
		head := data[b.Whole.Start+8 : b.Data.Start]
		es = append(es, edit.Edit{Span: b.Whole, With: newChunk("eXIf", head, c.EXIF)})
	}
	return es
}

// newChunk returns a chunk with a payload of two parts.
func newChunk(kind string, head, data []byte) []byte {
	chunk := make([]byte, 0, 12+len(head)+len(data))
	chunk = binary.BigEndian.AppendUint32(chunk, uint32(len(head)+len(data)))
	chunk = append(append(append(chunk, kind...), head...), data...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
}
