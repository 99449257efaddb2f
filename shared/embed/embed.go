// Package embed writes the metadata of an image into its file, without decoding it: as XMP, in an APP1 segment
// of a JPEG or an iTXt chunk of a PNG, according to ISO 16684-3 (XMP Specification, part 3). It writes
// a description also as EXIF, and a title, description and keywords as IPTC-IIM, if the file already has such data, as
// the Metadata Working Group requires. An alternative text is written only as XMP. It also removes our texts; see [Clean].
//
// It adds texts and never replaces one: a field that a person or another program has stated, in any of its
// places, stays byte for byte, and ours is written into none of them; see package xmp for how ours are
// recognized. Only blank texts and the stock texts of package stocktext count as missing. The texts of a model stay until
// new ones replace them. Except for texts, the XMP packet, and the two numbers of a Multi-Picture Format index (CIPA
// DC-007) that depend on byte positions, every byte of the file stays, in its order: pixels, maker notes, ICC
// profiles, extended XMP and the data after the end of the image. No offset moves within EXIF data. An existing
// packet is merged with, see package xmp. Equal input gives equal bytes, and writing twice gives the same
// result as writing once. No size in the file is trusted.
//
// Unless configured otherwise, it leaves files with Content Credentials (C2PA) unchanged, because any change
// would break their signature. It always leaves packets and files unchanged that it does not understand. Such
// files are returned as they are, with a [Warning]. It creates no EXIF where there is none, because EXIF
// without resolution and version is invalid. It writes UTF-8 into the EXIF description with the type ASCII, as the
// Metadata Working Group recommends and most programs read it. A text of a model says what the image shows and not how
// the image was made, so it never writes the properties of the IPTC about images by AI.
//
// Data after the header of a JPEG moves by the length of the new metadata. Offsets in an MPF index are
// corrected. The offsets in the maker notes of some cameras of the 2000s, which point to a preview after the
// end of the image, are not.
package embed

import (
	"errors"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Outcome reports what happened to one kind of metadata of the file.
type Outcome string

// The outcomes.
const (
	Added   Outcome = "added"   // there was no packet; ours was added
	Merged  Outcome = "merged"  // ours was merged into the existing packet
	Filled  Outcome = "filled"  // missing texts were filled in
	Removed Outcome = "removed" // it was removed
	None    Outcome = "none"    // it was not changed
)

// Warning is a note for the reader of the record. The texts are part of the record.
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

// Options controls what is written. The zero value writes no texts, and keeps all metadata of others.
type Options struct {
	Captions bool // fill in texts of a model; those of an earlier run stay also without it
	Composed bool // fill in texts that the analyzer composed; otherwise those of an earlier run are removed
	// RemoveCaptions removes the texts of a model of an earlier run, from all their places, as [Clean] does.
	RemoveCaptions bool
	// KeywordParent is the upper level of a model's keywords in lr:hierarchicalSubject; "" for none.
	KeywordParent string
	EmbedSigned   bool // write into files with Content Credentials too
	StripPlace    bool // remove GPS positions
}

// File is the result of Write.
type File struct {
	Data        []byte // the caller's own slice if nothing was written
	ContentType string // image/jpeg or image/png
	XMP         Outcome
	EXIF        Outcome  // Filled if it contains our description
	IPTC        Outcome  // Filled if it contains a text of ours
	Place       Outcome  // Removed if it had a GPS position
	Replaced    []string // the stock texts that ours replaced
	Signed      bool     // the file has Content Credentials
	Sidecar     []byte   // the packet that the file has or should have, for a sidecar file
	Warnings    []Warning
}

// Write writes m into the image file data, without changing the slice. The error is [imagefile.ErrFormat] or
// nil.
func Write(data []byte, m pipeline.Metadata, o Options) (File, error) {
	layout, err := imagefile.LayoutOf(data)
	if errors.Is(err, imagefile.ErrFormat) {
		return File{}, err
	}
	w := writer{
		options: o, description: describe(m),
		texts: xmp.Cleaned(m.Texts()), captioned: m.Captioned, composed: m.Composed,
	}
	if m.Caption != nil {
		w.model, w.language = m.Caption.Model, m.Caption.Language
	}
	if m.Exif != nil {
		w.camera = []string{m.Exif.CameraMake, m.Exif.CameraModel}
	}
	f := w.write(data, layout, err == nil)
	f.ContentType = layout.Format.MediaType
	return f, nil
}
