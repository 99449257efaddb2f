package imagefile

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
)

// maxFurtherBlocks bounds the raw profiles, and the further packets, that are read.
const maxFurtherBlocks = 8

// addFurther reads the metadata in the places that only some programs use. It stands for the usual places if
// those are empty, and further packets are read in addition to the first.
func (m *Metadata) addFurther(l Layout, data []byte, limit int) {
	packet := func(text []byte) {
		if len(text) > limit || len(m.Further) == maxFurtherBlocks {
			m.Unread = true
		} else if len(text) > 0 {
			m.Further = append(m.Further, xmp.Parse(text))
		}
	}
	first, _ := l.First(XMP)
	raw := 0
	for _, b := range l.Blocks {
		switch {
		case b.Kind == XMP && b.Whole != first.Whole:
			packet(b.packet(data, limit).Text)
		case b.Kind == RawProfile:
			if raw++; raw > maxFurtherBlocks {
				m.Unread = true
				continue
			}
			r, large, ok := b.rawProfile()
			m.Unread = m.Unread || large
			switch {
			case !ok:
			case r.kind == XMP && (first.Kind != 0 || m.Packet.Raw != nil):
				packet(r.data)
			case r.kind == XMP:
				if p := xmp.Parse(r.data); p.Editable() == nil {
					m.XMP, m.Packet = p, Packet{Text: r.data, Raw: &r}
				} else {
					packet(r.data)
				}
			case r.kind == EXIF && !m.HasEXIF:
				m.HasEXIF, m.RawEXIF = true, true
				m.EXIF, m.EXIFError = tiff.Parse(r.data)
			case r.kind == Photoshop && m.IPTC.State == iptc.Missing:
				m.IPTC = iptcOf(r.data)
			}
		}
	}
	packet(l.extended(data, limit))
	if !m.HasEXIF || m.EXIFError != nil {
		return
	}
	if e, ok := m.EXIF.Find(m.EXIF.First, tiff.TagXMP); ok {
		if at, ok := m.EXIF.Value(e); ok {
			packet(at.Of(m.EXIF.Data))
		}
	}
	if e, ok := m.EXIF.Find(m.EXIF.First, tiff.TagIPTC); ok && m.IPTC.State == iptc.Missing {
		if at, ok := m.EXIF.Value(e); ok {
			m.IPTC = iptcOf(at.Of(m.EXIF.Data))
		}
	}
}

// iptcOf reads IPTC-IIM, in image resources or without them, from a place where it cannot be edited.
func iptcOf(data []byte) iptc.Resources {
	r := iptc.Parse(data)
	switch {
	case len(data) > 0 && data[0] == 0x1c:
		r = iptc.ParseBlock(data)
	case r.State == iptc.Sound:
		r.State = iptc.Odd
	}
	return r
}

// extended returns the extended XMP of a JPEG, whose parts may be in any order: those of the first packet up to the
// first gap. Of a packet that exceeds the limit, it returns more bytes than the limit.
func (l Layout) extended(data []byte, limit int) []byte {
	type part struct {
		offset uint32
		data   []byte
	}
	var parts []part
	digest := ""
	for _, b := range l.All(ExtendedXMP) {
		head := data[b.Whole.Start+4 : b.Data.Start]
		if len(head) < extensionHead {
			continue
		}
		head = head[len(extensionName):]
		if digest = cmp.Or(digest, string(head[:32])); digest == string(head[:32]) {
			parts = append(parts, part{binary.BigEndian.Uint32(head[36:]), b.Data.Of(data)})
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.offset, b.offset) })
	var all []byte
	for _, p := range parts {
		if int64(p.offset) == int64(len(all)) && len(all) <= limit {
			all = append(all, p.data...)
		}
	}
	return all
}
