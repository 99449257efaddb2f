package xmp

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// checkTokens checks a merge as an XML reader sees it: all other properties are present in their order, and
// ours equal described.
func checkTokens(t testing.TB, before, after string) {
	t.Helper()
	theirsBefore, _ := listProperties(t, before)
	theirsAfter, oursAfter := listProperties(t, after)
	if !slices.Equal(theirsBefore, theirsAfter) {
		t.Fatalf("foreign properties changed:\n%q\n%q\n%s\n%s", theirsBefore, theirsAfter, before, after)
	}
	if _, want := listProperties(t, string(New(described()))); !slices.Equal(oursAfter, want) {
		t.Fatalf("ours is %q, want %q\n%s", oursAfter, want, after)
	}
}

// listProperties lists the properties in the descriptions of a packet, others' and ours, each as a line with
// its path. It skips empty descriptions.
func listProperties(t testing.TB, packet string) (theirs, mine []string) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(strings.TrimRight(packet, "\x00")))
	var path []string
	place := func() string {
		return strings.Join(append([]string{""}, path[min(2, len(path)):]...), "/")
	}
	note := func(line string) {
		if len(path) > 1 && path[1] == rdfNamespace+" Description" && strings.HasPrefix(line, "/"+Namespace) {
			mine = append(mine, line)
		} else {
			theirs = append(theirs, line)
		}
	}
	for {
		token, err := dec.Token()
		if token == nil {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, packet)
		}
		switch x := token.(type) {
		case xml.StartElement:
			name := x.Name.Space + " " + x.Name.Local
			if strings.HasPrefix(name, metaNamespace) {
				continue
			}
			path = append(path, name)
			if len(path) > 2 {
				note(place())
			} else if len(path) == 2 && name != rdfNamespace+" Description" {
				note("typed node " + name)
			}
			for _, a := range x.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" && a.Name.Local != "about" {
					note(place() + "/" + a.Name.Space + " " + a.Name.Local + "=" + a.Value)
				}
			}
		case xml.EndElement:
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
		case xml.CharData:
			if text := strings.TrimSpace(string(x)); text != "" && len(path) > 2 {
				note(place() + ": " + text)
			}
		case xml.Comment:
			if len(path) < 3 || !strings.HasPrefix(path[2], Namespace) {
				theirs = append(theirs, fmt.Sprintf("comment %s", x))
			}
		}
	}
	return theirs, mine
}

// somePacket generates packets as programs write them, with properties of ours anywhere in them.
func somePacket() *rapid.Generator[string] {
	blank := rapid.SampledFrom([]string{"", "", " ", "\n", "\n  ", "\n\t", "\r\n   "})
	gap := rapid.SampledFrom([]string{" ", "\n", "\n    ", "\t", "\r\n"})
	value := rapid.SampledFrom([]string{"", "1", "x y", "&lt;&amp;", "&#x41;", "/", ">", "é", "]]", "Straße"})
	name := rapid.SampledFrom([]string{"a:One", "a:Two", "b:Three", "i:Width", "i:Old", "imagebatch:PHash"})
	attribute := rapid.Custom(func(t *rapid.T) string {
		quote := rapid.SampledFrom([]string{`"`, `'`}).Draw(t, "quote")
		equals := rapid.SampledFrom([]string{"=", "=", " = "}).Draw(t, "equals")
		return name.Draw(t, "name") + equals + quote + value.Draw(t, "value") + quote
	})
	var element func(depth int) *rapid.Generator[string]
	element = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			n := name.Draw(t, "element")
			if depth == 0 || rapid.Bool().Draw(t, "closed") {
				return "<" + n + "/>"
			}
			inside := value.Draw(t, "text")
			if strings.Contains(inside, "]]") || inside == ">" {
				inside = "<![CDATA[" + inside + "]]>"
			}
			for _, e := range rapid.SliceOfN(element(depth-1), 0, 2).Draw(t, "inside") {
				inside += blank.Draw(t, "blank") + e
			}
			return "<" + n + ">" + inside + "</" + n + ">"
		})
	}
	description := rapid.Custom(func(t *rapid.T) string {
		tag := rapid.SampledFrom([]string{"rdf:Description", "rdf:Description", "rdf:Description", "a:Thing"}).Draw(t, "tag")
		s := "<" + tag + rapid.SampledFrom([]string{"", ` rdf:about=""`, ` rdf:about='uuid:1'`, " about='uuid:2'"}).Draw(t, "about")
		for _, a := range rapid.SliceOfNDistinct(attribute, 0, 4, func(a string) string { return a[:strings.IndexAny(a, " =")] }).Draw(t, "attributes") {
			s += gap.Draw(t, "gap") + a
		}
		s += rapid.SampledFrom([]string{"", " ", "\n"}).Draw(t, "end")
		elements := rapid.SliceOfN(element(2), 0, 3).Draw(t, "elements")
		if len(elements) == 0 && rapid.Bool().Draw(t, "empty") {
			return s + "/>"
		}
		s += ">"
		for _, e := range elements {
			s += blank.Draw(t, "blank") + e
			if rapid.IntRange(0, 9).Draw(t, "comment") == 0 {
				s += "<!-- note -->"
			}
		}
		return s + blank.Draw(t, "blank") + "</" + tag + ">"
	})
	return rapid.Custom(func(t *rapid.T) string {
		s := "<rdf:RDF " + rdf + " xmlns:a='urn:a' xmlns:b=\"urn:b\" xmlns:i='" + Namespace + "'\n" + ours + ">"
		for _, d := range rapid.SliceOfN(description, 0, 4).Draw(t, "descriptions") {
			s += blank.Draw(t, "blank") + d
		}
		s += blank.Draw(t, "blank") + "</rdf:RDF>"
		if rapid.Bool().Draw(t, "wrapped") {
			s = packetHeader + `<x:xmpmeta xmlns:x="adobe:ns:meta/">` + blank.Draw(t, "blank") + s +
				blank.Draw(t, "blank") + "</x:xmpmeta>" + blank.Draw(t, "padding") + packetTrailer
		}
		return s + rapid.SampledFrom([]string{"", "\n", "\x00"}).Draw(t, "tail")
	})
}

