package xmp

import (
	"slices"
	"testing"
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
