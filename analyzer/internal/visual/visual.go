// Package visual describes what the pixels of an image show: colors, light, hashes, flags and a thumbnail.
//
// Everything is computed from one small, upright copy, at most [Size] pixels long, so that it means the same for
// the image and for its scaled copies. go-colorful converts colors; the records do not depend on it beyond the
// digits that they are rounded to.
package visual

import "github.com/imagebatch/imagebatch/shared/pipeline"

// Size is the long side in pixels of the thumbnail and of the working copy. Smaller images are never enlarged.
const Size = 320

// extractors are the measurements, in the order in which they run. Each has a file of its own, and sets fields
// of the record that no other one sets.
var extractors = [...]func(*Copy, *pipeline.Metadata){
	alpha, colors, light, blurHash, thumbHash, dHash, pHash,
	flags, // they depend on the values above and on the camera's
}

// Describe sets the fields of a record that describe the pixels. The record already has what the file says.
func (m *Copy) Describe(record *pipeline.Metadata) {
	for _, extract := range extractors {
		extract(m, record)
	}
}
