package embedded

import (
	"bytes"
	"testing"

	"github.com/bep/imagemeta"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// TestMatchesImagemeta compares the EXIF of camera files with a library that also reads it.
func TestMatchesImagemeta(t *testing.T) {
	compared := 0
	for name, data := range fixture.CameraFiles(t) {
		h, err := imagefile.Read(data, imagefile.Limits{})
		if err != nil {
			continue
		}
		first, ok := h.First(imagefile.EXIF)
		if !ok {
			continue
		}
		tags := map[string]any{}
		_, err = imagemeta.Decode(imagemeta.Options{
			R: bytes.NewReader(first.Data.Of(data)), ImageFormat: imagemeta.TIFF, Sources: imagemeta.EXIF,
			HandleTag: func(tag imagemeta.TagInfo) error {
				if tag.Namespace == dirImage || tag.Namespace == dirExif {
					tags[tag.Tag] = tag.Value
				}
				return nil
			},
		})
		if err != nil {
			continue // it stops at the first entry that it does not understand
		}
		var warned record.Warnings
		read, _ := fromEXIF(h.Metadata(data, MaxPacket), &warned)
		got := read.exif
		if warned.List != nil {
			continue // the library is less strict
		}
		for tag, value := range map[string]string{
			"Make": got.CameraMake, "Model": got.CameraModel, "Software": got.Software, "LensModel": got.LensModel, "ExposureTime": got.ExposureTime,
		} {
			want, isText := tags[tag].(string)
			if r, ok := tags[tag].(imagemeta.Rat[uint32]); ok && r.Num() > 0 {
				want, isText = r.String(), true
			}
			if !isText {
				continue
			}
			if compared++; value != record.Clean(want, record.MaxText) {
				t.Errorf("%s: %s is %q, want %q", name, tag, value, want)
			}
		}
		if iso, ok := tags["ISO"].(uint16); ok && iso < 65535 && got.ISO != int(iso) && iso > 0 {
			t.Errorf("%s: ISO is %d, want %d", name, got.ISO, iso)
		}
	}
	if compared < 100 {
		t.Errorf("only %d values were compared", compared)
	}
}
