package imagefile_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
)

func titled(title string) string {
	return `<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="` +
		title + `"/></rdf:RDF>`
}

func rawProfile(name, data string) string {
	return fmt.Sprintf("\n%s\n%8d\n%s\n", name, len(data), hex.EncodeToString([]byte(data)))
}

func viewOf(t *testing.T, file []byte) imagefile.Metadata {
	t.Helper()
	h, err := imagefile.Read(file, imagefile.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return h.Metadata(file, imagefile.MaxPacket)
}

// TestRawProfiles verifies that raw profiles are recognized by their content, in every spelling, and that the usual
// chunks come first.
func TestRawProfiles(t *testing.T) {
	exif, data := string(tiff(binary.BigEndian, 3, 6)), "\x1c\x02\x05\x00\x01x"
	resources := "8BIM\x04\x04\x00\x00\x00\x00\x00\x06" + data
	plain := encodePNG(t, gradient(4, 4))
	for name, c := range map[string]struct {
		keyword, data string
		want          string
	}{
		"EXIF":                       {"Raw profile type exif", "Exif\x00\x00" + exif, "EXIF"},
		"EXIF without its prefix":    {"raw profile type EXIF", exif, "EXIF"},
		"EXIF by its segment":        {"Raw profile type APP1", "Exif\x00\x00" + exif, "EXIF"},
		"XMP":                        {"Raw profile type xmp", titled("A"), "XMP"},
		"XMP by its segment":         {"Raw profile type app1", "http://ns.adobe.com/xap/1.0/\x00" + titled("A"), "XMP"},
		"IPTC":                       {"Raw profile type iptc", data, "IPTC"},
		"IPTC in resources":          {"Raw profile type iptc", resources, "IPTC"},
		"IPTC in a segment":          {"RAW PROFILE TYPE 8BIM", "Photoshop 3.0\x00" + resources, "IPTC"},
		"another kind":               {"Raw profile type icc", titled("A"), ""},
		"no profile":                 {"Raw profile type xmp", "", ""},
		"text under the name of XMP": {"Raw profile type xmp", "text", "further"},
	} {
		h, err := imagefile.Read(withChunk(plain, "tEXt", []byte(c.keyword+"\x00"+rawProfile("any", c.data))), imagefile.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		m := viewOf(t, withChunk(plain, "tEXt", []byte(c.keyword+"\x00"+rawProfile("any", c.data))))
		got := ""
		switch {
		case m.HasEXIF && m.RawEXIF && m.EXIFError == nil && m.EXIF.Orientation() == 6:
			got = "EXIF"
		case m.XMP != nil && m.Packet.Raw != nil && m.XMP.Text("dc:title") == "A":
			got = "XMP"
		case m.IPTC.State == iptc.Odd && slices.Equal(m.IPTC.Values(iptc.Title), []string{"x"}):
			got = "IPTC"
		case len(m.Further) == 1:
			got = "further"
		}
		if got != c.want || h.Orientation != 1 {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	both := withChunk(plain, "tEXt", []byte("Raw profile type xmp\x00"+rawProfile("xmp", titled("raw"))))
	both = withChunk(both, "iTXt", []byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00"+titled("usual")))
	if m := viewOf(t, both); m.Packet.Raw != nil || m.XMP.Text("dc:title") != "usual" || len(m.Further) != 1 || m.Further[0].Text("dc:title") != "raw" {
		t.Errorf("%+v", m.Packet)
	}
	for _, damaged := range []string{"", "\n", "\nxmp\n", "\nxmp\nmany\n00", "\nxmp\n 4\n\nzz", "\nxmp\n 4\n0", "xmp 4 00"} {
		if m := viewOf(t, withChunk(plain, "tEXt", []byte("Raw profile type xmp\x00"+damaged))); m.XMP != nil || m.Further != nil || m.Unread {
			t.Errorf("%q is read", damaged)
		}
	}
}

// TestRawProfilesAreBounded verifies that a profile beyond the limit is not kept, and that only some are decoded.
func TestRawProfilesAreBounded(t *testing.T) {
	plain := encodePNG(t, gradient(4, 4))
	huge := withChunk(plain, "tEXt", []byte("Raw profile type xmp\x00"+rawProfile("xmp", titled("A")+strings.Repeat(" ", imagefile.MaxRawProfile))))
	if m := viewOf(t, huge); m.XMP != nil || !m.Unread {
		t.Error("a huge profile is read")
	}
	many := plain
	for range 20 {
		many = withChunk(many, "tEXt", []byte("Raw profile type xmp\x00"+rawProfile("xmp", titled("A"))))
	}
	if m := viewOf(t, many); len(m.Further) != 7 || !m.Unread {
		t.Errorf("%d packets are read", len(m.Further))
	}
}

// TestExtendedXMP verifies that the parts of extended XMP are joined in their order.
func TestExtendedXMP(t *testing.T) {
	packet := titled("A")
	part := func(digest byte, offset int, text string) []byte {
		b := append([]byte("http://ns.adobe.com/xmp/extension/\x00"), bytes.Repeat([]byte{digest}, 32)...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(packet)))
		return segment(0xe1, append(binary.BigEndian.AppendUint32(b, uint32(offset)), text...)...)
	}
	picture := encodeJPEG(t, gradient(20, 10))
	for name, c := range map[string]struct {
		parts [][]byte
		title string
	}{
		"one":               {[][]byte{part('a', 0, packet)}, "A"},
		"in reverse":        {[][]byte{part('a', 90, packet[90:]), part('a', 0, packet[:90])}, "A"},
		"twice":             {[][]byte{part('a', 0, packet), part('a', 0, packet)}, "A"},
		"of another packet": {[][]byte{part('a', 0, packet), part('b', 0, titled("B"))}, "A"},
		"with a gap":        {[][]byte{part('a', 0, packet[:90]), part('a', 91, packet[91:])}, ""},
		"without a start":   {[][]byte{part('a', 1, packet)}, ""},
		"cut short":         {[][]byte{segment(0xe1, []byte("http://ns.adobe.com/xmp/extension/\x00abc")...)}, ""},
	} {
		file := slices.Concat(picture[:2], bytes.Join(c.parts, nil), picture[2:])
		title := ""
		if m := viewOf(t, file); len(m.Further) == 1 {
			title = m.Further[0].Text("dc:title")
		}
		if title != c.title {
			t.Errorf("%s: %q, want %q", name, title, c.title)
		}
	}
}

// TestLowerCaseKeywords verifies that the keywords of text chunks are read in every case.
func TestLowerCaseKeywords(t *testing.T) {
	file := withChunk(encodePNG(t, gradient(4, 4)), "tEXt", []byte("title\x00A"))
	m := viewOf(t, withChunk(file, "tEXt", []byte("AUTHOR\x00B")))
	if len(m.Texts) != 2 || m.Texts[0].Keyword != "Author" || m.Texts[1].Keyword != "Title" {
		t.Errorf("%+v", m.Texts)
	}
}

// TestMetadataBehindTheScan verifies that metadata behind the start of the pixels of a JPEG is not read.
func TestMetadataBehindTheScan(t *testing.T) {
	picture := encodeJPEG(t, gradient(20, 10))
	end := len(picture) - 2
	late := segment(0xe1, []byte("http://ns.adobe.com/xap/1.0/\x00"+titled("A"))...)
	if m := viewOf(t, slices.Concat(picture[:end], late, picture[end:])); m.XMP != nil {
		t.Error("it is read")
	}
}
