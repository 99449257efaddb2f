package imagefile

import (
	"bytes"
	"hash"
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// Format is an image format: how to recognize its files, and how to check, read and edit them. The analyzer's
// decoders are the only part of a format that is elsewhere.
type Format struct {
	Name       string   // name in the record
	MediaType  string   // media type of the files
	Extensions []string // file name extensions with their dot, the usual one first
	Magic      string   // first bytes of the files

	// read checks a whole file and returns its header.
	read func(data []byte, limits Limits) (Header, error)
	// layout finds the blocks of metadata and the positions for new ones, without checking anything else.
	layout func(data []byte) (Layout, bool)
	// limits returns the maximum bytes of a packet, an EXIF block and image resources.
	limits func() (xmp, exif, photoshop int)
	// edits returns the edits that write a change.
	edits func(l Layout, data []byte, c Change) edit.Edits
	// fix corrects offsets and sizes in out, the result of the edits. It returns false if it cannot. It may be
	// nil.
	fix func(l Layout, data, out []byte, edits edit.Edits) bool
	// goesOn reports whether data follows the end of the image.
	goesOn func(l Layout, data []byte) bool
	// picture hashes what a viewer shows, except for the orientation, and returns the layout.
	picture func(data []byte, h hash.Hash) (Layout, bool)
}

// Formats returns the accepted formats. It is a function because the formats' own functions use it.
func Formats() []*Format { return []*Format{JPEG, PNG} }

// String returns the name of the format.
func (f *Format) String() string { return f.Name }

// Known reports whether data starts like an image of an accepted format.
func Known(data []byte) bool { return formatOf(data) != nil }

// formatOf returns the format of a file by its first bytes, or nil.
func formatOf(data []byte) *Format {
	i := slices.IndexFunc(Formats(), func(f *Format) bool { return bytes.HasPrefix(data, []byte(f.Magic)) })
	if i < 0 {
		return nil
	}
	return Formats()[i]
}
