package xmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
)

const (
	rdf  = `xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"`
	ours = `xmlns:imagebatch="` + Namespace + `"`
)

func described() Description {
	return Describe([]Property{
		{Name: "AnalyzerVersion", Value: "1", Core: true},
		{Name: "Format", Value: "png", Core: true},
		{Name: "Width", Value: "3", Core: true},
		{Name: "Height", Value: "2", Core: true},
		{Name: "OriginalSHA256", Value: "ab", Core: true},
		{Name: "OriginalFileSize", Value: "9"},
		{Name: "DominantColors", Values: []string{"#112233"}, List: "Seq"},
		{Name: "PHash", Value: "00"},
		{Name: "ICCProfile"},
		{Name: "Flags", List: "Seq"},
	})
}

// parse returns a packet that can be edited.
func parse(packet string) (*Packet, error) {
	p := Parse([]byte(packet))
	return p, p.Editable()
}

// merge merges described into a packet and checks the invariants of every packet.
func merge(t testing.TB, packet string) string {
	t.Helper()
	p, err := parse(packet)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	merged := p.Merge(described())
	for _, form := range [][]byte{merged, p.MergeCompact(described())} {
		again, err := parse(string(form))
		if err != nil {
			t.Fatalf("the merged packet does not parse: %v\n%s", err, form)
		}
		if twice := again.Merge(described()); !bytes.Equal(twice, form) {
			t.Fatalf("merging twice differs from merging once:\n%s\n%s", form, twice)
		}
		text, _ := inUTF8([]byte(packet))
		checkTokens(t, string(text), string(form))
	}
	return string(merged)
}

// own is our description as it appears in a packet that binds the prefix rdf.
func own(about string) string {
	var b strings.Builder
	described().write(&b, about, true)
	return b.String()
}

