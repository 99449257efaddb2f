package outputs

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/imagebatch/imagebatch/shared/embed"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Record is the JSON record of an image: what was found in the original, and what was written into the
// processed file.
type Record struct {
	OriginalFilename string `json:"original_filename" unit:"text" doc:"name as the client sent it"`
	pipeline.Metadata
	Processed Processed  `json:"processed"`
	Thumbnail *Thumbnail `json:"thumbnail,omitempty"`
}

// Processed describes the processed file.
type Processed struct {
	ContentType string          `json:"content_type" range:"image/jpeg|image/png" doc:"type of the processed image"`
	FileSize    int64           `json:"file_size" range:"1.." unit:"bytes" doc:"its size"`
	SHA256      string          `json:"sha256" range:"/^[0-9a-f]{64}$/" unit:"64 hex digits" doc:"its SHA-256"`
	XMP         embed.Outcome   `json:"xmp" range:"added|merged|none" doc:"what was done with the file's XMP"`
	EXIF        embed.Outcome   `json:"exif" range:"filled|none" doc:"'filled' when a description was written to EXIF ImageDescription"`
	IPTC        embed.Outcome   `json:"iptc" range:"filled|none" doc:"'filled' when a title, description or keywords were written to IPTC-IIM"`
	GPS         embed.Outcome   `json:"gps,omitempty" range:"removed|none" doc:"with 'STRIP_GPS=true', whether a GPS position was removed"`
	Sidecar     embed.Outcome   `json:"sidecar,omitempty" range:"added" doc:"'added' when the image has a sidecar"`
	Replaced    []string        `json:"replaced,omitempty" range:"unique 1.. of 1.." unit:"list of texts" doc:"stock texts of cameras and programs that were replaced in the file"`
	Warnings    []embed.Warning `json:"warnings,omitempty" range:"1.. of 1.." unit:"list of texts" doc:"what could not be written as requested, see below"`
}

// Thumbnail describes the thumbnail.
type Thumbnail struct {
	ContentType string `json:"content_type" range:"image/jpeg" doc:"type of the thumbnail"`
	FileSize    int64  `json:"file_size" range:"1..49152" unit:"bytes" doc:"its size"`
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
			Replaced:    file.Replaced,
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
