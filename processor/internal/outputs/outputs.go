// Package product makes what the processor stores of one image: the file with
// what was found written into it, the record, the thumbnail, and a sidecar where
// the file itself may not be touched or one is wished for.
//
// It promises that equal originals, analyses and names give equal bytes: neither
// a clock nor anything of the envelope is in them, so storing them again is
// harmless. It refuses an original that is not the one which was analysed. It
// does no input and no output.
package outputs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/processor/internal/embed"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ErrOtherBytes says that the original's bytes are not those that were analysed:
// they were damaged on the way, or the object was replaced. Reading it again may
// help.
var ErrOtherBytes = errors.New("original is not the one that was analysed")

// The content types of what is stored beside an image.
const (
	RecordType    = "application/json"
	ThumbnailType = "image/jpeg"
	SidecarType   = "application/rdf+xml"
)

// Options say what is written, and where.
type Options struct {
	embed.Options
	Sidecar bool // a sidecar beside every file, and not only beside signed ones
}

// Product is what is stored of one image.
type Product struct {
	Image     []byte // the processed file; the original itself when nothing could be written
	ImageType string // image/jpeg or image/png
	Record    []byte // JSON, ends with a line break
	Thumbnail []byte // JPEG; empty when the analysis has none
	Sidecar   []byte // an XMP packet; empty when there is to be none
}

// Make makes the product of an original and its analysis. Its errors are
// ErrOtherBytes, which is worth another try, and *pipeline.Failure.
func Make(original []byte, a pipeline.Analysis, o Options) (Product, error) {
	if sum := hexSHA256(original); sum != a.SHA256 {
		return Product{}, fmt.Errorf("check original: %w: sha-256 %s, want %.64q", ErrOtherBytes, sum, a.SHA256)
	}
	if o.StripPlace {
		a.Metadata = withoutPlace(a.Metadata)
	}
	file, err := embed.Write(original, a.Metadata, o.Options)
	if err != nil {
		return Product{}, &pipeline.Failure{
			Code: pipeline.CodeUnsupportedFormat, Text: "Unsupported image format: neither JPEG nor PNG",
			Err: fmt.Errorf("embed metadata: %w", err),
		}
	}
	if !o.Sidecar && (!file.Signed || o.EmbedSigned) {
		file.Sidecar = nil
	}
	record, err := newRecord(a, file, o).encode()
	if err != nil {
		return Product{}, &pipeline.Failure{
			Code: pipeline.CodeProcessingFailed, Text: "Failed to process image", Err: err,
		}
	}
	return Product{
		Image: file.Data, ImageType: file.ContentType, Record: record, Thumbnail: a.Thumbnail, Sidecar: file.Sidecar,
	}, nil
}

// withoutPlace is the metadata without the place where the picture was taken.
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
