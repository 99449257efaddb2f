// Package icc reads color profiles (ICC.1:2022).
package icc

import (
	"bytes"
	"encoding/binary"

	"github.com/imagebatch/imagebatch/shared/imagefile/charset"
)

// Limits for reading a profile.
const (
	maxTags = 100
	maxText = 512 // bytes of a text in UTF-16
)

// Description reads the tag desc of a profile: a text in version 2, or texts in several languages in version 4,
// of which it returns the English one or else the first.
func Description(profile []byte) (string, bool) {
	const header, entry = 128, 12
	if len(profile) < header+4 || string(profile[36:40]) != "acsp" {
		return "", false
	}
	be := binary.BigEndian
	table := profile[header+4:]
	for range min(be.Uint32(profile[header:]), maxTags) {
		if len(table) < entry {
			return "", false
		}
		if string(table[:4]) == "desc" {
			offset, size := int64(be.Uint32(table[4:])), int64(be.Uint32(table[8:]))
			if offset > int64(len(profile)) {
				return "", false
			}
			return text(profile[offset:min(offset+size, int64(len(profile)))])
		}
		table = table[entry:]
	}
	return "", false
}

// text reads a tag of the type textDescription or multiLocalizedUnicode.
func text(tag []byte) (string, bool) {
	if len(tag) < 12 {
		return "", false
	}
	be := binary.BigEndian
	switch string(tag[:4]) {
	case "desc":
		text := tag[12:]
		text = text[:min(int64(be.Uint32(tag[8:])), int64(len(text)))]
		text, _, _ = bytes.Cut(text, []byte{0})
		return charset.Latin1(text), len(text) > 0
	case "mluc":
		found := ""
		const header, record = 16, 12
		for i := range min(be.Uint32(tag[8:]), maxTags) {
			at := header + record*int(i)
			if len(tag) < at+record {
				break
			}
			size, offset := int64(be.Uint32(tag[at+4:])), int64(be.Uint32(tag[at+8:]))
			if offset+size > int64(len(tag)) {
				continue
			}
			text := charset.UTF16(tag[offset:offset+min(size, maxText)], be)
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
