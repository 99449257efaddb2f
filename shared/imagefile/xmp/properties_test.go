package xmp

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestValuesBeforeTheDamage verifies that all complete values before the first unreadable part are kept.
func TestValuesBeforeTheDamage(t *testing.T) {
	p := Parse([]byte("<rdf:RDF " + rdf + ` xmlns:dc='` + dcNamespace + `'><rdf:Description dc:title='A'><dc:subject><rdf:Bag><rdf:li>x</rdf:li><rdf:li>y</rdf:li><rdf:li>z</dc:subject>`))
	if p.Damage() == nil || p.Editable() == nil {
		t.Errorf("damage %v, editable %v", p.Damage(), p.Editable())
	}
	if got := p.Texts("dc:subject"); p.Text("dc:title") != "A" || !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("title %q, keywords %q", p.Text("dc:title"), got)
	}
}

const namespaces = rdf + ` xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:lr='http://ns.adobe.com/lightroom/1.0/' ` +
	`xmlns:digiKam='http://www.digikam.org/ns/1.0/' xmlns:mp='http://ns.microsoft.com/photo/1.0/' xmlns:mediapro='http://ns.iview-multimedia.com/mediapro/1.0/' ` +
	`xmlns:acdsee='http://ns.acdsee.com/iptc/1.0/' xmlns:photoshop='http://ns.adobe.com/photoshop/1.0/' xmlns:q='urn:q'`