// TestMergeBytes verifies, byte for byte, where our description is inserted and what is removed for it.
func TestMergeBytes(t *testing.T) {
	for _, c := range []struct{ name, packet, want string }{
		{
			"after the last description",
			"<rdf:RDF " + rdf + ">\n <rdf:Description rdf:about='' xmlns:a='urn:a' a:b='c'/>\n</rdf:RDF>",
			"<rdf:RDF " + rdf + ">\n <rdf:Description rdf:about='' xmlns:a='urn:a' a:b='c'/>\n  " + own("") + "\n</rdf:RDF>",
		},
		{
			"an empty RDF",
			"<rdf:RDF " + rdf + "></rdf:RDF>",
			"<rdf:RDF " + rdf + ">\n  " + own("") + "</rdf:RDF>",
		},
		{
			"a closed RDF",
			`<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF ` + rdf + `/></x:xmpmeta>`,
			`<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF ` + rdf + ">\n  " + own("") + "\n </rdf:RDF></x:xmpmeta>",
		},
		{
			"our description has the file's subject",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about='uuid:1&amp;2' xmlns:a='urn:a' a:b='c'/></rdf:RDF>",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about='uuid:1&amp;2' xmlns:a='urn:a' a:b='c'/>\n  " + own("uuid:1&2") + "</rdf:RDF>",
		},
		{
			"an old description of ours is removed",
			"<rdf:RDF " + rdf + ">\n  <rdf:Description rdf:about=\"\" " + ours + " imagebatch:Width=\"1\"><imagebatch:Old>x</imagebatch:Old></rdf:Description>\n <rdf:Description rdf:about=''/></rdf:RDF>",
			"<rdf:RDF " + rdf + ">\n <rdf:Description rdf:about=''/>\n  " + own("") + "</rdf:RDF>",
		},
		{
			"our old description's subject is kept",
			"<rdf:RDF " + rdf + ">\n  <rdf:Description rdf:about='uuid:3' " + ours + " imagebatch:Width='1'/></rdf:RDF>",
			"<rdf:RDF " + rdf + ">\n  " + own("uuid:3") + "</rdf:RDF>",
		},
		{
			"the subject of others takes precedence",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about='uuid:3' " + ours + " imagebatch:Width='1'/><rdf:Description rdf:about='uuid:4'/></rdf:RDF>",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about='uuid:4'/>\n  " + own("uuid:4") + "</rdf:RDF>",
		},
		{
			"our properties among others are removed",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about='' " + ours + " xmlns:a='urn:a'\n  imagebatch:Width = '1>\"'\ta:b='c'>\n\t<imagebatch:PHash>1</imagebatch:PHash>\n\t<a:d/> <imagebatch:X/></rdf:Description></rdf:RDF>",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about='' " + ours + " xmlns:a='urn:a'\ta:b='c'>\n\t<a:d/> </rdf:Description>\n  " + own("") + "</rdf:RDF>",
		},
		{
			"another prefix for our namespace",
			"<rdf:RDF " + rdf + " xmlns:ib='" + Namespace + "'><rdf:Description rdf:about='' ib:Width='1'/></rdf:RDF>",
			"<rdf:RDF " + rdf + " xmlns:ib='" + Namespace + "'>\n  " + own("") + "</rdf:RDF>",
		},
		{
			"our prefix for another namespace",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about='' xmlns:imagebatch='urn:theirs' imagebatch:Width='1'/></rdf:RDF>",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about='' xmlns:imagebatch='urn:theirs' imagebatch:Width='1'/>\n  " + own("") + "</rdf:RDF>",
		},
		{
			"a description with a comment stays",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about=''><!-- mine --><i:Width xmlns:i='" + Namespace + "'>1</i:Width></rdf:Description></rdf:RDF>",
			"<rdf:RDF " + rdf + "><rdf:Description rdf:about=''><!-- mine --></rdf:Description>\n  " + own("") + "</rdf:RDF>",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := merge(t, c.packet); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestMergeWithoutThePrefixRDF(t *testing.T) {
	got := merge(t, `<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>`)
	if !strings.HasSuffix(got, "</RDF>") || strings.Count(got, rdf) != 1 {
		t.Error(got)
	}
}

// TestMergeTakes lists packets that are unusual but valid.
func TestMergeAccepts(t *testing.T) {
	inner := "<rdf:RDF " + rdf + "><rdf:Description about='x' xmlns:a='urn:a'><a:b>&lt;&#x41;<![CDATA[<]]></a:b></rdf:Description></rdf:RDF>"
	for name, packet := range map[string]string{
		"bare":             inner,
		"byte order mark":  "\ufeff" + inner,
		"XML declaration":  `<?xml version="1.0" encoding="utf-8"?>` + inner,
		"packet header":    string(packetHeader) + inner + "\n  \n" + packetTrailer,
		"zeros at the end": inner + "\x00\x00\x00",
		"old wrapper":      `<x:xapmeta xmlns:x="adobe:ns:meta/">` + inner + `</x:xapmeta>`,
		"comments":         "<!-- a -->" + inner + "<!-- b -->",
		"a typed node":     "<rdf:RDF " + rdf + " xmlns:a='urn:a'><a:Thing " + ours + " imagebatch:Width='1'/></rdf:RDF>",
		"ours, new":        string(New(described())),
		"ours, core":       string(New(described().Core())),
	} {
		t.Run(name, func(t *testing.T) { merge(t, packet) })
	}
}

func TestMergeCompactRemovesOnlyThePadding(t *testing.T) {
	inner := "<rdf:RDF " + rdf + ">  \n</rdf:RDF>"
	p, err := parse(packetHeader + inner + "\n \n \n" + packetTrailer + " \x00\x00")
	if err != nil {
		t.Fatal(err)
	}
	want := packetHeader + "<rdf:RDF " + rdf + ">\n  " + own("") + "  \n</rdf:RDF>" + packetTrailer
	if got := string(p.MergeCompact(described())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestParseRefuses lists packets that are rejected.
func TestParseRefuses(t *testing.T) {
	wrap := func(s string) string { return "<rdf:RDF " + rdf + ">" + s + "</rdf:RDF>" }
	deep := strings.Repeat("<a>", MaxDepth) + strings.Repeat("</a>", MaxDepth)
	for name, packet := range map[string]string{
		"nothing":                "",
		"zeros":                  "\x00\x00",
		"text":                   "hello",
		"white space":            "  \n",
		"another element":        "<html/>",
		"an empty wrapper":       `<x:xmpmeta xmlns:x="adobe:ns:meta/"/>`,
		"another namespace":      `<rdf:RDF xmlns:rdf="urn:x"/>`,
		"no namespace":           `<rdf:RDF></rdf:RDF>`,
		"two roots":              wrap("") + wrap(""),
		"two RDF":                `<x:xmpmeta xmlns:x="adobe:ns:meta/">` + wrap("") + wrap("") + `</x:xmpmeta>`,
		"two wrappers":           `<x:xmpmeta xmlns:x="adobe:ns:meta/">` + wrap("") + `</x:xmpmeta><x:xmpmeta xmlns:x="adobe:ns:meta/"/>`,
		"RDF in another element": `<x:xmpmeta xmlns:x="adobe:ns:meta/"><y>` + wrap("") + `</y></x:xmpmeta>`,
		"text after the RDF":     wrap("") + "text",
		"not closed":             "<rdf:RDF " + rdf + ">",
		"cut off":                "<rdf:RDF " + rdf + "><rdf:Descr",
		"crossed":                wrap("<a><b></a></b>"),
		"unquoted":               wrap("<a b=c/>"),
		"UTF-16":                 "\xff\xfe<\x00r\x00",
		"Latin-1":                wrap("<a>caf\xe9</a>"),
		"declared Latin-1":       `<?xml version="1.0" encoding="ISO-8859-1"?>` + wrap(""),
		"DOCTYPE":                "<!DOCTYPE x>" + wrap(""),
		"entity bomb":            `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>` + wrap("&b;"),
		"unknown entity":         wrap("<a>&b;</a>"),
		"invalid XML character":  wrap("<a>&#0;</a>"),
		"deep":                   wrap(deep),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(packet); !errors.Is(err, ErrRefused) {
				t.Errorf("error %v, want ErrRefused", err)
			}
		})
	}
}

// TestProvenance verifies that dcterms:provenance counts as Content Credentials only if it links to a manifest, in
// whichever form it is written.
func TestProvenance(t *testing.T) {
	const terms = `xmlns:q="http://purl.org/dc/terms/"`
	element := func(content string) string { return "<rdf:Description " + terms + ">" + content + "</rdf:Description>" }
	for packet, want := range map[string]bool{
		"<rdf:Description " + terms + " q:provenance='https://example.com'/>":                                          true,
		"<rdf:Description " + terms + " q:provenance=' self#jumbf=/c2pa/urn:uuid:1'/>":                                 true,
		"<rdf:Description " + terms + " q:provenance='Gift of Mrs. Smith, 1921'/>":                                     false,
		"<rdf:Description " + terms + " q:provenance='https://example.com has the history'/>":                          false,
		"<rdf:Description " + terms + " q:provenance=''/>":                                                             false,
		"<rdf:Description " + terms + " q:created='2020' q:source='https://example.com'/>":                             false,
		"<rdf:Description xmlns:q='urn:q' q:provenance='https://example.com'/>":                                        false,
		element("<q:provenance>\n HTTPS://example.com/x.c2pa\n</q:provenance>"):                                        true,
		element("<q:provenance>Bought at an auction</q:provenance>"):                                                   false,
		element("<q:provenance>Bought</q:provenance><q:source>https://example.com</q:source>"):                         false,
		element("<q:provenance rdf:resource='http://example.com/x'/>"):                                                 true,
		element("<q:provenance><rdf:Bag><rdf:li>Bought</rdf:li><rdf:li>http://a.b/</rdf:li></rdf:Bag></q:provenance>"): true,
		element("<q:provenance><rdf:Description rdf:value='self#jumbf=c2pa'/></q:provenance>"):                         true,
	} {
		packet = "<rdf:RDF " + rdf + ">" + packet + "</rdf:RDF>"
		p, err := parse(packet)
		if err != nil {
			t.Fatal(err)
		}
		if p.HasProvenance() != want {
			t.Errorf("%s: %v, want %v", packet, p.HasProvenance(), want)
		}
		if !strings.Contains(packet, "rdf:Bag") && !strings.Contains(packet, "urn:q") && !strings.Contains(packet, "rdf:value") && MentionsProvenance([]byte(packet)) != want {
			t.Errorf("unparsed, %s: %v, want %v", packet, !want, want)
		}
	}
}

// TestUTF16 verifies that a packet in UTF-16 is read like one in UTF-8, and that a merge writes it in UTF-8.
func TestUTF16(t *testing.T) {
	const text = `<?xml version="1.0" encoding="UTF-16"?><?xpacket begin="` + "\ufeff" + `" id="x"?>` +
		`<rdf:RDF ` + rdf + ` xmlns:dc="` + dcNamespace + `"><rdf:Description dc:title="Grün 😀"/></rdf:RDF><?xpacket end="w"?>`
	for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
		for _, mark := range []string{"", "\ufeff"} {
			var packet []byte
			for _, unit := range utf16.Encode([]rune(mark + text)) {
				packet = order.AppendUint16(packet, unit)
			}
			p, err := parse(string(packet))
			if err != nil {
				t.Fatal(err)
			}
			if title := p.Text("dc:title"); title != "Grün 😀" {
				t.Errorf("title %q", title)
			}
			if _, rest, _ := strings.Cut(text, "?>"); string(p.Merge(Description{})[:60]) != rest[:60] || merge(t, string(packet)) != merge(t, rest) {
				t.Error("the merged packet differs from that of the packet in UTF-8")
			}
		}
	}
	for _, broken := range []string{"\xfe\xff\x00<\xd8\x00", "\xfe\xff\x00<\xdc\x00\xdc\x00", "\xfe\xff\x00<\x01"} {
		if _, err := parse(broken); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: error %v, want ErrRefused", broken, err)
		}
	}
}

// TestEmpty verifies which packets contain nothing.
func TestEmpty(t *testing.T) {
	for packet, want := range map[string]bool{
		"": true, "\x00\x00": true, "  \n": true, packetHeader + "  \n" + packetTrailer: true, `<x:xmpmeta xmlns:x="adobe:ns:meta/"> </x:xmpmeta>`: true,
		"text": false, "<html/>": false, `<x:xmpmeta xmlns:x="adobe:ns:meta/">text</x:xmpmeta>`: false, "<!-- a remark -->": false,
		`<x:xmpmeta xmlns:x="adobe:ns:meta/">`: false, "<rdf:RDF " + rdf + "/>": false, "<?other program?>": false,
	} {
		if got := Parse([]byte(packet)).Empty(); got != want {
			t.Errorf("%q: %v, want %v", packet, got, want)
		}
	}
}
