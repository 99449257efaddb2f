package imagefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
)

// PictureHash returns the SHA-256, in hex, of what a viewer shows of an accepted file: the compressed pixels, what
// their decoding needs, their color profile, and the orientation. Editing the metadata does not change it, nor does
// anything after the end of the image. It is computed from the bytes; no statement of the file about itself counts.
// The error is [ErrFormat] or, if the file cannot be walked through, [ErrStructure].
func PictureHash(data []byte) (string, error) {
	f := formatOf(data)
	if f == nil {
		return "", ErrFormat
	}
	h := sha256.New()
	l, ok := f.picture(data, h)
	if !ok {
		return "", ErrStructure
	}
	l.Format = f
	h.Write([]byte{byte(l.orientation(data))})
	return hex.EncodeToString(h.Sum(nil)), nil
}

// orientation returns the EXIF orientation, 1 to 8. Viewers read that of a JPEG before they decode its first scan. A PNG
// may have its EXIF at the end.
func (l Layout) orientation(data []byte) int {
	if b, ok := l.First(EXIF); ok && (!b.Late || l.Format != JPEG) {
		if block, err := tiff.Parse(b.Data.Of(data)); err == nil {
			return block.Orientation()
		}
	}
	return 1
}

// jpegPicture hashes a JPEG without its comments and application segments, except those that change its colors: the
// ICC profile and Adobe's. Stray bytes and fill bytes between segments do not count. Like [Read], it accepts a file
// without an end once there is a scan.
func jpegPicture(data []byte, h hash.Hash) (l Layout, ok bool) {
	m := jpegMarkers{data: data, pos: 2}
	for inScan := false; ; {
		start := m.pos
		marker, err := m.next()
		if err != nil {
			h.Write(data[start:])
			return l, inScan || l.pixels > 0
		}
		if inScan {
			h.Write(bytes.TrimRight(data[start:m.pos-1], "\xff"))
		}
		if inScan = marker == markerSOS; marker == markerEOI {
			return l, l.pixels > 0
		}
		segment, err := m.segment(marker)
		if err != nil {
			h.Write(data[start:])
			return l, l.pixels > 0
		}
		if shown := segment.Of(data); marker < markerAPP0 || marker > markerAPP15 && marker != markerCOM ||
			marker == markerAPP2 && bytes.HasPrefix(shown, []byte(iccName)) ||
			marker == markerAPP14 && bytes.HasPrefix(shown, []byte("Adobe")) {
			h.Write(jpegSegment(marker, nil, shown))
		}
		l.noteSegment(data, marker, segment)
	}
}

// pngPicture hashes the chunks of a PNG that a viewer needs for its pixels and their colors. How the pixels are
// divided into chunks does not count, nor does an animation.
func pngPicture(data []byte, h hash.Hash) (l Layout, ok bool) {
	chunks := pngChunks{data: data, pos: len(pngMagic)}
	for state := beforePixels; ; {
		c, err := chunks.next()
		if err != nil {
			return l, false
		}
		switch kind := string(c.kind); {
		case kind == "IEND":
			return l, state != beforePixels
		case kind == "IDAT" && state != afterPixels:
			if state == beforePixels {
				h.Write(c.kind)
			}
			state = inPixels
			h.Write(c.payload().Of(data))
		case state == inPixels:
			state = afterPixels
		case state == beforePixels && slices.Contains(strings.Fields("IHDR PLTE tRNS cICP iCCP sRGB gAMA cHRM"), kind):
			h.Write(data[c.Start : c.End-4])
		}
		l.noteChunk(data, c)
	}
}
