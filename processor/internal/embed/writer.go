package embed

import (
	"bytes"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
	"github.com/imagebatch/imagebatch/processor/internal/xmp"
)

// writer has what is to be written, whatever the format of the file.
type writer struct {
	options          Options
	description      xmp.Description
	composed, stated caption.Caption
}

// found is what a file has where we write, and what else bears on it.
type found struct {
	packet    []byte  // the XMP packet; nil when there is none
	odd       Warning // why the packet cannot be read; "" when it can
	tiff      []byte  // the TIFF block of EXIF data; nil when there is none
	resources []byte  // Photoshop's image resources, which may hold IPTC-IIM; nil when there are none

	packetLimit, tiffLimit, resourcesLimit int // most bytes of each

	// stated are fields that are stated where we do not write.
	stated [len(caption.Fields)]bool
	// credentials and place are what is found outside the packet and the TIFF block.
	credentials, place bool
	// cuts says that something else is to be taken out of the file.
	cuts bool
}

// made is what a file is to have. What is nil stays as it is.
type made struct {
	packet, tiff, resources []byte
	file                    File // without its data
}

// make decides what is written. It knows the captions from all their places
// before it fills in one.
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
		m.file.Sidecar = xmp.New(w.description) // Captions might be in the packet that nobody can read.
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

// parse reads the packet, without its GPS positions if they are to go: they go even
// if there is no space for more. It is nil when there is none.
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

// fill is what the file is to have of ours: of every field that nobody else has
// stated, what the analyzer composed, else what we wrote in an earlier run, which
// the analyzer may have taken for the file's own.
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

// merged is the whole packet with d, for which there is all the space in the
// world.
func merged(p *xmp.Packet, d xmp.Description) []byte {
	if p == nil {
		return xmp.New(d)
	}
	return p.Merge(d)
}

// embed chooses the packet of at most limit bytes, and tells which captions are in
// it. When space is short the padding goes first, then our optional properties and
// at last our captions, but never anything of the file's own.
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

// fillTIFF puts the description into EXIF data, or takes that of an earlier run
// out of it.
func (m *made) fillTIFF(t tiffBlock, description []string, marks caption.Marks, limit int) {
	old, has := t.description()
	if !t.sound() || has && !marks.Ours(caption.Description, []string{old}) {
		return // What is blank stays too: we overwrite nothing.
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

// fillIPTC puts captions into an IPTC block, or takes those of an earlier run out
// of it.
func (m *made) fillIPTC(f found, block iim, fill caption.Caption, marks caption.Marks) {
	described, filled := block.describe(fill, marks)
	resources := f.resources
	if !bytes.Equal(described.bytes(), block.bytes()) {
		resources = withIPTC(f.resources, described.bytes())
	}
	if len(resources) > f.resourcesLimit {
		// Captions of an earlier run, whose marks go, must not stay as if somebody
		// else had written them.
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

// finish decides over files with Content Credentials, and tells whether a GPS
// position may be left in the file.
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

// leave leaves the file as it is.
func (m *made) leave(w Warning) {
	*m = made{file: File{
		XMP: None, EXIF: None, IPTC: None, Place: None, Signed: m.file.Signed, Sidecar: m.file.Sidecar, Warnings: []Warning{w},
	}}
}

// hidesPlace tells whether a warning means that we have not looked everywhere.
func hidesPlace(w Warning) bool {
	switch w {
	case Credentials, OddStructure, PacketMalformed, PacketTooLarge, IndexOdd:
		return true
	default:
		return false
	}
}
