package embedded

import (
	"bytes"
	"slices"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile/charset"
	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
)

// Limits for reading an EXIF block.
const (
	maxEntries  = 500    // entries of a directory
	maxTagBytes = 10_000 // bytes of a text
)

// The directories of an EXIF block, by their names in warnings.
const (
	dirImage = "IFD0"
	dirExif  = "IFD0/ExifIFDP"
	dirGPS   = "IFD0/GPSInfoIFD"
)

// form is the form of a tag's values. Writers choose other types than the specification, and its number types are
// all equivalent for readers (TIFF 6.0, section 2).
type form int

const (
	words form = iota + 1 // text in bytes
	units                 // text in UTF-16
	numbers
)

func (f form) String() string {
	if f == numbers {
		return "a number"
	}
	return "a text"
}

// width returns the bytes of a character.
func (f form) width() int {
	if f == units {
		return 2
	}
	return 1
}

// has reports whether values of a type can have the form.
func (f form) has(kind uint16) bool {
	switch kind {
	case tiff.Byte, tiff.SByte, tiff.Undefined:
		return true
	case tiff.ASCII, tiff.UTF8:
		return f != numbers
	case tiff.Short, tiff.SShort:
		return f != words
	default:
		return f == numbers && kind >= tiff.Long && kind <= tiff.IFD
	}
}

// wantedTag is a tag that is read.
type wantedTag struct {
	name string
	form form
}

// wanted lists the tags that are read from each directory (CIPA DC-008, 4.6).
var wanted = map[string]map[uint16]wantedTag{
	dirImage: {
		tiff.TagImageDescription: {"ImageDescription", words},
		0x010f:                   {"Make", words},
		0x0110:                   {"Model", words},
		0x0131:                   {"Software", words},
		0x013b:                   {"Artist", words},
		0x4746:                   {"Rating", numbers},
		0x8298:                   {"Copyright", words},
		tiff.TagXPTitle:          {"XPTitle", units},
		tiff.TagXPComment:        {"XPComment", units},
		tiff.TagXPAuthor:         {"XPAuthor", units},
		tiff.TagXPKeywords:       {"XPKeywords", units},
		tiff.TagXPSubject:        {"XPSubject", units},
	},
	dirExif: {
		0x829a: {"ExposureTime", numbers},
		0x829d: {"FNumber", numbers},
		0x8827: {"ISO", numbers},
		0x8832: {"RecommendedExposureIndex", numbers},
		0x8833: {"ISOSpeed", numbers},
		0x9003: {"DateTimeOriginal", words},
		0x9004: {"CreateDate", words},
		0x9011: {"OffsetTimeOriginal", words},
		0x9012: {"OffsetTimeDigitized", words},
		0x9204: {"ExposureCompensation", numbers},
		0x9209: {"Flash", numbers},
		0x920a: {"FocalLength", numbers},
		0x9286: {"UserComment", words},
		0xa405: {"FocalLengthIn35mmFormat", numbers},
		0xa434: {"LensModel", words},
	},
	dirGPS: {
		0x0001: {"GPSLatitudeRef", words},
		0x0002: {"GPSLatitude", numbers},
		0x0003: {"GPSLongitudeRef", words},
		0x0004: {"GPSLongitude", numbers},
		0x0005: {"GPSAltitudeRef", numbers},
		0x0006: {"GPSAltitude", numbers},
		0x0009: {"GPSStatus", words},
	},
}

// exifTags holds the wanted and valid entries of an EXIF block, by name. At least the first of their values lies in the
// block.
type exifTags struct {
	block   tiff.Block
	entries map[string]tiff.Entry
	taken   []edit.Span // ranges of the header and the directories
}

// collectTags reads the directories of a block. Of several entries with the same tag, the first valid one counts.
func collectTags(b tiff.Block, warned *record.Warnings) exifTags {
	v := exifTags{block: b, entries: map[string]tiff.Entry{}, taken: []edit.Span{{Start: 0, End: 8}}}
	v.directory(dirImage, b.First, warned)
	return v
}

