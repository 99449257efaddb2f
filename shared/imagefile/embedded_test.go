package imagefile_test

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// TestReadFindsTheMetadataOfAJPEG has each kind twice, and once in a wrong segment. It verifies that the first
// one in the right segment counts.
func TestReadFindsTheMetadataOfAJPEG(t *testing.T) {
	const icc, photoshop, xmp = "ICC_PROFILE\x00", "Photoshop 3.0\x00", "http://ns.adobe.com/xap/1.0/\x00"
	picture := encodeJPEG(t, gradient(20, 10))
	file := append(bytes.Clone(picture[:2]), bytes.Join([][]byte{
		segment(0xe2, []byte(xmp+"in the wrong segment")...),
		segment(0xe2, []byte(icc+"\x02\x02second part")...),
		segment(0xe2, []byte(icc+"\x04\x04after a gap")...),
		segment(0xe2, []byte(icc+"\x00\x02no number")...),
		segment(0xe2, []byte(icc+"\x01\x02first part")...),
		segment(0xe2, []byte(icc+"\x02\x02another second part")...),
		segment(0xe1, []byte(xmp)...),
		segment(0xe1, []byte(xmp+"<packet>")...),
		segment(0xe1, []byte(xmp+"<another>")...),
		segment(0xed, []byte("Photoshop 2.5\x00")...),
		segment(0xed, []byte(photoshop+"8BIM")...),
		segment(0xed, []byte(photoshop+"again")...),
	}, nil)...)
	file = append(file, picture[2:]...)
	h, err := imagefile.Read(file, imagefile.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[imagefile.Kind]string{imagefile.XMP: "<packet>", imagefile.Photoshop: "8BIM", imagefile.ICC: "first part"} {
		if b, ok := h.First(kind); !ok || string(b.Data.Of(file)) != want {
			t.Errorf("kind %d: %q, want %q", kind, b.Data.Of(file), want)
		}
	}
	if profile := h.Metadata(file, imagefile.MaxPacket).ICC.Data; string(profile) != "first partsecond part" {
		t.Errorf("profile %q", profile)
	}
	if len(h.All(imagefile.Words)) > 0 || h.Animated || h.Blocks[0].Late {
		t.Errorf("%+v", h)
	}
}

// TestReadReturnsTheQuantization covers 8 and 16 bits, and several tables in a segment. The table of the first
// component at the first scan counts.
func TestReadReturnsTheQuantization(t *testing.T) {
	table := func(id byte, value uint16) []byte {
		out := []byte{id}
		for i := range uint16(64) {
			if v := value + i; id >= 16 {
				out = append(out, byte(v>>8), byte(v))
			} else {
				out = append(out, byte(v))
			}
		}
		return out
	}
	frame := sof(0xc0, 8, 16, 16, 0x22, 0x11, 0x11)
	frame[4+6+2] = 1 // the first component uses table 1
	scan := append(sos(1, 2, 3), bytes.Repeat([]byte{0x55}, 20)...)
	for name, c := range map[string]struct {
		tables       []byte
		want, chroma uint16 // their first values; the other components use table 0
	}{
		"one of 8 bits":               {segment(0xdb, table(1, 7)...), 7, 0},
		"one of 16 bits after others": {segment(0xdb, append(append(table(0, 3), table(0x12, 9)...), table(0x11, 300)...)...), 300, 3},
		"defined again":               {append(segment(0xdb, table(1, 7)...), segment(0xdb, table(1, 8)...)...), 8, 0},
		"cut short":                   {segment(0xdb, table(1, 7)[:60]...), 0, 0},
		"of another component":        {segment(0xdb, table(0, 7)...), 0, 7},
	} {
		h, err := imagefile.Read(jpegOf(c.tables, frame, scan, segment(0xdb, table(1, 99)...), scan), imagefile.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := [64]uint16{}
		for i := range want {
			if c.want > 0 {
				want[i] = c.want + uint16(i)
			}
		}
		if h.Luma != want {
			t.Errorf("%s: %v", name, h.Luma)
		}
		if chroma := h.Chroma[0]; chroma != c.chroma {
			t.Errorf("%s: chroma starts with %d, want %d", name, chroma, c.chroma)
		}
	}
}

func TestReadFindsTheMetadataOfAPNG(t *testing.T) {
	file := encodePNG(t, gradient(20, 10))
	end := len(file) - 12
	file = slices.Concat(file[:end], chunk("sRGB", []byte("after the pixels")), file[end:])
	for _, c := range []struct{ kind, payload string }{ // each is inserted before the earlier ones
		{"iTXt", "XML:com.adobe.xmp\x00\x01\x00\x00\x00deflated"},
		{"iTXt", "XML:com.adobe.xmp\x00\x00\x00\x00\x00<packet>"},
		{"iTXt", "Title\x00\x00\x00de\x00Titel\x00Zürich"},
		{"iTXt", "Title\x00\x02\x00\x00\x00an unknown flag"},
		{"iTXt", "Title\x00\x00\x00de\x00no end"},
		{"tEXt", "Author\x00Jos\xe9"},
		{"tEXt", "\x00no keyword"},
		{"zTXt", "Comment\x00\x00stream"},
		{"zTXt", "Comment\x00\x01unknown method"},
		{"iCCP", "Display P3\x00\x00profile"},
		{"acTL", "\x00\x00\x00\x02\x00\x00\x00\x00"},
		{"gAMA", "the second one"},
		{"gAMA", "two"},
		{"cICP", "one"},
	} {
		file = withChunk(file, c.kind, []byte(c.payload))
	}
	for _, kind := range []string{"gAMA", "cHRM"} {
		damaged := chunk(kind, []byte("wrong checksum"))
		damaged[len(damaged)-1] ^= 1
		file = slices.Concat(file[:33], damaged, file[33:])
	}
	h, err := imagefile.Read(file, imagefile.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m := h.Metadata(file, imagefile.MaxPacket)
	want := []imagefile.Text{
		{Keyword: "Author", Value: []byte("Jos\xe9")},
		{Keyword: "Title", Value: []byte("Zürich"), UTF8: true},
	}
	if !reflect.DeepEqual(m.Texts, want) || string(m.Packet.Text) != "<packet>" || m.ICC.Name != "Display P3" || m.ICC.Data != nil || !h.Animated {
		t.Errorf("texts %+v, XMP %q, ICC %+v, animated %v", m.Texts, m.Packet.Text, m.ICC, h.Animated)
	}
	if m.Texts[0].String() != "José" {
		t.Errorf("got %q", m.Texts[0])
	}
	if !reflect.DeepEqual(m.Color, imagefile.Color{CICP: []byte("one"), Gamma: []byte("two")}) {
		t.Errorf("colors %+v", m.Color)
	}
	many := bytes.Repeat(append(chunk("tEXt", []byte("Title\x00again")), chunk("zTXt", []byte("Author\x00\x01unknown method"))...), 10_000)
	file = bytes.Join([][]byte{file[:33], many, file[33:]}, nil)
	if h, err = imagefile.Read(file, imagefile.Limits{}); err != nil || len(h.Blocks) != 4096 {
		t.Errorf("%d blocks, %v", len(h.Blocks), err)
	}
}

// TestAnimationAfterThePixelsIsIgnored verifies that an animation chunk after the pixels does not count, as in
// every viewer.
func TestAnimationAfterThePixelsIsIgnored(t *testing.T) {
	file := encodePNG(t, gradient(20, 10))
	end := len(file) - 12
	file = append(append(bytes.Clone(file[:end]), chunk("acTL", make([]byte, 8))...), file[end:]...)
	if h, err := imagefile.Read(file, imagefile.Limits{}); err != nil || h.Animated {
		t.Errorf("animated %v, %v", h.Animated, err)
	}
}