func TestMergeAnyPacket(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		merge(rapidTB{t, rt}, somePacket().Draw(rt, "packet"))
	})
}

// rapidTB lets checks that take a testing.TB fail a rapid check.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (b rapidTB) Helper()                           {}
func (b rapidTB) Fatalf(format string, args ...any) { b.rt.Fatalf(format, args...) }
func (b rapidTB) Fatal(args ...any)                 { b.rt.Fatal(args...) }

// FuzzParse parses packets of untrusted clients. It verifies that a merge keeps the properties of an accepted
// packet and adds ours, and that merging again changes nothing.
func FuzzParse(f *testing.F) {
	f.Add(string(New(described())))
	f.Add("<rdf:RDF " + rdf + "><rdf:Description rdf:about='' xmlns:a='urn:a' a:b='c'/></rdf:RDF>\x00")
	f.Add("<rdf:RDF " + rdf + " xmlns:i='" + Namespace + "'><rdf:Description i:Width='1'>\n <i:Old/> <!-- x --></rdf:Description></rdf:RDF>")
	f.Add("<!DOCTYPE a []><x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF " + rdf + "/></x:xmpmeta>")
	f.Fuzz(func(t *testing.T, packet string) {
		if _, err := parse(packet); err != nil {
			return
		}
		merge(t, packet)
	})
}

// TestParseIsLinear verifies that a packet of 4 MiB, which fits into a PNG of a few kilobytes, costs no more if
// it consists of very small parts. Reading these packets took minutes to hours.
func TestParseIsLinear(t *testing.T) {
	const size = 2 << 20
	for name, c := range map[string]struct{ before, part, after string }{
		"attributes with a place": {`<a:b xmlns:a="urn:a"><rdf:li`, ` GPSa=""`, `/></a:b>`},
		"text in pieces":          {`<dc:title xmlns:dc="` + dcNamespace + `"><rdf:Alt><rdf:li>`, `a<!---->`, `</rdf:li></rdf:Alt></dc:title>`},
	} {
		t.Run(name, func(t *testing.T) {
			packet := "<rdf:RDF " + rdf + "><rdf:Description>" + c.before + strings.Repeat(c.part, size/len(c.part)) + c.after + "</rdf:Description></rdf:RDF>"
			done := make(chan error, 1)
			go func() {
				_, err := parse(packet)
				done <- err
			}()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("not parsed after a minute")
			}
		})
	}
}
