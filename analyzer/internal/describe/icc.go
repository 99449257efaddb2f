package describe

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"

	"github.com/imagebatch/imagebatch/analyzer/internal/colorprofile"
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// Limits for reading a color profile.
const (
	maxProfileName = 128
	maxProfileTags = 100
)

// colorsOf returns the transform to sRGB, or nil if the samples are sRGB already or have no known colors. profile is the
// file's color profile.
func colorsOf(h imagefile.Header, profile []byte, warned *warnings) *colorprofile.Transform {
	samples := colorprofile.RGB
	switch h.ColorModel {
	case imagefile.Gray:
		samples = colorprofile.Gray
	case imagefile.CMYK:
		samples = colorprofile.CMYK
	}
	t, problems := colorprofile.Choose(colorprofile.Sources{
		CICP: h.CICP, Profile: profile, SRGB: h.SRGB != nil, Gamma: h.Gamma, Primaries: h.Chromaticities, InteropR03: h.AdobeRGB,
	}, samples)
	for _, problem := range problems {
		warned.add("colors: %v", problem)
	}
	if t == nil || t.Identity() {
		return nil
	}
	return t
}

// profileOf returns the file's color profile, nil if it has none, and the name of the profile in a PNG.
func profileOf(h imagefile.Header, warned *warnings) (profile []byte, name string) {
	if h.ICC == nil || h.Format != imagefile.PNG {
		return h.ICC, ""
	}
	title, rest, ok := bytes.Cut(h.ICC, []byte{0})
	if !ok || len(rest) < 1 || rest[0] != 0 {
		warned.add("ICC profile: its chunk cannot be read")
		return nil, ""
	}
	return inflate(rest[1:], colorprofile.MaxBytes+1), latin1(title)
}

// profileName returns the name of a color profile, or "": its description (ICC.1:2022, 9.2.41), or else its name
// in the PNG.
func profileName(profile []byte, name string, warned *warnings) string {
	if profile == nil {
		return clean(name, maxProfileName)
	}
	if text, ok := profileDescription(profile); ok {
		name = text
	} else {
		warned.add("ICC profile: its description cannot be read")
	}
	return clean(name, maxProfileName)
}

// profileDescription reads the tag desc of a profile: a text in version 2, or texts in several languages in
// version 4, of which the English one is used, or else the first.
func profileDescription(profile []byte) (string, bool) {
	const header, entry = 128, 12
	if len(profile) < header+4 || string(profile[36:40]) != "acsp" {
		return "", false
	}
	be := binary.BigEndian
	table := profile[header+4:]
	for range min(be.Uint32(profile[header:]), maxProfileTags) {
		if len(table) < entry {
			return "", false
		}
		if string(table[:4]) == "desc" {
			offset, size := int64(be.Uint32(table[4:])), int64(be.Uint32(table[8:]))
			if offset > int64(len(profile)) {
				return "", false
			}
			return descriptionText(profile[offset:min(offset+size, int64(len(profile)))])
		}
		table = table[entry:]
	}
	return "", false
}

func descriptionText(tag []byte) (string, bool) {
	if len(tag) < 12 {
		return "", false
	}
	be := binary.BigEndian
	switch string(tag[:4]) {
	case "desc":
		text := tag[12:]
		text = text[:min(int64(be.Uint32(tag[8:])), int64(len(text)))]
		text, _, _ = bytes.Cut(text, []byte{0})
		return latin1(text), len(text) > 0
	case "mluc":
		found := ""
		const header, record = 16, 12
		for i := range min(be.Uint32(tag[8:]), maxProfileTags) {
			at := header + record*int(i)
			if len(tag) < at+record {
				break
			}
			size, offset := int64(be.Uint32(tag[at+4:])), int64(be.Uint32(tag[at+8:]))
			if offset+size > int64(len(tag)) {
				continue
			}
			text := utf16Text(tag[offset : offset+min(size, 4*maxProfileName)])
			if found == "" {
				found = text
			}
			if string(tag[at:at+2]) == "en" && text != "" {
				return text, true
			}
		}
		return found, found != ""
	}
	return "", false
}

func utf16Text(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
