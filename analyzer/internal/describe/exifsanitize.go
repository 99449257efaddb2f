package describe

import (
	"bytes"
	"encoding/binary"
)

// Limits for reading an EXIF block.
const (
	maxExifBytes = 1 << 20 // of a block; JPEG allows at most 64 KiB, PNG has no limit
	maxEntries   = 500     // entries of a directory
	maxTagBytes  = 10_000  // bytes of a value
)

// The types of TIFF values that the tags below may have.
const (
	tiffByte      = 1
	tiffASCII     = 2
	tiffShort     = 3
	tiffLong      = 4
	tiffRational  = 5
	tiffUndefined = 7
	tiffSRational = 10
	tiffIFD       = 13
)

// The tags that point to the two other directories.
const (
	tagExifIFD = 0x8769
	tagGPSIFD  = 0x8825
)

// wantedTag is a tag that is read, with its required type.
type wantedTag struct {
	name     string
	kind     uint16
	min, max uint32 // number of values
}

// wanted lists the tags that are read from each directory (CIPA DC-008, 4.6).
var wanted = map[string]map[uint16]wantedTag{
	dirImage: {
		0x010e: {"ImageDescription", tiffASCII, 1, maxTagBytes},
		0x010f: {"Make", tiffASCII, 1, maxTagBytes},
		0x0110: {"Model", tiffASCII, 1, maxTagBytes},
		0x0131: {"Software", tiffASCII, 1, maxTagBytes},
		0x013b: {"Artist", tiffASCII, 1, maxTagBytes},
		0x4746: {"Rating", tiffShort, 1, 1},
		0x8298: {"Copyright", tiffASCII, 1, maxTagBytes},
	},
	dirExif: {
		0x829a: {"ExposureTime", tiffRational, 1, 1},
		0x829d: {"FNumber", tiffRational, 1, 1},
		0x8827: {"ISO", tiffShort, 1, 8},
		0x8832: {"RecommendedExposureIndex", tiffLong, 1, 1},
		0x8833: {"ISOSpeed", tiffLong, 1, 1},
		0x9003: {"DateTimeOriginal", tiffASCII, 1, 64},
		0x9004: {"CreateDate", tiffASCII, 1, 64},
		0x9011: {"OffsetTimeOriginal", tiffASCII, 1, 64},
		0x9012: {"OffsetTimeDigitized", tiffASCII, 1, 64},
		0x9204: {"ExposureCompensation", tiffSRational, 1, 1},
		0x9209: {"Flash", tiffShort, 1, 1},
		0x920a: {"FocalLength", tiffRational, 1, 1},
		0x9286: {"UserComment", tiffUndefined, 8, maxTagBytes},
		0xa405: {"FocalLengthIn35mmFormat", tiffShort, 1, 1},
		0xa434: {"LensModel", tiffASCII, 1, maxTagBytes},
	},
	dirGPS: {
		0x0001: {"GPSLatitudeRef", tiffASCII, 1, 8},
		0x0002: {"GPSLatitude", tiffRational, 3, 3},
		0x0003: {"GPSLongitudeRef", tiffASCII, 1, 8},
		0x0004: {"GPSLongitude", tiffRational, 3, 3},
		0x0005: {"GPSAltitudeRef", tiffByte, 1, 1},
		0x0006: {"GPSAltitude", tiffRational, 1, 1},
	},
}

// sanitizeTIFF returns a copy of a TIFF structure that keeps only the entries that are wanted and valid, or nil
// if it is not a TIFF structure. imagemeta stops at the first entry that it does not understand, reads
// coordinates of 0/0 as zero, and loses its position at a directory that is referenced twice. The copy contains
// none of these.
func sanitizeTIFF(tiff []byte, warned *warnings) []byte {
	if len(tiff) > maxExifBytes {
		warned.add("EXIF: only the first %d bytes are read", maxExifBytes)
		tiff = tiff[:maxExifBytes]
	}
	s := sanitizer{data: bytes.Clone(tiff), warned: warned, taken: [][2]int64{{0, 8}}}
	switch {
	case bytes.HasPrefix(tiff, []byte("II*\x00")):
		s.order = binary.LittleEndian
	case bytes.HasPrefix(tiff, []byte("MM\x00*")):
		s.order = binary.BigEndian
	default:
		warned.add("EXIF: it has no TIFF header")
		return nil
	}
	if len(tiff) < 8 || !s.directory(dirImage, s.order.Uint32(s.data[4:])) {
		warned.add("EXIF: its first directory is missing")
		return nil
	}
	return s.data
}

