package embed

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/charset"
	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ours recognizes the texts that we wrote into the file earlier.
type ours struct{ packet *xmp.Packet }

// are reports whether the values of a field are ours, or for keywords a copy of ours.
func (o ours) are(f pipeline.CaptionField, values []string) bool {
	switch {
	case o.packet == nil || len(values) == 0:
		return false
	case f == pipeline.Keywords:
		return o.packet.OurKeywords(values)
	default:
		return o.packet.Marks().Ours(f, values)
	}
}

// found is the existing metadata of a file, and what else in the file affects the write.
type found struct {
	imagefile.Metadata

	hasPacket bool
	tiff      bool   // EXIF can be edited
	readable  bool   // EXIF can be read
	resources []byte // the image resources of IPTC

	packetLimit, tiffLimit, resourcesLimit int // maximum bytes of each

	// stated marks fields that are stated where we do not write.
	stated [len(pipeline.CaptionFields)]bool
	// credentials and place report what is outside the packet and the TIFF block.
	credentials, place bool
	// cuts are blocks that are removed because they contain a position, and blanks are ranges that are overwritten.
	cuts   []imagefile.Block
	blanks []edit.Span
}

// find examines a file. Of several segments or chunks of a kind, readers use the first.
func (w writer) find(data []byte, l imagefile.Layout) found {
	f := found{Metadata: l.Metadata(data, imagefile.MaxPacket), credentials: len(l.All(imagefile.Credentials)) > 0}
	f.packetLimit, f.tiffLimit, f.resourcesLimit = l.Limits()
	f.readable = f.HasEXIF && f.EXIFError == nil
	f.tiff = f.readable && !f.RawEXIF && f.EXIF.Whole(f.EXIF.First)
	packet, _ := l.First(imagefile.XMP)
	f.hasPacket = packet.Kind != 0 || f.Packet.Raw != nil
	if f.Packet.Raw != nil {
		f.packetLimit = imagefile.MaxRawProfile
	}
	exif, _ := l.First(imagefile.EXIF)
	f.resources = l.Resources(data)

	var extension []byte // extended XMP, and further packets
	for _, b := range l.Blocks {
		switch b.Kind {
		case imagefile.EXIF:
			f.place = f.place || b.Odd || b.Whole != exif.Whole
		case imagefile.XMP:
			switch {
			case b.Whole == packet.Whole:
			case b.Text != nil: // a second packet in a PNG, which most readers ignore
				f.place = true
			default:
				extension = append(extension, b.Data.Of(data)...)
			}
		case imagefile.ExtendedXMP:
			extension = append(extension, b.Data.Of(data)...)
		case imagefile.RawProfile:
			f.place = f.place || f.Packet.Raw == nil || !f.Packet.Raw.In(b)
		case imagefile.GPSText:
			f.cuts = append(f.cuts, b)
		}
	}
	positions, understood := l.FLIRPositions(data)
	for _, at := range positions {
		if len(bytes.Trim(at.Of(data), "\x00")) > 0 {
			f.blanks = append(f.blanks, at)
		}
	}
	f.place = f.place || !understood
	for _, t := range f.Texts {
		field, known := fieldOf[t.Keyword]
		f.stated[field] = f.stated[field] || known && !w.missing(field, []string{t.String()})
	}
	for _, p := range f.Further {
		p.Replaceable(w.isStock)
		for _, field := range pipeline.CaptionFields {
			f.stated[field] = f.stated[field] || p.States(field)
		}
	}
	if f.Unread && xmp.MentionsCaption(extension) {
		f.stated = [...]bool{pipeline.Title: true, pipeline.Description: true, pipeline.Keywords: true, pipeline.AltText: true}
	}
	f.credentials = f.credentials || xmp.MentionsProvenance(extension)
	f.place = f.place || f.HasEXIF && !f.tiff || f.tiff && hidesPosition(f.EXIF) || f.IPTC.HoldsPackets() ||
		xmp.MentionsPlace(extension) || w.options.StripPlace && l.GoesOn(data)
	return f
}

// hidesPosition reports whether a complete XMP packet in an EXIF block may contain a GPS position.
func hidesPosition(t tiff.Block) bool {
	e, ok := t.Find(t.First, tiff.TagXMP)
	if !ok {
		return false
	}
	at, readable := t.Value(e)
	return !readable || xmp.MentionsPlace(at.Of(t.Data))
}

