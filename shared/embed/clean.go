package embed

import (
	"bytes"
	"errors"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Cleaned is the result of Clean.
type Cleaned struct {
	Data    []byte   // the caller's own slice if nothing was removed
	Removed []string // the fields whose texts were removed, such as "title"
	Values  bool     // measured values were removed
	Warning Warning  // why the file was left as it is; "" if it was not
}

// Clean removes the texts that we wrote into the image file data and that are unchanged since, from all their places,
// with their marks and the name of the model, without changing the slice. With all, it also removes the measured values.
// A text that anyone has edited stays. With signed, it also changes files with Content Credentials, which breaks their
// signature. The error is [imagefile.ErrFormat] or nil.
func Clean(data []byte, all, signed bool) (Cleaned, error) {
	layout, err := imagefile.LayoutOf(data)
	if errors.Is(err, imagefile.ErrFormat) {
		return Cleaned{}, err
	}
	if err != nil {
		return Cleaned{Data: data, Warning: OddStructure}, nil
	}
	w := writer{options: Options{EmbedSigned: signed}}
	f := w.find(data, layout)
	m := newMade()
	packet, warning := w.parse(f, &m)
	if warning != "" {
		return Cleaned{Data: data, Warning: warning}, nil
	}
	if packet == nil || !packet.HasOurs() {
		return Cleaned{Data: data}, nil
	}
	if !signed && (f.credentials || packet.HasProvenance()) {
		return Cleaned{Data: data, Warning: Credentials}, nil
	}
	earlier := ours{packet}
	removed := w.textsIn(f, earlier)
	m.change.Raw = f.Packet.Raw
	if text, empty := packet.WithoutOurs(all); empty && m.change.Raw == nil {
		block, _ := layout.First(imagefile.XMP)
		m.change.Remove = append(m.change.Remove, block)
	} else if !bytes.Equal(text, f.Packet.Text) {
		m.change.XMP = text
	}
	if f.tiff {
		w.fillTIFF(&m, f.EXIF, pipeline.Texts{}, earlier, f.tiffLimit)
	}
	if f.IPTC.State == iptc.Sound {
		w.fillIPTC(&m, f, pipeline.Texts{}, earlier)
	}
	out, ok := layout.Apply(data, m.change)
	if !ok {
		return Cleaned{Data: data, Warning: IndexOdd}, nil
	}
	return Cleaned{Data: out, Removed: removed, Values: all && packet.HasValues()}, nil
}

// textsIn returns the fields whose texts in the file are ours.
func (w writer) textsIn(f found, o ours) []string {
	var names []string
	inPacket := o.packet.Ours().Fields
	text, _ := tiffDescription(f.EXIF)
	for _, field := range pipeline.CaptionFields {
		number := iptcOf[field].number
		if len(inPacket[field].Values) > 0 || number != 0 && f.IPTC.State == iptc.Sound && o.are(field, f.IPTC.Values(number)) ||
			field == pipeline.Description && f.tiff && o.are(field, []string{text}) {
			names = append(names, field.String())
		}
	}
	return names
}
