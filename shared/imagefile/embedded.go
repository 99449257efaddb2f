package imagefile

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The first bytes of the JPEG segments that contain metadata.
const (
	exifPrefix      = "Exif\x00"
	xmpPrefix       = "http://ns.adobe.com/xap/1.0/\x00"
	iccPrefix       = "ICC_PROFILE\x00"
	photoshopPrefix = "Photoshop 3.0\x00"
)

// xmpKeyword is the keyword of the PNG text chunk that contains XMP.
const xmpKeyword = "XML:com.adobe.xmp"

// maxTexts bounds the number of text chunks that are recorded. Programs write only a few.
const maxTexts = 32

// metadata records the metadata in a segment.
func (w *jpegWalk) metadata(marker byte, segment []byte) {
	h := &w.header
	switch {
	// XMP uses APP1 too and may come first. Exif has two zero bytes after its name; some writers store another
	// value in the second.
	case marker == markerAPP1 && h.Exif == nil && len(segment) > 6 && string(segment[:5]) == exifPrefix:
		h.Exif = segment[6:]
		h.Orientation = exifOrientation(h.Exif)
		h.AdobeRGB = exifAdobeRGB(h.Exif)
	case marker == markerAPP1:
		first(&h.XMP, segment, xmpPrefix)
	case marker == markerAPP2:
		if part, ok := bytes.CutPrefix(segment, []byte(iccPrefix)); ok && len(part) > 2 {
			w.profilePart(part[0], part[2:])
		}
	case marker == markerAPP13:
		first(&h.IPTC, segment, photoshopPrefix)
	}
}

// profilePart records a part of the color profile. The parts are numbered from 1.
func (w *jpegWalk) profilePart(number byte, part []byte) {
	if number == 0 {
		return
	}
	if missing := int(number) - len(w.profile); missing > 0 {
		w.profile = append(w.profile, make([][]byte, missing)...)
	}
	if w.profile[number-1] == nil {
		w.profile[number-1] = part
	}
}

// wholeProfile returns the parts of the color profile before the first missing one.
func (w *jpegWalk) wholeProfile() []byte {
	end := 0
	for end < len(w.profile) && w.profile[end] != nil {
		end++
	}
	if end == 1 {
		return w.profile[0]
	}
	return slices.Concat(w.profile[:end]...)
}

// first sets block to the bytes after prefix unless it is already set.
func first(block *[]byte, segment []byte, prefix string) {
	if rest, ok := bytes.CutPrefix(segment, []byte(prefix)); ok && *block == nil && len(rest) > 0 {
		*block = rest
	}
}

// quantization records the tables of a DQT segment (T.81, B.2.4.1). It ignores damaged tables; the decoder
// rejects them.
func (w *jpegWalk) quantization(segment []byte) {
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

// metadata records the metadata in a chunk.
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
			h.AdobeRGB = exifAdobeRGB(payload)
		}
	case "iCCP":
		if h.ICC == nil && len(payload) > 0 {
			h.ICC = payload
		}
	case "cICP", "sRGB", "gAMA", "cHRM":
		// They apply to the pixels after them, and the first one of a kind counts.
		if block := map[string]*[]byte{"cICP": &h.CICP, "sRGB": &h.SRGB, "gAMA": &h.Gamma, "cHRM": &h.Chromaticities}[kind]; w.idat < 0 && *block == nil {
			*block = payload
		}
	case "acTL":
		// After the pixels it has no effect, so viewers show a still image.
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

// readText splits a text chunk.
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
	_, rest, ok = bytes.Cut(rest[2:], []byte{0}) // skip the language
	if !ok {
		return Text{}, false
	}
	_, t.Value, ok = bytes.Cut(rest, []byte{0}) // skip the translated keyword
	return t, ok
}
