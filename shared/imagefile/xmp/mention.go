package xmp

import "bytes"

// MentionsCaption reports whether data that is not read as a packet, such as extended XMP, may state a caption.
func MentionsCaption(text []byte) bool {
	return bytes.Contains(text, []byte(dcNamespace)) || bytes.Contains(text, []byte(lightroomNamespace))
}

// MentionsProvenance reports whether the data may refer to Content Credentials.
func MentionsProvenance(text []byte) bool {
	return bytes.Contains(text, []byte(dctermsNamespace)) && bytes.Contains(text, []byte("provenance"))
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
