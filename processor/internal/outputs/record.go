package outputs

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/imagebatch/imagebatch/processor/internal/embed"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Record is the JSON record of an image: what was found in the original, and what was written into the
// processed file.
type Record struct {
	OriginalFilename string `json:"original_filename"`
	pipeline.Metadata
	Processed Processed  `json:"processed"`
	Thumbnail *Thumbnail `json:"thumbnail,omitempty"`
}

// Processed describes the processed file.
type Processed struct {
	ContentType string          `json:"content_type"`
	FileSize    int64           `json:"file_size"` // bytes
	SHA256      string          `json:"sha256"`    // hex
	XMP         embed.Outcome   `json:"xmp"`
	EXIF        embed.Outcome   `json:"exif"`
	IPTC        embed.Outcome   `json:"iptc"`
	GPS         embed.Outcome   `json:"gps,omitempty"`     // absent if positions are kept
	Sidecar     embed.Outcome   `json:"sidecar,omitempty"` // absent without a sidecar
	Warnings    []embed.Warning `json:"warnings,omitempty"`
}

// Thumbnail describes the thumbnail.
type Thumbnail struct {
	ContentType string `json:"content_type"`
	FileSize    int64  `json:"file_size"` // bytes
}

func newRecord(a pipeline.Analysis, file embed.File, o Options) Record {
	r := Record{
		OriginalFilename: a.OriginalFilename,
		Metadata:         a.Metadata,
		Processed: Processed{
			ContentType: file.ContentType,
			FileSize:    int64(len(file.Data)),
			SHA256:      hexSHA256(file.Data),
			XMP:         file.XMP,
			EXIF:        file.EXIF,
			IPTC:        file.IPTC,
			Warnings:    file.Warnings,
		},
	}
	if r.Keywords == nil { // encoded as an empty list instead of null
		r.Keywords = []string{}
	}
	if o.StripPlace {
		r.Processed.GPS = file.Place
	}
	if len(file.Sidecar) > 0 {
		r.Processed.Sidecar = embed.Added
	}
	if len(a.Thumbnail) > 0 {
		r.Thumbnail = &Thumbnail{ContentType: ThumbnailType, FileSize: int64(len(a.Thumbnail))}
	}
	return r
}

// encode encodes the record for people and programs: indented, and without HTML escapes.
func (r Record) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return b.Bytes(), nil
}
