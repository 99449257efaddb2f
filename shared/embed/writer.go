package embed

import (
	"bytes"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
	"github.com/imagebatch/imagebatch/shared/imagefile/stocktext"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// writer contains what is written, independent of the format of the file.
type writer struct {
	options             Options
	description         xmp.Description
	texts               pipeline.Texts
	captioned, composed []string // the fields whose texts are of a model, or composed
	model, language     string   // of the captioned texts
	camera              []string // make and model
}

// isStock reports whether a text was written by a camera or program without a person.
func (w writer) isStock(text string) bool { return stocktext.Is(text, w.camera...) }

// missing reports whether the values of a field say nothing about the image.
func (w writer) missing(field pipeline.CaptionField, values []string) bool {
	return pipeline.Blank(values) || field != pipeline.Keywords &&
		!slices.ContainsFunc(values, func(v string) bool { return !pipeline.Blank([]string{v}) && !w.isStock(v) })
}

// made is the new metadata of a file. Nil parts stay unchanged.
type made struct {
	change imagefile.Change
	file   File // without its data
}

func newMade() made { return made{file: File{XMP: None, EXIF: None, IPTC: None, Place: None}} }

// write writes into a file whose structure is understood or not.
func (w writer) write(data []byte, layout imagefile.Layout, understood bool) File {
	var f found
	var m made
	if understood {
		f = w.find(data, layout)
		m = w.make(f)
		var ok bool
		if m.file.Data, ok = layout.Apply(data, m.change); ok {
			return m.file
		}
		m.leave(IndexOdd)
	} else {
		m = newMade()
		m.file.Sidecar = xmp.New(w.description)
		m.leave(OddStructure)
	}
	m = w.finish(found{}, m)
	m.file.Data = data
	return m.file
}

// make decides what is written. It reads the captions from all places before it fills in any.
func (w writer) make(f found) made {
	m := newMade()
	block := f.EXIF
	if w.options.StripPlace && f.tiff {
		var removed bool
		if block, removed = block.WithoutGPS(); removed {
			m.change.EXIF, m.file.Place = block.Data, Removed
		}
	}
	if w.options.StripPlace && len(f.cuts)+len(f.blanks) > 0 {
		m.change.Remove, m.change.Blank, m.file.Place = f.cuts, f.blanks, Removed
	}
	packet, warning := w.parse(f, &m)
	m.file.Signed = f.credentials || packet != nil && packet.HasProvenance() || packet == nil && xmp.MentionsProvenance(f.Packet.Text)
	if warning != "" {
		m.warn(warning)
		m.file.Sidecar = xmp.New(w.description) // captions may be in the unreadable packet
		return w.finish(f, m)
	}

	if packet != nil {
		packet.Replaceable(w.isStock)
	}
	earlier := ours{packet}
	fill := w.fill(packet, func(field pipeline.CaptionField) bool {
		return f.stated[field] || f.readable && w.tiffStates(block, field, earlier) || w.iptcStates(f.IPTC, field, earlier) ||
			packet != nil && packet.States(field)
	})
	fill.Writer = fill.Writer && (packet == nil || !packet.StatesWriter()) && pipeline.Blank(f.IPTC.Values(iptc.Writer))
	m.change.Raw = f.Packet.Raw
	m.file.Sidecar = merged(packet, w.description.WithCaption(fill))
	if fill, warning = m.embed(packet, w.description, fill, f.packetLimit); warning != "" {
		m.warn(warning)
	}
	if warning == NoSpace {
		return w.finish(f, m)
	}
	if packet != nil {
		m.replaced(packet.Replaced(fill.Texts())...)
	}
	if f.tiff {
		w.fillTIFF(&m, block, fill.Texts(), earlier, f.tiffLimit)
	}
	if f.IPTC.State == iptc.Sound {
		w.fillIPTC(&m, f, fill.Texts(), earlier)
	}
	return w.finish(f, m)
}

// parse returns the packet, or nil if there is none. If GPS positions must be removed, it removes them first, so
// that they are removed even if there is no space for anything else.
func (w writer) parse(f found, m *made) (*xmp.Packet, Warning) {
	switch {
	case !f.hasPacket:
		return nil, ""
	case f.Packet.Damaged:
		return nil, PacketMalformed
	case f.Packet.TooLarge:
		return nil, PacketTooLarge
	case f.XMP.Empty():
		return nil, "" // ours takes its place
	}
	p := f.XMP
	if p.Editable() == nil && w.options.StripPlace && p.HasPlace() {
		placeless := p.WithoutPlace()
		if p = xmp.Parse(placeless); p.Editable() == nil {
			m.change.XMP, m.file.Place = placeless, Removed
		}
	}
	if p.Editable() != nil {
		return nil, PacketMalformed
	}
	return p, ""
}

// fill returns our texts for the file: for every field that others have not stated, the new words of a model, or its
// earlier ones, or else composed ones. Words of a model stay until new ones replace them, or until they are removed.
// Composed ones of an earlier run, which the analyzer may have taken for the file's own, are removed unless composed
// texts are wanted.
func (w writer) fill(p *xmp.Packet, stated func(pipeline.CaptionField) bool) xmp.Caption {
	fill := xmp.Caption{KeywordParent: w.options.KeywordParent}
	var earlier xmp.Caption
	if p != nil {
		earlier = p.Ours()
	}
	for _, f := range pipeline.CaptionFields {
		old, text := earlier.Fields[f], w.texts[f]
		if w.options.RemoveCaptions && old.Captioned {
			old = xmp.Words{}
		}
		if stated(f) {
			continue
		}
		fill.Writer = fill.Writer || f == pipeline.Description
		captioned, composed := slices.Contains(w.captioned, f.String()), slices.Contains(w.composed, f.String())
		switch {
		case w.options.Captions && captioned && len(text) > 0 && (!old.Captioned || !slices.Equal(text, old.Values)):
			fill.Fields[f] = xmp.Words{Values: text, Captioned: true, Model: w.model, Language: w.language}
		case old.Captioned:
			fill.Fields[f] = old
		case w.options.Composed && composed:
			fill.Fields[f].Values = text
		case w.options.Composed && !captioned && len(text) > 0:
			fill.Fields[f] = old
		}
	}
	return fill
}

// merged returns the complete packet with d, without a size limit.
func merged(p *xmp.Packet, d xmp.Description) []byte {
	if p == nil {
		return xmp.New(d)
	}
	return p.Merge(d)
}

// embed chooses the packet of at most limit bytes, and returns the captions in it. If space is short, it omits
// the padding first, then our optional properties, and finally our captions, but never a property of the file.
func (m *made) embed(p *xmp.Packet, d xmp.Description, fill xmp.Caption, limit int) (xmp.Caption, Warning) {
	type attempt struct {
		packet   []byte
		captions xmp.Caption
		warning  Warning
	}
	compact := func(d xmp.Description) []byte {
		if p == nil {
			return xmp.New(d)
		}
		return p.MergeCompact(d)
	}
	attempts := func(yield func(attempt) bool) {
		_ = yield(attempt{m.file.Sidecar, fill, ""}) &&
			yield(attempt{compact(d.WithCaption(fill)), fill, ""}) &&
			yield(attempt{compact(d.Core().WithCaption(fill)), fill, Reduced}) &&
			yield(attempt{packet: compact(d.Core()), warning: Reduced})
	}
	for a := range attempts {
		if len(a.packet) > limit {
			continue
		}
		m.change.XMP, m.file.XMP = a.packet, Merged
		if p == nil {
			m.file.XMP = Added
		}
		return a.captions, a.warning
	}
	return xmp.Caption{}, NoSpace
}

// fillTIFF writes the description into EXIF data, or removes that of an earlier run, and removes the copies of our texts
// that Windows has made and that no longer repeat one.
func (w writer) fillTIFF(m *made, t tiff.Block, fill pipeline.Texts, earlier ours, limit int) {
	if !t.Sound() {
		return
	}
	described := withoutCopies(t, fill, earlier)
	old, has := tiffDescription(t)
	ours, text := earlier.are(pipeline.Description, []string{old}), strings.Join(fill[pipeline.Description], "")
	if has && !ours && (text == "" || !w.missing(pipeline.Description, []string{old})) {
		text = "" // it stays
	} else if with := described.WithText(tiff.TagImageDescription, text); len(with.Data) <= limit {
		described = with
	} else if text = ""; ours {
		described = described.WithText(tiff.TagImageDescription, text)
	}
	if !bytes.Equal(described.Data, t.Data) {
		m.change.EXIF = described.Data
	}
	if text == "" {
		return
	}
	if m.file.EXIF = Filled; !ours {
		m.replaced(old)
	}
}

// fillIPTC writes captions into an IPTC block, or removes those of an earlier run.
func (w writer) fillIPTC(m *made, f found, fill pipeline.Texts, earlier ours) {
	described, replaced, filled := w.filledIPTC(f.IPTC.Block, fill, earlier)
	resources := f.IPTC.With(described)
	if len(resources) > f.resourcesLimit {
		// Captions of an earlier run, whose marks are removed, must not stay: they would be taken for a
		// person's.
		if filled {
			w.fillIPTC(m, f, pipeline.Texts{}, earlier)
		}
		return
	}
	if !bytes.Equal(resources, f.resources) {
		m.change.Photoshop = resources
	}
	if filled {
		m.file.IPTC = Filled
		m.replaced(replaced...)
	}
}

// replaced records stock texts that our captions replaced.
func (m *made) replaced(texts ...string) {
	for _, text := range texts {
		text = strings.Trim(text, " \t\r\n\x00")
		if text != "" && !slices.Contains(m.file.Replaced, text) {
			m.file.Replaced = append(m.file.Replaced, text)
		}
	}
}

func (m *made) warn(w Warning) { m.file.Warnings = append(m.file.Warnings, w) }

// finish handles files with Content Credentials, and reports whether a GPS position may remain in the file.
func (w writer) finish(f found, m made) made {
	if m.file.Signed {
		if !w.options.EmbedSigned {
			m.leave(Credentials)
		} else if c := m.change; len(c.Remove)+len(c.Blank) > 0 || c.XMP != nil || c.EXIF != nil {
			m.warn(Broken)
		}
	}
	if w.options.StripPlace && (f.place || slices.ContainsFunc(m.file.Warnings, hidesPlace)) {
		m.warn(PlaceLeft)
	}
	return m
}

// leave leaves the file unchanged.
func (m *made) leave(w Warning) {
	*m = made{file: File{
		XMP: None, EXIF: None, IPTC: None, Place: None, Signed: m.file.Signed, Sidecar: m.file.Sidecar, Warnings: []Warning{w},
	}}
}

// hidesPlace reports whether a warning means that some parts were not searched.
func hidesPlace(w Warning) bool {
	switch w {
	case Credentials, OddStructure, PacketMalformed, PacketTooLarge, IndexOdd:
		return true
	default:
		return false
	}
}