// directory reads one directory and those that it points to. It returns false for a directory that overlaps
// another one.
func (v *exifTags) directory(name string, d tiff.Directory, warned *record.Warnings) bool {
	if fits := min(d.Count, maxEntries); d.Stated > fits {
		warned.Add("EXIF %s: %d of its %d entries are read", name, fits, d.Stated)
		d.Count = fits
	}
	extent := edit.Span{Start: d.Start, End: d.Span().End - 4}
	if v.overlaps(extent) {
		return false
	}
	v.taken = append(v.taken, extent)
	seen := map[uint16]bool{}
	for e := range v.block.Entries(d) {
		if seen[e.Tag] {
			continue
		}
		if name == dirImage && (e.Tag == tiff.TagExif || e.Tag == tiff.TagGPS) {
			seen[e.Tag] = v.pointer(e, warned)
		} else if want, ok := wanted[name][e.Tag]; ok && v.valid(want, e, warned) {
			seen[e.Tag] = true
			v.entries[want.name] = e
		}
	}
	return true
}

func (v *exifTags) overlaps(s edit.Span) bool {
	return slices.ContainsFunc(v.taken, s.Overlaps)
}

// pointer reads the directory that an entry points to.
func (v *exifTags) pointer(e tiff.Entry, warned *record.Warnings) bool {
	name := dirExif
	if e.Tag == tiff.TagGPS {
		name = dirGPS
	}
	d, ok := v.block.Directory(v.block.Pointer(e))
	switch {
	case !ok:
		warned.Add("EXIF %s: it lies outside of the block", name)
	case !v.directory(name, d, warned):
		warned.Add("EXIF %s: it overlaps another directory", name)
	default:
		return true
	}
	return false
}

// valid reports whether an entry has a value that can be read. A string of no bytes is equivalent to an absent one.
func (v *exifTags) valid(want wantedTag, e tiff.Entry, warned *record.Warnings) bool {
	if e.Count == 0 {
		return false
	}
	if !want.form.has(e.Type) {
		warned.Add("EXIF %s: type %d is no type of %s", want.name, e.Type, want.form)
		return false
	}
	at, ok := v.block.Value(e)
	if !ok && want.form != numbers {
		// A count that is too large does not matter if the text ends before.
		at, ok = v.block.Available(e)
		end := make([]byte, want.form.width())
		ok = ok && bytes.Contains(at.Of(v.block.Data), end)
	}
	if !ok {
		warned.Add("EXIF %s: its value lies outside of the block", want.name)
		return false
	}
	if start := (edit.Span{Start: at.Start, End: at.Start + 1}); at.Start != e.At+8 && v.overlaps(start) ||
		want.form == numbers && at.Start != e.At+8 && v.overlaps(at) {
		warned.Add("EXIF %s: its value overlaps a directory", want.name)
		return false
	}
	if want.form != numbers {
		return true
	}
	if f, ok := v.block.Fraction(e, 0); ok && f.Den == 0 {
		// Cameras write 0/0 for unknown values.
		if f.Num != 0 {
			warned.Add("EXIF %s: a fraction over zero", want.name)
		}
		return false
	}
	_, ok = v.block.Number(e, 0)
	return ok
}

// bytes returns the bytes of a text. They end at the next directory and at the end of the block, whatever the entry
// states.
func (v exifTags) bytes(tag string) []byte {
	e, ok := v.entries[tag]
	if !ok {
		return nil
	}
	at, _ := v.block.Available(e)
	if at.Start != e.At+8 {
		for _, d := range v.taken {
			if d.Start > at.Start {
				at.End = min(at.End, d.Start)
			}
		}
	}
	if value := at.Of(v.block.Data); len(value) > maxTagBytes {
		return charset.WholeRunes(value[:maxTagBytes])
	}
	return at.Of(v.block.Data)
}
