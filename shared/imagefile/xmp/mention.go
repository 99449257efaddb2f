package xmp

import "bytes"

// MentionsCaption reports whether data that is not read as a packet, because it is too long for example, may state
// a caption.
func MentionsCaption(text []byte) bool {
	for _, p := range knownProperties {
		for _, name := range p.names {
			if _, ok := captionField(p.prefix + name); ok && bytes.Contains(text, []byte(p.namespace)) {
				return true
			}
		}
	}
	return false
}

// MentionsPlace reports whether the data may contain a GPS position.
func MentionsPlace(text []byte) bool {
	if bytes.Contains(bytes.ToLower(text), []byte(":gps")) {
		return true
	}
	for _, ns := range positionNamespaces {
		if bytes.Contains(text, []byte(ns)) {
			return true
		}
	}
	return false
}