// sanitizer works on the copy of one TIFF structure.
type sanitizer struct {
	data   []byte
	order  binary.ByteOrder
	warned *warnings
	taken  [][2]int64 // ranges of the header and the directories
}

// directory sanitizes one directory and those that it points to. It returns false, and changes nothing, if
// there is no directory at offset.
func (s *sanitizer) directory(name string, offset uint32) bool {
	start := int64(offset)
	if start < 8 || start+2 > int64(len(s.data)) {
		return false
	}
	n := int64(s.order.Uint16(s.data[start:]))
	if fits := min((int64(len(s.data))-start-2)/12, maxEntries); n > fits {
		s.warned.add("EXIF %s: %d of its %d entries are read", name, fits, n)
		n = fits
	}
	end := start + 2 + 12*n
	if s.overlaps(start, end) {
		return false
	}
	s.taken = append(s.taken, [2]int64{start, end})
	s.order.PutUint16(s.data[start:], uint16(n))
	seen := map[uint16]bool{}
	for at := start + 2; at < end; at += 12 {
		entry := s.data[at : at+12]
		tag := s.order.Uint16(entry)
		if seen[tag] || !s.entry(name, tag, entry) {
			s.blank(entry)
		}
		seen[tag] = true
	}
	return true
}

func (s *sanitizer) overlaps(start, end int64) bool {
	for _, t := range s.taken {
		if start < t[1] && t[0] < end {
			return true
		}
	}
	return false
}

// blank overwrites an entry with one that no reader uses.
func (s *sanitizer) blank(entry []byte) {
	clear(entry)
	s.order.PutUint16(entry, 0xffff)
	s.order.PutUint16(entry[2:], tiffByte)
	s.order.PutUint32(entry[4:], 1)
}

// entry reports whether an entry is wanted and valid. It follows pointers.
func (s *sanitizer) entry(dir string, tag uint16, entry []byte) bool {
	kind, count := s.order.Uint16(entry[2:]), s.order.Uint32(entry[4:])
	if dir == dirImage && (tag == tagExifIFD || tag == tagGPSIFD) {
		sub := dirExif
		if tag == tagGPSIFD {
			sub = dirGPS
		}
		sound := (kind == tiffLong || kind == tiffIFD) && count == 1 && s.directory(sub, s.order.Uint32(entry[8:]))
		if !sound {
			s.warned.add("EXIF %s: its directory is missing", sub)
		}
		s.order.PutUint16(entry[2:], tiffLong)
		return sound
	}
	want, ok := wanted[dir][tag]
	if !ok {
		return false
	}
	if kind != want.kind || count < want.min || count > want.max {
		// A string of no bytes is equivalent to an absent one. Cameras reserve much space for a comment that is
		// never written.
		if count > 0 && want.kind != tiffUndefined {
			s.warned.add("EXIF %s: %d values of type %d are not what it should have", want.name, count, kind)
		}
		return false
	}
	value, ok := s.value(kind, count, entry)
	if !ok {
		s.warned.add("EXIF %s: its value lies outside of the block", want.name)
		return false
	}
	return s.sensible(want, value)
}

// value returns the bytes of an entry's value, which is in the entry or elsewhere.
func (s *sanitizer) value(kind uint16, count uint32, entry []byte) ([]byte, bool) {
	size := int64(count)
	switch kind {
	case tiffShort:
		size *= 2
	case tiffLong:
		size *= 4
	case tiffRational, tiffSRational:
		size *= 8
	}
	if size <= 4 {
		return entry[8 : 8+size], true
	}
	offset := int64(s.order.Uint32(entry[8:]))
	if offset+size > int64(len(s.data)) {
		return nil, false
	}
	// A value that overlaps a directory is invalid, and must not be changed as a value.
	if s.overlaps(offset, offset+size) {
		return nil, false
	}
	return s.data[offset : offset+size], true
}

// sensible checks the value itself: a fraction needs a denominator. It also clears the bytes after the end of a
// string.
func (s *sanitizer) sensible(want wantedTag, value []byte) bool {
	switch want.kind {
	case tiffRational, tiffSRational:
		for i := 4; i < len(value); i += 8 {
			if s.order.Uint32(value[i:]) == 0 {
				// Cameras write 0/0 for unknown values.
				if s.order.Uint32(value[i-4:]) != 0 {
					s.warned.add("EXIF %s: a fraction over zero", want.name)
				}
				return false
			}
		}
	case tiffASCII:
		if end := bytes.IndexByte(value, 0); end >= 0 {
			clear(value[end:])
		}
	}
	return true
}
