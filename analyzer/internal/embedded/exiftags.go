package embedded

import (
	"slices"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
)

// Limits for reading an EXIF block.
const (
	maxEntries  = 500    // entries of a directory
	maxTagBytes = 10_000 // bytes of a value
)

// The directories of an EXIF block, by their names in warnings.
const (
	dirImage = "IFD0"
	dirExif  = "IFD0/ExifIFDP"
	dirGPS   = "IFD0/GPSInfoIFD"
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
		tiff.TagImageDescription: {"ImageDescription", tiff.ASCII, 1, maxTagBytes},
		0x010f:                   {"Make", tiff.ASCII, 1, maxTagBytes},
		0x0110:                   {"Model", tiff.ASCII, 1, maxTagBytes},
		0x0131:                   {"Software", tiff.ASCII, 1, maxTagBytes},
		0x013b:                   {"Artist", tiff.ASCII, 1, maxTagBytes},
		0x4746:                   {"Rating", tiff.Short, 1, 1},
		0x8298:                   {"Copyright", tiff.ASCII, 1, maxTagBytes},
	},
	dirExif: {
		0x829a: {"ExposureTime", tiff.Rational, 1, 1},
		0x829d: {"FNumber", tiff.Rational, 1, 1},
		0x8827: {"ISO", tiff.Short, 1, 8},
		0x8832: {"RecommendedExposureIndex", tiff.Long, 1, 1},
		0x8833: {"ISOSpeed", tiff.Long, 1, 1},
		0x9003: {"DateTimeOriginal", tiff.ASCII, 1, 64},
		0x9004: {"CreateDate", tiff.ASCII, 1, 64},
		0x9011: {"OffsetTimeOriginal", tiff.ASCII, 1, 64},
		0x9012: {"OffsetTimeDigitized", tiff.ASCII, 1, 64},
		0x9204: {"ExposureCompensation", tiff.SRational, 1, 1},
		0x9209: {"Flash", tiff.Short, 1, 1},
		0x920a: {"FocalLength", tiff.Rational, 1, 1},
		0x9286: {"UserComment", tiff.Undefined, 8, maxTagBytes},
		0xa405: {"FocalLengthIn35mmFormat", tiff.Short, 1, 1},
		0xa434: {"LensModel", tiff.ASCII, 1, maxTagBytes},
	},
	dirGPS: {
		0x0001: {"GPSLatitudeRef", tiff.ASCII, 1, 8},
		0x0002: {"GPSLatitude", tiff.Rational, 3, 3},
		0x0003: {"GPSLongitudeRef", tiff.ASCII, 1, 8},
		0x0004: {"GPSLongitude", tiff.Rational, 3, 3},
		0x0005: {"GPSAltitudeRef", tiff.Byte, 1, 1},
		0x0006: {"GPSAltitude", tiff.Rational, 1, 1},
	},
}

// exifTags holds the wanted and valid entries of an EXIF block, by name. Their values lie in the block, and no
// fraction has a denominator of zero.
type exifTags struct {
	block   tiff.Block
	entries map[string]tiff.Entry
	taken   []edit.Span // ranges of the header and the directories
}

// collectTags reads the directories of a block. Of several entries with the same tag, the first one counts.
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
		seen[e.Tag] = true
		if name == dirImage && (e.Tag == tiff.TagExif || e.Tag == tiff.TagGPS) {
			v.pointer(e, warned)
		} else if want, ok := wanted[name][e.Tag]; ok && v.valid(want, e, warned) {
			v.entries[want.name] = e
		}
	}
	return true
}

func (v *exifTags) overlaps(s edit.Span) bool {
	return slices.ContainsFunc(v.taken, s.Overlaps)
}

// pointer reads the directory that an entry points to.
func (v *exifTags) pointer(e tiff.Entry, warned *record.Warnings) {
	name := dirExif
	if e.Tag == tiff.TagGPS {
		name = dirGPS
	}
	d, ok := v.block.Directory(v.block.Pointer(e))
	if (e.Type != tiff.Long && e.Type != tiff.IFD) || e.Count != 1 || !ok || !v.directory(name, d, warned) {
		warned.Add("EXIF %s: its directory is missing", name)
	}
}

// valid checks the type and the place of an entry's value, and that a fraction has a denominator.
func (v *exifTags) valid(want wantedTag, e tiff.Entry, warned *record.Warnings) bool {
	if e.Type != want.kind || e.Count < want.min || e.Count > want.max {
		// A string of no bytes is equivalent to an absent one. Cameras reserve much space for a comment that is
		// never written.
		if e.Count > 0 && want.kind != tiff.Undefined {
			warned.Add("EXIF %s: %d values of type %d are not what it should have", want.name, e.Count, e.Type)
		}
		return false
	}
	at, ok := v.block.Value(e)
	// A value that overlaps a directory is invalid. A short value is in its entry.
	if !ok || at.End-at.Start > 4 && v.overlaps(at) {
		warned.Add("EXIF %s: its value lies outside of the block", want.name)
		return false
	}
	if want.kind != tiff.Rational && want.kind != tiff.SRational {
		return true
	}
	for i := range int(e.Count) {
		if f, _ := v.block.Fraction(e, i); f.Den == 0 {
			// Cameras write 0/0 for unknown values.
			if f.Num != 0 {
				warned.Add("EXIF %s: a fraction over zero", want.name)
			}
			return false
		}
	}
	return true
}