func packetOf(t *testing.T, properties string) *Packet {
	t.Helper()
	p := Parse([]byte("<rdf:RDF " + namespaces + "><rdf:Description rdf:about=''" + properties + "</rdf:Description></rdf:RDF>"))
	if err := p.Editable(); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestQualifiedValues covers the forms of a value with qualifiers (ISO 16684-1, 7.8).
func TestQualifiedValues(t *testing.T) {
	const bag = "><dc:subject><rdf:Bag>%</rdf:Bag></dc:subject>"
	for name, items := range map[string]string{
		"a resource":              "<rdf:li rdf:parseType='Resource'><rdf:value>A</rdf:value><q:by>x</q:by></rdf:li><rdf:li>B</rdf:li>",
		"a qualifier first":       "<rdf:li rdf:parseType='Resource'><q:by>x</q:by><rdf:value>A</rdf:value></rdf:li><rdf:li>B</rdf:li>",
		"a description":           "<rdf:li><rdf:Description><rdf:value>A</rdf:value><q:by><rdf:Bag><rdf:li>x</rdf:li></rdf:Bag></q:by></rdf:Description></rdf:li><rdf:li>B</rdf:li>",
		"a description, indented": "<rdf:li>\n <rdf:Description>\n  <rdf:value>A</rdf:value>\n  <q:by>x</q:by>\n </rdf:Description>\n</rdf:li>\n<rdf:li>B</rdf:li>",
		"attributes":              "<rdf:li rdf:value='A' q:by='x'/><rdf:li><rdf:Description q:by='x' rdf:value='B'/></rdf:li>",
	} {
		p := packetOf(t, strings.Replace(bag, "%", items, 1))
		if got := p.Texts("dc:subject"); !slices.Equal(got, []string{"A", "B"}) || !p.States(pipeline.Keywords) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, property := range map[string]string{
		"a resource":        "><dc:title rdf:parseType='Resource'><rdf:value>A</rdf:value><q:by>x</q:by></dc:title>",
		"a qualifier first": "><dc:title rdf:parseType='Resource'><q:by>x</q:by><rdf:value>A</rdf:value></dc:title>",
		"a description":     "><dc:title><rdf:Description><q:by>x</q:by><rdf:value>A</rdf:value></rdf:Description></dc:title>",
		"attributes":        "><dc:title rdf:value='A' q:by='x'/>",
		"in a language":     "><dc:title><rdf:Alt><rdf:li xml:lang='x-default' rdf:parseType='Resource'><rdf:value>A</rdf:value><q:by>x</q:by></rdf:li></rdf:Alt></dc:title>",
	} {
		p := packetOf(t, property)
		if got := p.Texts("dc:title"); !slices.Equal(got, []string{"A"}) || !p.States(pipeline.Title) {
			t.Errorf("title, %s: %q", name, got)
		}
	}
}

// TestDefaultLanguageWithoutText verifies that the first language with a text counts if the default one has none.
func TestDefaultLanguageWithoutText(t *testing.T) {
	for items, want := range map[string]string{
		"<rdf:li xml:lang='x-default'/><rdf:li xml:lang='de'>Boot</rdf:li><rdf:li xml:lang='en'>Boat</rdf:li>": "Boot",
		"<rdf:li xml:lang='x-default'> </rdf:li><rdf:li xml:lang='de'>\n</rdf:li><rdf:li>Boat</rdf:li>":        "Boat",
		"<rdf:li xml:lang='de'>Boot</rdf:li><rdf:li xml:lang='X-Default'>Boat</rdf:li>":                        "Boat",
		"<rdf:li xml:lang='x-default'/>": "",
	} {
		if got := packetOf(t, "><dc:title><rdf:Alt>"+items+"</rdf:Alt></dc:title>").Text("dc:title"); got != want {
			t.Errorf("%s: %q, want %q", items, got, want)
		}
	}
}

// TestKeywordPaths covers the properties in which programs store keywords with levels.
func TestKeywordPaths(t *testing.T) {
	list := func(property, item string) string {
		return "><" + property + "><rdf:Bag><rdf:li>" + item + "</rdf:li></rdf:Bag></" + property + ">"
	}
	const acdsee = `&lt;Categories&gt;&lt;Category Assigned="0"&gt;Places&lt;Category Assigned="1"&gt;Dresden&lt;/Category&gt;&lt;Category Assigned="0"&gt;Bonn&lt;/Category&gt;&lt;/Category&gt;&lt;/Categories&gt;`
	for name, c := range map[string]struct {
		properties string
		want       [][]string
	}{
		"Lightroom":          {list("lr:hierarchicalSubject", "Places|Dresden"), [][]string{{"Places", "Dresden"}}},
		"one level":          {list("lr:hierarchicalSubject", "a/b"), [][]string{{"a/b"}}},
		"empty levels":       {list("lr:hierarchicalSubject", "| Places | |Dresden|"), [][]string{{"Places", "Dresden"}}},
		"digiKam":            {list("digiKam:TagsList", "Places/Dresden"), [][]string{{"Places", "Dresden"}}},
		"Windows":            {list("mp:LastKeywordXMP", "Places/Dresden"), [][]string{{"Places", "Dresden"}}},
		"Media Pro":          {list("mediapro:CatalogSets", "Places|Dresden"), [][]string{{"Places", "Dresden"}}},
		"ACDSee":             {"><acdsee:categories>" + acdsee + "</acdsee:categories>", [][]string{{"Places", "Dresden"}}},
		"ACDSee, attribute":  {" acdsee:Categories='" + acdsee + "'>", [][]string{{"Places", "Dresden"}}},
		"ACDSee, cut short":  {"><acdsee:categories>" + acdsee[:150] + "</acdsee:categories>", [][]string{{"Places", "Dresden"}}},
		"ACDSee, none":       {"><acdsee:categories>&lt;Categories/&gt;</acdsee:categories>", nil},
		"ACDSee, no XML":     {"><acdsee:categories>&lt;/a&gt;b</acdsee:categories>", nil},
		"separators only":    {list("digiKam:TagsList", "//"), nil},
		"a hundred levels":   {list("digiKam:TagsList", strings.Repeat("a/", 100)), [][]string{slices.Repeat([]string{"a"}, maxLevels)}},
		"other properties":   {list("dc:subject", "a|b"), nil},
		"an empty hierarchy": {"><lr:hierarchicalSubject><rdf:Bag/></lr:hierarchicalSubject>", nil},
	} {
		p := packetOf(t, c.properties)
		if got := p.KeywordPaths(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if want := c.want != nil || name == "other properties"; p.States(pipeline.Keywords) != want {
			t.Errorf("%s: states keywords %v", name, !want)
		}
	}
	if deep := categories(strings.Repeat("<Category>a", 100) + strings.Repeat("</Category>", 100)); len(deep) > 0 {
		t.Errorf("%d categories", len(deep))
	}
}

// TestBlankStatements verifies that an empty property says nothing, and that it gives way to ours, because a packet
// may have a property only once.
func TestBlankStatements(t *testing.T) {
	var caption Caption
	caption.Fields[pipeline.Title].Values = []string{"Ours"}
	for blank, kept := range map[string]bool{
		"><dc:title/>":                         false,
		" dc:title=' '>":                       false,
		"><dc:title xml:lang='de'></dc:title>": false,
		"><dc:title><rdf:Alt><rdf:li xml:lang='x-default'/></rdf:Alt></dc:title>": false,
		"><dc:title rdf:resource='urn:a'/>":                                       true,
		"><dc:description/>":                                                      false,
		"><photoshop:Headline/>":                                                  false,
	} {
		p := packetOf(t, " q:a='b'"+blank)
		if p.States(pipeline.Title) != kept {
			t.Errorf("%s: states a title: %v", blank, !kept)
		}
		if kept {
			continue
		}
		merged := string(p.Merge(described().WithCaption(caption)))
		if strings.Count(merged, "<dc:title") != 1 || strings.Contains(merged, "dc:title=") || !strings.Contains(merged, "q:a='b'") {
			t.Errorf("%s: %s", blank, merged)
		}
		if same := string(p.Merge(described())); !strings.Contains(same, blank[1:]) {
			t.Errorf("%s is not kept in %s", blank, same)
		}
	}
}
