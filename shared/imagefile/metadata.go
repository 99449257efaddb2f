package imagefile

import (
	"bytes"
	"compress/zlib"
	"io"
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/charset"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
)

// Limits for expanding deflated metadata, in bytes.
const (
	MaxPacket  = 4 << 20  // an XMP packet, deflated or not
	maxFurther = 1 << 20  // a further packet
	MaxProfile = 4 << 20  // a color profile; those for CMYK have 0.5 to 3 MB
	maxText    = 16 << 10 // a text of a PNG, deflated or not
)

// Metadata is what a file says about itself: every block that readers use, parsed once. The parts alias the
// file, and they know their places in it.
type Metadata struct {
	// EXIF is the EXIF block. EXIFError is not nil if there is a block that is no TIFF structure.
	EXIF      tiff.Block
	EXIFError error
	HasEXIF   bool // there is a block, readable or not
	RawEXIF   bool // it is in a raw profile, where it is not edited

	// XMP is the packet; nil if there is none, or if it cannot be read at all.
	XMP    *xmp.Packet
	Packet Packet
	// Further are packets that only some readers use: extended XMP, second packets, and those in EXIF. Unread
	// means that there are more, which are too large or too many.
	Further []*xmp.Packet
	Unread  bool

	IPTC  iptc.Resources
	Texts []Text // the first text of each keyword that the analyzer reads
	ICC   Profile
	Color Color
}

// Profile is a color profile.
type Profile struct {
	Name string // from the chunk of a PNG
	Data []byte // the profile, cut after MaxProfile+1 bytes; nil if there is none
	Odd  bool   // its chunk cannot be read
}

// Color contains the specifications of the colors of a file other than its profile. The payloads are nil if the
// file lacks the chunk, or if it is damaged.
type Color struct {
	CICP           []byte // payload of the PNG chunk cICP
	SRGB           []byte // payload of the PNG chunk sRGB
	Gamma          []byte // payload of the PNG chunk gAMA
	Chromaticities []byte // payload of the PNG chunk cHRM
	AdobeRGB       bool   // according to the EXIF block
}

// Packet is the text of an XMP packet.
type Packet struct {
	Text     []byte
	Raw      *RawBlock // the raw profile that contains it, or nil
	Damaged  bool      // the chunk with the packet is damaged; Text is the part before the damage
	TooLarge bool      // the packet is longer than its limit
}

// Metadata parses the metadata of a file. XMP packets of more than maxPacket bytes are not parsed.
func (l Layout) Metadata(data []byte, maxPacket int) Metadata {
	var m Metadata
	if b, ok := l.First(EXIF); ok && !b.Odd && !b.Data.Empty() {
		m.HasEXIF = true
		m.EXIF, m.EXIFError = tiff.Parse(b.Data.Of(data))
		m.Color.AdobeRGB = m.EXIFError == nil && m.EXIF.AdobeRGB()
	}
	if b, ok := l.First(XMP); ok {
		m.Packet = b.packet(data, maxPacket)
		if !m.Packet.TooLarge {
			m.XMP = xmp.Parse(m.Packet.Text)
		}
	}
	if resources := l.Resources(data); resources != nil {
		m.IPTC = iptc.Parse(resources)
	}
	m.addFurther(l, data, min(maxPacket, maxFurther))
	if b, ok := l.First(ICC); ok {
		m.ICC = b.profile(data, l.All(ExtendedICC))
	}
	for kind, payload := range map[Kind]*[]byte{CICP: &m.Color.CICP, SRGB: &m.Color.SRGB, Gamma: &m.Color.Gamma, Chromaticities: &m.Color.Chromaticities} {
		if b, ok := l.First(kind); ok && !b.Odd {
			*payload = b.Data.Of(data)
		}
	}
	for _, b := range l.Blocks {
		if b.Kind == Words && !b.Odd {
			m.Texts = append(m.Texts, *b.Text)
		}
	}
	return m
}

// packet returns the text of an XMP packet.
func (b Block) packet(data []byte, limit int) Packet {
	p := Packet{Text: b.Data.Of(data), Damaged: b.Odd}
	if b.Odd {
		p.Text = nil
	} else if b.Text != nil && b.Text.Deflated {
		var err error
		p.Text, err = inflate(b.Text.Value, limit+1)
		p.Damaged = err != nil
	}
	p.TooLarge = len(p.Text) > limit
	return p
}

// profile returns the color profile that begins in a block. In a JPEG, more contains its further parts in any
// order, and the profile ends before the first one that is missing.
func (b Block) profile(data []byte, more []Block) Profile {
	switch {
	case b.Odd:
		return Profile{Odd: true}
	case b.Text == nil:
		return Profile{Data: joined(b.Data.Of(data), data, more)}
	}
	// The output of a damaged stream before the damage is kept.
	profile, _ := inflate(b.Text.Value, MaxProfile+1)
	return Profile{Name: charset.Latin1([]byte(b.Text.Keyword)), Data: profile}
}

// joined returns the first part of a profile and its further parts. The first one of a number counts.
func joined(profile, data []byte, more []Block) []byte {
	parts := [256][]byte{1: profile}
	for _, b := range more {
		if number := data[b.Data.Start-2]; parts[number] == nil {
			parts[number] = b.Data.Of(data)
		}
	}
	end := 2
	for end < len(parts) && parts[end] != nil {
		end++
	}
	if end > 2 {
		profile = slices.Concat(parts[1:end]...)
	}
	return profile[:min(len(profile), MaxProfile+1)]
}

// String returns the text, of at most 16 KiB. Some programs write UTF-8 into the chunks of Latin-1.
func (t Text) String() string {
	value := t.Value
	if t.Deflated {
		value, _ = inflate(value, maxText) // the output before any damage is kept
	}
	if len(value) >= maxText {
		value = charset.WholeRunes(value[:maxText])
	}
	return charset.Guess(value)
}

// inflate returns at most the first limit bytes of a zlib stream, and those before its damage.
func inflate(stream []byte, limit int) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(stream))
	if err != nil {
		return nil, err //nolint:wrapcheck // callers only distinguish nil
	}
	return io.ReadAll(io.LimitReader(r, int64(limit)))
}
