// Package imprint writes what was found in an image into its file, as XMP, without
// decoding it: a JPEG gets an APP1 segment, a PNG an iTXt chunk, as ISO 16684-3
// (XMP Specification, part 3) says.
//
// What it promises: apart from the XMP packet, and from the two figures of a
// Multi-Picture Format index (CIPA DC-007) that depend on where bytes lie, every
// byte of the file stays, in its order: pixels, EXIF, ICC profiles, extended XMP
// and what follows the end of the image. A packet that is there is merged with,
// see package xmp. Equal input gives equal bytes, and writing twice gives what
// writing once gave. No size in the file is trusted.
//
// What it refuses: files with Content Credentials (C2PA), whose signature any
// change would break, and packets or files that it does not understand. They
// come back as they are, with a [Warning]. It touches neither EXIF nor IPTC, nor
// any XMP property that is not ours.
//
// One thing moves: what follows a JPEG's header moves by the length of the
// packet. Offsets in an MPF index are mended; offsets by which the maker note of
// some cameras of the 2000s finds a preview behind the end of the image are not.
package imprint

import (
	"bytes"
	"errors"

	"github.com/imagebatch/imagebatch/processor/internal/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ErrFormat says that the bytes begin neither as a JPEG nor as a PNG.
var ErrFormat = errors.New("neither a JPEG nor a PNG")

// Outcome is what became of the file's XMP.
type Outcome string

// The outcomes.
const (
	Added  Outcome = "added"  // there was no packet, now there is ours
	Merged Outcome = "merged" // there was a packet, now it holds ours too
	None   Outcome = "none"   // the file is as it was
)

// Warning is something that the reader of the record should know. The texts are
// part of the record.
type Warning string

// The warnings.
const (
	Credentials     Warning = "content credentials found, file left as it is"
	OddStructure    Warning = "file structure not understood, file left as it is"
	PacketMalformed Warning = "existing XMP packet not understood, file left as it is"
	PacketTooLarge  Warning = "existing XMP packet too large to read, file left as it is"
	NoSpace         Warning = "no space for XMP in the file, file left as it is"
	Reduced         Warning = "little space for XMP in the file, only core properties written"
	IndexOdd        Warning = "multi-picture index not understood, file left as it is"
)

// File is a file that was written.
type File struct {
	Data        []byte // the caller's own slice when Outcome is None
	ContentType string // image/jpeg or image/png
	Outcome     Outcome
	Warning     Warning // "" when there is none
}

// Write writes m into the image file data, which it does not change. The error
// is ErrFormat or nil.
func Write(data []byte, m pipeline.Metadata) (File, error) {
	switch {
	case bytes.HasPrefix(data, []byte(jpegStart)):
		f := writeJPEG(data, xmp.Describe(m))
		f.ContentType = "image/jpeg"
		return f, nil
	case bytes.HasPrefix(data, []byte(pngStart)):
		f := writePNG(data, xmp.Describe(m))
		f.ContentType = "image/png"
		return f, nil
	default:
		return File{}, ErrFormat
	}
}

// untouched is the file as it was.
func untouched(data []byte, w Warning) File {
	return File{Data: data, Outcome: None, Warning: w}
}

// span is a range of bytes of the file, end excluded.
type span struct{ start, end int }

func (s span) of(data []byte) []byte { return data[s.start:s.end] }
func (s span) empty() bool           { return s.end == s.start }

// packet is the packet to write into a file that has the packet old, or none
// when old is nil, in at most limit bytes. When space is short the padding goes
// first and then our optional properties, but never anything of the file's own.
func packet(old []byte, d xmp.Description, limit int) ([]byte, Outcome, Warning) {
	outcome := Merged
	candidates := func(yield func([]byte, Warning) bool) {
		_ = yield(xmp.New(d), "") && yield(xmp.New(d.Core()), Reduced)
	}
	if old == nil {
		outcome = Added
	} else {
		p, err := xmp.Parse(old)
		switch {
		case err != nil:
			return nil, None, PacketMalformed
		case p.HasProvenance():
			return nil, None, Credentials
		}
		candidates = func(yield func([]byte, Warning) bool) {
			_ = yield(p.Merge(d), "") && yield(p.MergeCompact(d), "") && yield(p.MergeCompact(d.Core()), Reduced)
		}
	}
	for b, warning := range candidates {
		if len(b) <= limit {
			return b, outcome, warning
		}
	}
	return nil, None, NoSpace
}
