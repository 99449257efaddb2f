package imagefile

import (
	"errors"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// Kind is a kind of metadata.
type Kind int

// The kinds of metadata.
const (
	EXIF           Kind = iota + 1 // a TIFF structure
	XMP                            // a packet
	ExtendedXMP                    // a part of a packet that does not fit into one JPEG segment
	Photoshop                      // image resources, which may contain IPTC-IIM
	ICC                            // a color profile, or the first part of one in a JPEG
	ExtendedICC                    // a further part of a profile that does not fit into one JPEG segment
	CICP                           // a PNG chunk cICP, before the pixels as the other chunks about colors
	SRGB                           // a PNG chunk sRGB
	Gamma                          // a PNG chunk gAMA
	Chromaticities                 // a PNG chunk cHRM
	MPF                            // the index of a Multi-Picture file, from its TIFF header on
	Credentials                    // Content Credentials
	Words                          // a text chunk of a PNG that the analyzer reads
	GPSText                        // a text chunk of a PNG with a value from the GPS directory of EXIF
	FLIR                           // a part of the data of a thermal camera
	RawProfile                     // a text chunk of a PNG with EXIF, IPTC or XMP as hex digits
)

// Block is one block of metadata and its place in the file.
type Block struct {
	Kind  Kind
	Late  bool      // it follows the start of the pixels
	Odd   bool      // its own structure is damaged
	Whole edit.Span // the segment or chunk
	Data  edit.Span // the content without the name of its kind
	Text  *Text     // the content of a text chunk; nil in other blocks
}

// Text is a text chunk of a PNG (third edition, 11.3.3), aliasing the file.
type Text struct {
	Keyword  string // 1 to 79 bytes
	Value    []byte // UTF-8 or Latin-1, deflated or not
	UTF8     bool
	Deflated bool // a zlib stream, of unknown expanded size
}

// maxBlocks bounds the blocks that are recorded. Real files have at most a few hundred.
const maxBlocks = 4096

// Layout contains the places of the metadata in a file.
type Layout struct {
	Format *Format
	Blocks []Block // in the order of the file

	place  int // position for a new packet
	pixels int // start of the pixels; 0 before they were found
	end    int // end of a PNG

	fixed bool                    // nothing may be inserted after place
	words [len(wordKeywords)]bool // the text chunks that were found
}

// ErrFormat means that the bytes start as no accepted format.
var ErrFormat = errors.New("not an image of an accepted format")

// ErrStructure means that segments or chunks do not follow one another.
var ErrStructure = errors.New("file structure not understood")

// LayoutOf finds the metadata of a file. It does not check the image: for that, see [Read]. The error is
// ErrFormat or, with the format in the layout, ErrStructure.
func LayoutOf(data []byte) (Layout, error) {
	f := formatOf(data)
	if f == nil {
		return Layout{}, ErrFormat
	}
	l, ok := f.layout(data)
	l.Format = f
	if !ok || len(l.Blocks) == maxBlocks {
		return l, ErrStructure
	}
	return l, nil
}

// add records a block.
func (l *Layout) add(b Block) {
	if len(l.Blocks) < maxBlocks {
		b.Late = l.pixels > 0
		l.Blocks = append(l.Blocks, b)
	}
}

// All returns the blocks of a kind.
func (l Layout) All(kind Kind) []Block {
	var all []Block
	for _, b := range l.Blocks {
		if b.Kind == kind {
			all = append(all, b)
		}
	}
	return all
}

// First returns the block of a kind that readers use: the first sound one with content, or else the first.
func (l Layout) First(kind Kind) (Block, bool) {
	var first Block
	for _, b := range l.Blocks {
		switch {
		case b.Kind != kind:
		case !b.Odd && !b.Data.Empty():
			return b, true
		case first.Kind == 0:
			first = b
		}
	}
	return first, first.Kind != 0
}

// GoesOn reports whether data other than zeros follows the end of the image, usually another image or a video.
func (l Layout) GoesOn(data []byte) bool { return l.Format.goesOn(l, data) }

// Change is new metadata for a file. Nil parts stay unchanged. EXIF and Photoshop replace existing blocks; a
// packet is added if there is none.
type Change struct {
	XMP, EXIF, Photoshop []byte
	Raw                  *RawBlock // where XMP replaces the packet, if it is in a raw profile
	Remove               []Block
	Blank                []edit.Span // ranges that are overwritten with zeros
}

// Limits returns the maximum bytes of the parts of a Change.
func (l Layout) Limits() (xmp, exif, photoshop int) {
	xmp, exif, photoshop = l.Format.limits()
	return xmp, exif, photoshop * max(1, len(l.All(Photoshop)))
}

// Resources returns the image resources of all segments together. Programs split the list where a segment is full.
func (l Layout) Resources(data []byte) []byte {
	blocks := l.All(Photoshop)
	if len(blocks) == 1 {
		return blocks[0].Data.Of(data)
	}
	var all []byte
	for _, b := range blocks {
		all = append(all, b.Data.Of(data)...)
	}
	return all
}

// Apply returns the file with a change; if nothing changes, that is data itself. It is not ok if the change
// would make an offset in the file wrong that cannot be corrected.
func (l Layout) Apply(data []byte, c Change) (out []byte, ok bool) {
	edits := l.Format.edits(l, data, c)
	for _, b := range c.Remove {
		edits = append(edits, edit.Edit{Span: b.Whole})
	}
	for _, s := range c.Blank {
		edits = append(edits, edit.Edit{Span: s, With: make([]byte, s.End-s.Start)})
	}
	if len(edits) == 0 {
		return data, true
	}
	out = edits.Apply(data)
	return out, l.Format.fix == nil || l.Format.fix(l, data, out, edits)
}
