package embed

import (
	"bytes"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
	"github.com/imagebatch/imagebatch/processor/internal/xmp"
)

// writer contains what is written, independent of the format of the file.
type writer struct {
	options          Options
	description      xmp.Description
	composed, stated caption.Caption
}

// found is the existing metadata of a file in the places where we write, and other data that affects the write.
type found struct {
	packet    []byte  // the XMP packet; nil if there is none
	odd       Warning // why the packet cannot be read; "" if it can
	tiff      []byte  // the TIFF block of EXIF data; nil if there is none
	resources []byte  // Photoshop's image resources, which may contain IPTC-IIM; nil if there are none

	packetLimit, tiffLimit, resourcesLimit int // maximum bytes of each

	// stated marks fields that are stated where we do not write.
	stated [len(caption.Fields)]bool
	// credentials and place report what is outside the packet and the TIFF block.
	credentials, place bool
	// cuts reports that other data must be removed from the file.
	cuts bool
}

// made is the new metadata of a file. Nil parts stay unchanged.
type made struct {
	packet, tiff, resources []byte
	file                    File // without its data
}

// make decides what is written. It reads the captions from all places before it fills in any.
func (w writer) make(f found) made {
	m := made{file: File{XMP: None, EXIF: None, IPTC: None, Place: None}}
	block, hasTIFF := readTIFF(f.tiff)
	f.place = f.place || len(f.tiff) > 0 && !hasTIFF || hasTIFF && block.hidesPlace() || holdsPackets(f.resources)
	if w.options.StripPlace && hasTIFF {
		var removed bool
		if block, removed = block.withoutPlace(); removed {
			m.tiff, m.file.Place = block.data, Removed
		}
	}
	packet, warning := w.parse(f, &m)
	m.file.Signed = f.credentials || packet != nil && packet.HasProvenance() || packet == nil && xmp.MentionsProvenance(f.packet)
	if warning != "" {
		m.warn(warning)
		m.file.Sidecar = xmp.New(w.description) // captions may be in the unreadable packet
		return w.finish(f, m)
	}

	marks := marksOf(packet)
	iptc, state := readIPTC(f.resources)
	fill := w.fill(packet, func(field caption.Field) bool {
		return f.stated[field] || hasTIFF && block.states(field, marks) || state.states(iptc, field, marks)
	})
	m.file.Sidecar = merged(packet, w.description.WithCaption(fill))
	if fill, warning = m.embed(packet, w.description, fill, f.packetLimit); warning != "" {
		m.warn(warning)
	}
	if warning == NoSpace {
		return w.finish(f, m)
	}
	if hasTIFF {
		m.fillTIFF(block, fill[caption.Description], marks, f.tiffLimit)
	}
	if state == iptcSound {
		m.fillIPTC(f, iptc, fill, marks)
	}
	return w.finish(f, m)
}

// parse parses the packet. If GPS positions must be removed, it removes them first, so that they are removed
// even if there is no space for anything else. It returns nil if there is no packet.
func (w writer) parse(f found, m *made) (*xmp.Packet, Warning) {
	if f.packet == nil || f.odd != "" {
		return nil, f.odd
	}
	p, err := xmp.Parse(f.packet)
	if err == nil && w.options.StripPlace && p.HasPlace() {
		placeless := p.WithoutPlace()
		if p, err = xmp.Parse(placeless); err == nil {
			m.packet, m.file.Place = placeless, Removed
		}
	}
	if err != nil {
		return nil, PacketMalformed
	}
	return p, ""
}

func marksOf(p *xmp.Packet) caption.Marks {
	if p == nil {
		return caption.Marks{}
	}
	return p.Marks()
}

// fill returns our captions for the file: for every field that others have not stated, the analyzer's composed
// value, or else ours from an earlier run, which the analyzer may have taken for the file's own.
func (w writer) fill(p *xmp.Packet, stated func(caption.Field) bool) caption.Caption {
	var fill, earlier caption.Caption
	if p != nil {
		earlier = p.Ours()
	}
	for _, f := range caption.Fields {
		switch {
		case stated(f) || p != nil && p.States(f):
		case !w.options.KeepCaptions && len(w.composed[f]) > 0:
			fill[f] = w.composed[f]
		case w.options.KeepCaptions || len(w.stated[f]) > 0:
			fill[f] = earlier[f]
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
func (m *made) embed(p *xmp.Packet, d xmp.Description, fill caption.Caption, limit int) (caption.Caption, Warning) {
	type attempt struct {
		packet   []byte
		captions caption.Caption
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
		m.packet, m.file.XMP = a.packet, Merged
		if p == nil {
			m.file.XMP = Added
		}
		return a.captions, a.warning
	}
	return caption.Caption{}, NoSpace
}

// fillTIFF writes the description into EXIF data, or removes that of an earlier run.
func (m *made) fillTIFF(t tiffBlock, description []string, marks caption.Marks, limit int) {
	old, has := t.description()
	if !t.sound() || has && !marks.Ours(caption.Description, []string{old}) {
		return // a blank description stays too: we overwrite nothing
	}
	text := ""
	if len(description) > 0 && printableASCII(description[0]) {
		text = description[0]
	}
	described := t.describe(text)
	if len(described.data) > limit {
		text, described = "", t.describe("")
	}
	if !bytes.Equal(described.data, t.data) {
		m.tiff = described.data
	}
	if text != "" {
		m.file.EXIF = Filled
	}
}

func printableASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// fillIPTC writes captions into an IPTC block, or removes those of an earlier run.
func (m *made) fillIPTC(f found, block iim, fill caption.Caption, marks caption.Marks) {
	described, filled := block.describe(fill, marks)
	resources := f.resources
	if !bytes.Equal(described.bytes(), block.bytes()) {
		resources = withIPTC(f.resources, described.bytes())
	}
	if len(resources) > f.resourcesLimit {
		// Captions of an earlier run, whose marks are removed, must not stay: they would be taken for a
		// person's.
		if filled {
			m.fillIPTC(f, block, caption.Caption{}, marks)
		}
		return
	}
	if len(resources) != len(f.resources) || !bytes.Equal(resources, f.resources) {
		m.resources = resources
	}
	if filled {
		m.file.IPTC = Filled
	}
}

func (m *made) warn(w Warning) { m.file.Warnings = append(m.file.Warnings, w) }

// finish handles files with Content Credentials, and reports whether a GPS position may remain in the file.
func (w writer) finish(f found, m made) made {
	if m.file.Signed {
		if !w.options.EmbedSigned {
			m.leave(Credentials)
		} else if f.cuts || m.packet != nil || m.tiff != nil {
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
