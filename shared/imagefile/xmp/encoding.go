package xmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

var errUTF16 = errors.New("not UTF-16")

// inUTF8 returns a packet in UTF-16 as UTF-8, and other packets as they are. ISO 16684-1 allows UTF-16, but in a JPEG or
// PNG a packet has to be UTF-8, so a merge writes the whole packet again.
func inUTF8(packet []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case len(packet) < 2:
		return packet, nil
	case packet[0] == 0xfe && packet[1] == 0xff, packet[0] == 0 && packet[1] != 0:
		order = binary.BigEndian
	case packet[0] == 0xff && packet[1] == 0xfe, packet[0] != 0 && packet[1] == 0:
		order = binary.LittleEndian
	default:
		return packet, nil
	}
	text := make([]byte, 0, len(packet)/2)
	for i := 0; i+1 < len(packet); i += 2 {
		r := rune(order.Uint16(packet[i:]))
		if utf16.IsSurrogate(r) {
			i += 2
			if i+1 >= len(packet) {
				return packet, errUTF16
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(packet[i:]))); r == utf8.RuneError {
				return packet, errUTF16
			}
		}
		text = utf8.AppendRune(text, r)
	}
	if len(packet)%2 == 1 && packet[len(packet)-1] != 0 {
		return packet, errUTF16
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	// The declaration states the old encoding.
	if bytes.HasPrefix(text, []byte("<?xml ")) {
		if _, rest, ok := bytes.Cut(text, []byte("?>")); ok {
			text = rest
		}
	}
	return text, nil
}
