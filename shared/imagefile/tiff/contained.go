package tiff

import (
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// The tags of further data that a block refers to.
const (
	tagInterop         = 0xa005 // position of the interoperability directory
	tagThumbnail       = 0x0201 // position of a JPEG in the directory of the thumbnail
	tagThumbnailLength = 0x0202
)

// contained reports whether all directories, values and thumbnails that the block refers to lie in it, and nothing
// refers to its first directory. Data that is appended to another block would become a part of them: programs that
// shorten a block leave such references. It does not read maker notes.
func (b Block) contained() bool {
	all := []Directory{b.First}
	// add notes a directory. Readers take an offset in the header for none.
	add := func(offset uint32) bool {
		if offset < headerSize {
			return true
		}
		d, ok := b.Directory(offset)
		if !ok || !b.Whole(d) || len(all) == maxDirectories || slices.ContainsFunc(all, func(o Directory) bool { return d.Span().Overlaps(o.Span()) }) {
			return false
		}
		all = append(all, d)
		return true
	}
	// The thumbnail's directory follows the first one. A chain of directories that is too long is not contained.
	for d, more := b.First, true; more; d = all[len(all)-1] {
		following := b.Order.Uint32(b.Data[d.next():])
		if !add(following) {
			return false
		}
		more = following >= headerSize
	}
	for i := 0; i < len(all); i++ { // all grows
		for e := range b.Entries(all[i]) {
			if _, ok := b.Value(e); !ok {
				return false
			}
			if (e.Tag == TagExif || e.Tag == TagGPS || e.Tag == tagInterop) && !add(b.Pointer(e)) {
				return false
			}
		}
		if !b.thumbnailFits(all[i]) {
			return false
		}
	}
	return true
}

// thumbnailFits reports whether the thumbnail of a directory, if it has one, lies in the block.
func (b Block) thumbnailFits(d Directory) bool {
	start, ok := b.Find(d, tagThumbnail)
	length, has := b.Find(d, tagThumbnailLength)
	if !ok || !has {
		return true
	}
	at := edit.Span{Start: int(b.Pointer(start)), End: int(b.Pointer(start)) + int(b.Pointer(length))}
	return at.End <= len(b.Data)
}
