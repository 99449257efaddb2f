package imagefile

import (
	"bytes"
	"encoding/binary"
)

// How the segments of a JPEG begin that hold metadata.
const (
	exifPrefix      = "Exif\x00"
	xmpPrefix       = "http://ns.adobe.com/xap/1.0/\x00"
	iccPrefix       = "ICC_PROFILE\x00"
	photoshopPrefix = "Photoshop 3.0\x00"
)

// xmpKeyword is the keyword of the text chunk of a PNG that holds XMP.
const xmpKeyword = "XML:com.adobe.xmp"

// maxTexts bounds the text chunks that are remembered. Writers make a handful.
const maxTexts = 32

// metadata remembers where a segment's metadata lies.
func (w *jpegWalk) metadata(marker byte, segment []byte) {
	h := &w.header
	switch {
	// XMP lives in APP1 too and may come first. Exif has two zero bytes after
	// its name; some writers leave something else in the second.
	case marker == markerAPP1 && h.Exif == nil && len(segment) > 6 && string(segment[:5]) == exifPrefix:
		h.Exif = segment[6:]
		h.Orientation = exifOrientation(h.Exif)
	case marker == markerAPP1:
		first(&h.XMP, segment, xmpPrefix)
	case marker == markerAPP2 && h.ICC == nil && len(segment) > len(iccPrefix)+2 && segment[len(iccPrefix)] == 1:
		// The segments are numbered from 1. What tells the profile's name lies at
		// its beginning.
		if profile, ok := bytes.CutPrefix(segment, []byte(iccPrefix)); ok {
			h.ICC = profile[2:]
		}
	case marker == markerAPP13:
		first(&h.IPTC, segment, photoshopPrefix)
	}
}

// first sets block to what comes behind prefix unless it is set already.
func first(block *[]byte, segment []byte, prefix string) {
	if rest, ok := bytes.CutPrefix(segment, []byte(prefix)); ok && *block == nil && len(rest) > 0 {
		*block = rest
	}
}

// quantisation remembers the tables of a DQT segment (T.81, B.2.4.1). One that is
// damaged is the decoder's to refuse.
func (w *jpegWalk) quantisation(segment []byte) {
	for len(segment) > 0 {
		wide, id := segment[0]>>4, segment[0]&15
		size := 64 * (1 + int(wide))
		if wide > 1 || id > 3 || len(segment) < 1+size {
			return
		}
		values := segment[1 : 1+size]
		for i := range w.tables[id] {
			if wide == 1 {
				w.tables[id][i] = binary.BigEndian.Uint16(values[2*i:])
			} else {
				w.tables[id][i] = uint16(values[i])
			}
		}
		segment = segment[1+size:]
	}
}

// metadata remembers where a chunk's metadata lies.
func (w *pngWalk) metadata(kind string, payload []byte) {
	h := &w.header
	switch kind {
	case "eXIf":
		// Some writers keep the prefix that EXIF has in JPEG.
		if len(payload) > 6 && string(payload[:5]) == exifPrefix {
			payload = payload[6:]
		}
		if h.Exif == nil && len(payload) > 0 {
			h.Exif = payload
			h.Orientation = exifOrientation(payload)
		}
	case "iCCP":
		if h.ICC == nil && len(payload) > 0 {
			h.ICC = payload
		}
	case "acTL":
		// Behind the pixels it means nothing, so viewers show a still picture.
		h.Animated = h.Animated || w.idat < 0
	case "tEXt", "zTXt", "iTXt":
		if text, ok := readText(kind, payload); ok {
			w.text(text)
		}
	}
}

func (w *pngWalk) text(t Text) {
	if t.Keyword == xmpKeyword && !t.Deflated {
		if w.header.XMP == nil && len(t.Value) > 0 {
			w.header.XMP = t.Value
		}
		return
	}
	if len(w.header.Texts) < maxTexts {
		w.header.Texts = append(w.header.Texts, t)
	}
}

// readText takes a text chunk apart.
func readText(kind string, payload []byte) (t Text, ok bool) {
	keyword, rest, ok := bytes.Cut(payload, []byte{0})
	if !ok || len(keyword) == 0 || len(keyword) > 79 {
		return Text{}, false
	}
	t.Keyword = string(keyword)
	switch kind {
	case "tEXt":
		t.Value = rest
		return t, true
	case "zTXt":
		if len(rest) < 1 || rest[0] != 0 {
			return Text{}, false
		}
		t.Value, t.Deflated = rest[1:], true
		return t, true
	}
	if len(rest) < 2 || rest[0] > 1 || rest[0] == 1 && rest[1] != 0 {
		return Text{}, false
	}
	t.UTF8, t.Deflated = true, rest[0] == 1
	_, rest, ok = bytes.Cut(rest[2:], []byte{0}) // its language
	if !ok {
		return Text{}, false
	}
	_, t.Value, ok = bytes.Cut(rest, []byte{0}) // its keyword in that language
	return t, ok
}