// tiffDescription returns the ImageDescription up to its zero; "" if it cannot be read.
func tiffDescription(t tiff.Block) (text string, has bool) {
	e, has := t.Find(t.First, tiff.TagImageDescription)
	if !has {
		return "", false
	}
	value, _ := t.Text(e)
	return string(value), true
}

// windowsTags are the tags in which Windows stores each field.
var windowsTags = [...][]uint16{
	pipeline.Title: {tiff.TagXPTitle}, pipeline.Description: {tiff.TagXPComment, tiff.TagXPSubject}, pipeline.Keywords: {tiff.TagXPKeywords}, pipeline.AltText: nil,
}

// fieldOf is the field that a text chunk of a PNG states.
var fieldOf = map[string]pipeline.CaptionField{"Title": pipeline.Title, "Description": pipeline.Description}

// tiffStates reports whether an EXIF block states a field.
func (w writer) tiffStates(t tiff.Block, f pipeline.CaptionField, o ours) bool {
	if f == pipeline.Description {
		text, _ := tiffDescription(t)
		value := []string{text}
		if !w.missing(f, value) && !o.are(f, value) {
			return true
		}
	}
	for _, tag := range windowsTags[f] {
		e, ok := t.Find(t.First, tag)
		if !ok {
			continue
		}
		if values, readable := windowsValues(t, e, f); !readable || !w.missing(f, values) && !o.are(f, values) {
			return true
		}
	}
	return false
}

// windowsValues returns the values of a tag of Windows, which separates keywords by semicolons.
func windowsValues(t tiff.Block, e tiff.Entry, f pipeline.CaptionField) (values []string, readable bool) {
	at, readable := t.Value(e)
	if !readable {
		return nil, false
	}
	text := strings.TrimRight(charset.UTF16(at.Of(t.Data), binary.LittleEndian), "\x00")
	if f == pipeline.Keywords {
		return strings.Split(text, ";"), true
	}
	return []string{text}, true
}

// withoutCopies returns a sound block without the tags of Windows that repeat texts of ours other than those of fill.
func withoutCopies(t tiff.Block, fill pipeline.Texts, o ours) tiff.Block {
	for _, f := range pipeline.CaptionFields {
		for _, tag := range windowsTags[f] {
			e, ok := t.Find(t.First, tag)
			if !ok {
				continue
			}
			if values, readable := windowsValues(t, e, f); readable && o.are(f, values) && !slices.Equal(values, fill[f]) {
				t = t.WithText(tag, "")
			}
		}
	}
	return t
}

// iptcOf contains the number and the maximum bytes of the data set of each field.
var iptcOf = [...]struct {
	number byte
	most   int
}{pipeline.Title: {iptc.Title, 64}, pipeline.Description: {iptc.Description, 2000}, pipeline.Keywords: {iptc.Keywords, 64}, pipeline.AltText: {}}

// iptcStates reports whether the IPTC states a field with a value that is not ours. A headline stands for a title.
// Damaged parts state nothing: no reader sees them.
func (w writer) iptcStates(r iptc.Resources, f pipeline.CaptionField, o ours) bool {
	if iptcOf[f].number == 0 {
		return false
	}
	values := r.Values(iptcOf[f].number)
	return !w.missing(f, values) && !o.are(f, values) || f == pipeline.Title && !w.missing(f, r.Values(iptc.Headline))
}

// filledIPTC returns a block with our captions replaced, and the stock texts that they replace. It fills in no
// field that the block states, and none that does not fit or cannot be represented in the block's character set.
func (w writer) filledIPTC(b iptc.Block, c pipeline.Texts, o ours) (with iptc.Block, replaced []string, filled bool) {
	for _, f := range pipeline.CaptionFields {
		if number := iptcOf[f].number; number != 0 && o.are(f, b.Values(number)) {
			b = b.Without(number)
		}
	}
	for _, f := range pipeline.CaptionFields {
		number, most := iptcOf[f].number, iptcOf[f].most
		tooLong := slices.ContainsFunc(c[f], func(v string) bool { return len(v) > most })
		old := b.Values(number)
		if number == 0 || len(c[f]) == 0 || tooLong || !w.missing(f, old) {
			continue
		}
		if more, ok := b.Without(number).With(number, c[f]); ok {
			b, filled = more, true
			replaced = append(replaced, old...)
		}
	}
	return b, replaced, filled
}
