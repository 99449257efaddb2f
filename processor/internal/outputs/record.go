package outputs

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/imagebatch/imagebatch/processor/internal/embed"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Record is the JSON beside a processed file: what was found in the original,
// and what was made of it.
type Record struct {
	OriginalFilename string `json:"original_filename"`
	pipeline.Metadata
	Processed Processed  `json:"processed"`
	Thumbnail *Thumbnail `json:"thumbnail,omitempty"`
}

// Processed tells about the processed file.
type Processed struct {
	ContentType string          `json:"content_type"`
	FileSize    int64           `json:"file_size"` // bytes
	SHA256      string          `json:"sha256"`    // hex
	XMP         embed.Outcome   `json:"xmp"`
	EXIF        embed.Outcome   `json:"exif"`
	IPTC        embed.Outcome   `json:"iptc"`
	GPS         embed.Outcome   `json:"gps,omitempty"`     // absent when positions are kept
	Sidecar     embed.Outcome   `json:"sidecar,omitempty"` // absent when there is none
	Warnings    []embed.Warning `json:"warnings,omitempty"`
}

// Thumbnail tells about the thumbnail.
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
	if r.Keywords == nil { // A list without elements is written as one, never as null.
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

// encode writes the record for people and programs: indented, with the signs of
// HTML as they are.
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
