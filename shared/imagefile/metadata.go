package imagefile

import (
	"bytes"
	"compress/zlib"
	"io"

	"github.com/imagebatch/imagebatch/shared/imagefile/charset"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
)

// Limits for expanding deflated metadata, in bytes.
const (
	MaxPacket  = 4 << 20  // an XMP packet, deflated or not
	maxFurther = 1 << 20  // a further packet
	maxText    = 16 << 10 // a text of a PNG, deflated or not
	maxProfile = 64 << 10 // a color profile, from its start, where the description is
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
}

// Profile is a color profile.
type Profile struct {
	Name string // from the chunk of a PNG
	Data []byte // the start of the profile; nil if there is none
	Odd  bool   // its chunk cannot be read
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
		m.ICC = b.profile(data)
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

// profile returns the color profile. In a JPEG, that is the part in its first segment.
func (b Block) profile(data []byte) Profile {
	if b.Odd || b.Text == nil {
		return Profile{Data: b.Data.Of(data), Odd: b.Odd}
	}
	// The output of a damaged stream before the damage is kept.
	profile, _ := inflate(b.Text.Value, maxProfile)
	return Profile{Name: charset.Latin1([]byte(b.Text.Keyword)), Data: profile}
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
