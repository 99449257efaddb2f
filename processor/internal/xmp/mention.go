package xmp

import "bytes"

// MentionsCaption tells whether something that is not read as a packet, such as
// extended XMP, may state a caption.
func MentionsCaption(text []byte) bool {
	return bytes.Contains(text, []byte(dcNamespace)) || bytes.Contains(text, []byte(lightroomNamespace))
}

// MentionsPlace tells whether it may tell a GPS position.
func MentionsPlace(text []byte) bool { return bytes.Contains(bytes.ToLower(text), []byte(":gps")) }
