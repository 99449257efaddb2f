// Package outputs creates the files that the processor stores for one image: the image with metadata embedded,
// the record, the thumbnail, and a sidecar if the image itself must not be changed or if the options request
// one.
//
// It guarantees that equal originals, analyses and names give equal bytes: the files contain neither a time nor
// anything of the envelope, so storing them again is harmless. It rejects an original that is not the one that
// was analyzed. It does no input or output.
package outputs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/shared/embed"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ErrOtherBytes means that the bytes of the original are not those that were analyzed: they were damaged in
// transfer, or the object was replaced. Reading it again may help.
var ErrOtherBytes = errors.New("original is not the one that was analyzed")

// The content types of the files that are stored next to an image.
const (
	RecordType    = "application/json"
	ThumbnailType = "image/jpeg"
	SidecarType   = "application/rdf+xml"
)

// Options controls the outputs.
type Options struct {
	embed.Options
	Sidecar bool // create a sidecar for every image, not only for signed ones
}

// Files are the files that are stored for one image.
type Files struct {
	Image       []byte // the processed file; the original if nothing could be written
	ImageType   string // image/jpeg or image/png
	ImageSHA256 string // of Image, in hex
	Record      []byte // JSON, ends with a line break
	Thumbnail   []byte // JPEG; empty if the analysis has none
	Sidecar     []byte // an XMP packet; empty for no sidecar
}

// Make creates the files for an original and its analysis. It returns ErrOtherBytes, which is worth a retry, or
// a *pipeline.Failure.
func Make(original []byte, a pipeline.Analysis, o Options) (Files, error) {
	if sum := hexSHA256(original); sum != a.SHA256 {
		return Files{}, fmt.Errorf("check original: %w: SHA-256 %s, want %.64q", ErrOtherBytes, sum, a.SHA256)
	}
	if o.StripPlace {
		a.Metadata = withoutPlace(a.Metadata)
	}
	o.RemoveCaptions = a.RemoveCaptions
	file, err := embed.Write(original, a.Metadata, o.Options)
	if err != nil {
		return Files{}, &pipeline.Failure{
			Code: pipeline.CodeUnsupportedFormat, Text: "Unsupported image format: neither JPEG nor PNG",
			Err: fmt.Errorf("embed metadata: %w", err),
		}
	}
	if !o.Sidecar && (!file.Signed || o.EmbedSigned) {
		file.Sidecar = nil
	}
	r := newRecord(a, file, o)
	record, err := r.encode()
	if err != nil {
		return Files{}, &pipeline.Failure{
			Code: pipeline.CodeProcessingFailed, Text: "Failed to process image", Err: err,
		}
	}
	return Files{
		Image: file.Data, ImageType: file.ContentType, ImageSHA256: r.Processed.SHA256,
		Record: record, Thumbnail: a.Thumbnail, Sidecar: file.Sidecar,
	}, nil
}

// withoutPlace returns the metadata without the GPS position of the image.
func withoutPlace(m pipeline.Metadata) pipeline.Metadata {
	if m.Exif != nil && m.Exif.GPS != nil {
		exif := *m.Exif
		exif.GPS, m.Exif = nil, &exif
	}
	return m
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
