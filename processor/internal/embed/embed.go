// Package imprint writes what was found in an image into its file, without
// decoding it: as XMP, for which a JPEG gets an APP1 segment and a PNG an iTXt
// chunk, as ISO 16684-3 (XMP Specification, part 3) says; and what was composed of
// title, description and keywords also as EXIF and IPTC-IIM, where the file has
// such data already, as the Metadata Working Group asks.
//
// What it promises: captions are filled in and never replaced. A field that a
// person or another program has stated, in any of its places, stays byte for byte
// and ours stays out of all of them; see package caption for how ours are known.
// Apart from that, from the XMP packet, and from the two figures of a
// Multi-Picture Format index (CIPA DC-007) that depend on where bytes lie, every
// byte of the file stays, in its order: pixels, maker notes, ICC profiles,
// extended XMP and what follows the end of the image. Within EXIF data no offset
// moves. A packet that is there is merged with, see package xmp. Equal input gives
// equal bytes, and writing twice gives what writing once gave. No size in the file
// is trusted.
//
// What it refuses, unless it is told otherwise: files with Content Credentials
// (C2PA), whose signature any change would break. And always: packets or files
// that it does not understand. They come back as they are, with a [Warning]. It
// makes no EXIF where there is none, since EXIF that tells neither resolution nor
// version is invalid, and puts no description into EXIF that is not ASCII: EXIF
// 2.32 knows nothing else, and readers guess. XMP says it in either case.
//
// One thing moves: what follows a JPEG's header moves by the length of what was
// written. Offsets in an MPF index are mended; offsets by which the maker note of
// some cameras of the 2000s finds a preview behind the end of the image are not.
package embed

import (
	"bytes"
	"errors"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
	"github.com/imagebatch/imagebatch/processor/internal/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ErrFormat says that the bytes begin neither as a JPEG nor as a PNG.
var ErrFormat = errors.New("neither a JPEG nor a PNG")

// Outcome is what became of one kind of metadata of the file.
type Outcome string

// The outcomes.
const (
	Added   Outcome = "added"   // there was no packet, now there is ours
	Merged  Outcome = "merged"  // there was a packet, now it holds ours too
	Filled  Outcome = "filled"  // what was missing and we composed is in it
	Removed Outcome = "removed" // it was there and is no more
	None    Outcome = "none"    // it is as it was
)

// Warning is something that the reader of the record should know. The texts are
// part of the record.
type Warning string

// The warnings.
const (
	Credentials     Warning = "content credentials found, file left as it is"
	Broken          Warning = "content credentials found, their signature no longer fits the file"
	OddStructure    Warning = "file structure not understood, file left as it is"
	PacketMalformed Warning = "existing XMP packet not understood, left as it is"
	PacketTooLarge  Warning = "existing XMP packet too large to read, left as it is"
	NoSpace         Warning = "no space for XMP in the file, left as it is"
	Reduced         Warning = "little space for XMP in the file, only core properties written"
	IndexOdd        Warning = "multi-picture index not understood, file left as it is"
	PlaceLeft       Warning = "a GPS position may be left in the file"
)

// Options say what is to be written. The zero value fills captions in and keeps
// everything that is there.
type Options struct {
	KeepCaptions bool // fill in no captions; those of an earlier run stay
	EmbedSigned  bool // write into files with Content Credentials too
	StripPlace   bool // remove GPS positions
}

// File is a file that was written.
type File struct {
	Data        []byte // the caller's own slice when nothing was written
	ContentType string // image/jpeg or image/png
	XMP         Outcome
	EXIF        Outcome // Filled when our description is in it
	IPTC        Outcome // Filled when a caption of ours is in it
	Place       Outcome // Removed when a GPS position was
	Signed      bool    // it has Content Credentials
	Sidecar     []byte  // the packet that the file has or should have, for a file beside it
	Warnings    []Warning
}

// Write writes m into the image file data, which it does not change. The error
// is ErrFormat or nil.
func Write(data []byte, m pipeline.Metadata, o Options) (File, error) {
	w := writer{
		options: o, description: xmp.Describe(m),
		composed: xmp.Cleaned(caption.Composed(m)), stated: caption.Stated(m),
	}
	var f File
	switch {
	case bytes.HasPrefix(data, []byte(jpegStart)):
		f = w.writeJPEG(data)
		f.ContentType = "image/jpeg"
	case bytes.HasPrefix(data, []byte(pngStart)):
		f = w.writePNG(data)
		f.ContentType = "image/png"
	default:
		return File{}, ErrFormat
	}
	return f, nil
}
