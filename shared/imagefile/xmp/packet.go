package xmp

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Packet is the packet of a file: the values of the known properties, and what is needed to insert our
// description. It keeps a reference to the bytes passed to [Parse].
type Packet struct {
	src      []byte
	values   map[string][]Value
	damage   error          // first unreadable part
	refused  error          // first reason why the packet cannot be edited
	children []childElement // children of rdf:RDF
	places   []edit.Span    // ranges that contain a GPS position
	blanks   []edit.Span    // padding: white space and zeros without meaning

	inner    int        // start of the content of rdf:RDF
	unclosed *edit.Span // the "/>" of an empty rdf:RDF, which must be opened
	rdfName  string     // as written, with its prefix

	marks       pipeline.Marks
	keywords    []string        // our keywords in dc:subject
	levels      map[string]bool // upper levels of keywords
	provenance  bool
	empty       bool
	replaceable func(text string) bool // texts of a title or description that count as missing; may be nil
}

// Damage returns the error that ended the reading of values, or nil.
func (p *Packet) Damage() error { return p.damage }

// Editable returns nil, or an error that wraps ErrRefused for a packet that must not be edited.
func (p *Packet) Editable() error { return p.refused }

// Empty reports whether the packet contains nothing. It cannot be edited, but a new one can replace it.
func (p *Packet) Empty() bool { return p.empty }

// HasProvenance reports whether the packet links to a manifest of Content Credentials (dcterms:provenance). They certify
// every byte of the file.
func (p *Packet) HasProvenance() bool { return p.provenance }

// Marks returns the marks of the captions that we have written into the file.
func (p *Packet) Marks() pipeline.Marks { return p.marks }

// readMarks reads the names of the fields, the digests and the models, which are parallel lists.
func (p *Packet) readMarks(marks map[string][]string) {
	for _, list := range [...]string{composedName, captionedName} {
		digests, models := marks[list+digestsSuffix], marks[modelName]
		for i, name := range marks[list] {
			f := slices.IndexFunc(pipeline.CaptionFields[:], func(f pipeline.CaptionField) bool { return f.String() == name })
			if f < 0 || i >= len(digests) || p.marks[f].Digest != "" {
				continue
			}
			p.marks[f] = pipeline.Marked{Digest: digests[i], Captioned: list == captionedName}
			switch {
			case list != captionedName || len(models) == 0:
			case i < len(models):
				p.marks[f].Model = models[i]
			default:
				p.marks[f].Model = models[0]
			}
		}
	}
	p.readKeywords()
}

// readKeywords finds our keywords. Lightroom adds the upper levels of keywords to dc:subject.
func (p *Packet) readKeywords() {
	if p.marks[pipeline.Keywords].Digest == "" {
		return
	}
	p.levels = map[string]bool{}
	for _, path := range p.KeywordPaths() {
		for _, level := range path[:len(path)-1] {
			p.levels[level] = true
		}
	}
	for _, c := range p.children {
		for _, s := range c.statements {
			if s.known != "dc:subject" || !s.plain {
				continue
			}
			if own := p.withoutLevels(s.values); p.marks.Ours(pipeline.Keywords, s.values) {
				p.keywords = s.values
			} else if p.marks.Ours(pipeline.Keywords, own) {
				p.keywords = own
			}
		}
	}
}

func (p *Packet) withoutLevels(keywords []string) []string {
	return slices.DeleteFunc(slices.Clone(keywords), func(k string) bool { return p.levels[k] })
}

// OurKeyword reports whether a keyword is one of those that we wrote into dc:subject, where they are unchanged.
func (p *Packet) OurKeyword(k string) bool { return slices.Contains(p.keywords, k) }

// OurKeywords reports whether keywords are those that we wrote, or copied from them: catalogs copy keywords into other
// properties and into IPTC, some with their upper levels.
func (p *Packet) OurKeywords(keywords []string) bool {
	own := p.withoutLevels(keywords)
	return p.marks.Ours(pipeline.Keywords, keywords) || p.marks.Ours(pipeline.Keywords, own) ||
		slices.ContainsFunc(own, p.OurKeyword) && !slices.ContainsFunc(own, func(k string) bool { return !p.OurKeyword(k) })
}

// Ours returns the texts in the packet that are as we have written them.
func (p *Packet) Ours() Caption {
	var c Caption
	for _, child := range p.children {
		for _, s := range child.statements {
			if int(s.field) >= len(c.Fields) || !p.ours(s) || inLevels(s.known) {
				continue
			}
			mark := p.marks[s.field]
			c.Fields[s.field] = Words{Values: s.values, Captioned: mark.Captioned, Model: mark.Model, Language: s.language}
			if s.field == pipeline.Keywords {
				c.Fields[s.field].Values = p.keywords
			}
		}
	}
	return c
}

// Replaceable lets our captions replace titles and descriptions that consist of such texts only.
func (p *Packet) Replaceable(is func(text string) bool) { p.replaceable = is }

// Replaced returns the texts that our texts would replace. Blank texts are not listed.
func (p *Packet) Replaced(c pipeline.Texts) []string {
	var all []string
	for _, child := range p.children {
		for _, s := range child.statements {
			if int(s.field) < len(c) && len(c[s.field]) > 0 && s.once && !s.blank() && !p.ours(s) && p.missing(s) {
				all = append(all, p.theirs(s)...)
			}
		}
	}
	return all
}

// missing reports whether a statement says nothing about the image: it is blank or replaceable.
func (p *Packet) missing(s statement) bool {
	values := p.theirs(s)
	if s.bare && pipeline.Blank(values) {
		return true
	}
	if p.replaceable == nil || s.field != pipeline.Title && s.field != pipeline.Description || !s.bare || len(values) == 0 || len(values) == maxValues {
		return false
	}
	return !slices.ContainsFunc(values, func(v string) bool { return !pipeline.Blank([]string{v}) && !p.replaceable(v) })
}

// theirs returns the values of a statement without those in a list that are ours.
func (p *Packet) theirs(s statement) []string {
	var values []string
	for _, i := range s.items {
		if !p.oursIn(s, i) {
			values = append(values, i.text)
		}
	}
	if len(values) == len(s.items) {
		return s.values
	}
	return statedBy(s.known, values)
}

// States reports whether the packet states a field with a value that is neither missing nor ours.
func (p *Packet) States(f pipeline.CaptionField) bool {
	for _, child := range p.children {
		for _, s := range child.statements {
			if s.field == f && !p.missing(s) && !p.ours(s) {
				return true
			}
		}
	}
	return false
}

// Translated reports whether a person added other languages to a text of ours, which is then the person's.
func (p *Packet) Translated(f pipeline.CaptionField) bool {
	for _, child := range p.children {
		for _, s := range child.statements {
			if s.field == f && s.once && !p.ours(s) && !p.missing(s) {
				return true
			}
		}
	}
	return false
}

// StatesWriter reports whether the packet names a writer of the description other than a model that we stated.
func (p *Packet) StatesWriter() bool { return p.States(writer) }

// ours reports whether a whole statement is as we have written it, or a copy of our keywords.
func (p *Packet) ours(s statement) bool {
	switch {
	case s.field == writer:
		return slices.ContainsFunc(p.marks[:], func(m pipeline.Marked) bool {
			return m.Captioned && len(s.values) == 1 && s.values[0] == WriterOf(m.Model)
		})
	case inLevels(s.known):
		return p.OurKeywords(s.values)
	case s.field == pipeline.Keywords:
		return s.plain && (p.marks.Ours(s.field, s.values) || p.marks.Ours(s.field, p.withoutLevels(s.values)))
	default:
		return s.plain && p.marks.Ours(s.field, s.values)
	}
}

// oursIn reports whether an item of a list that is not ours as a whole is ours: a person may have added a keyword to a
// copy of our keywords, or replaced a text in the default language only. A text of ours in the default language to which
// a person added other languages is the person's.
func (p *Packet) oursIn(s statement, i item) bool {
	switch {
	case inLevels(s.known):
		leaf := statedBy(s.known, []string{i.text})
		return len(leaf) == 1 && p.OurKeyword(leaf[0])
	case s.once && listOf[s.field] == "Alt":
		return !strings.EqualFold(i.language, defaultLanguage) && p.marks.Ours(s.field, []string{i.text})
	default:
		return false
	}
}

// HasPlace reports whether the packet contains a GPS position.
func (p *Packet) HasPlace() bool { return len(p.places) > 0 }

// WithoutPlace returns the packet without GPS positions, and otherwise unchanged.
func (p *Packet) WithoutPlace() []byte {
	edits := make(edit.Edits, len(p.places))
	for i, place := range p.places {
		edits[i].Span = place
	}
	return edits.Apply(p.src)
}

// Merge returns the packet with d in place of our earlier description.
func (p *Packet) Merge(d Description) []byte { return p.edits(d).Apply(p.src) }

// MergeCompact is Merge without the packet's padding.
func (p *Packet) MergeCompact(d Description) []byte {
	edits := p.edits(d)
	for _, blank := range p.blanks {
		edits = append(edits, edit.Edit{Span: blank})
	}
	return edits.Apply(p.src)
}

// remainder describes a packet without our properties.
type remainder struct {
	cuts  []edit.Span
	place int    // where our description is inserted: after the last remaining description
	about string // subject of the descriptions
}

// withoutOurs decides about the children of rdf:RDF: a description with only our properties is removed as a
// whole, with the white space that we put before it; from others, only our properties are removed. A
// missing property of a caption in d is removed too: a second one next to it would make the packet invalid.
func (p *Packet) withoutOurs(d Description) remainder {
	s := remainder{place: p.inner}
	var ourAbout string
	for _, c := range p.children {
		var cuts []edit.Span
		for _, cut := range c.cuts {
			cuts = append(cuts, cut.Span)
		}
		foreign := c.foreign
		for _, statement := range c.statements {
			whole, parts := p.cutsOf(statement, d)
			cuts, foreign = append(cuts, parts...), foreign || !whole
		}
		if len(cuts) > 0 && !foreign {
			start := c.Start
			if bytes.HasSuffix(p.src[:start], []byte(lead)) {
				start -= len(lead)
			}
			s.cuts = append(s.cuts, edit.Span{Start: start, End: c.End})
			ourAbout = cmp.Or(ourAbout, c.about)
			continue
		}
		s.about = cmp.Or(s.about, c.about)
		s.cuts = append(s.cuts, cuts...)
		s.place = c.End
	}
	// Some readers reject a packet with two subjects, so the descriptions of others take precedence.
	s.about = cmp.Or(s.about, ourAbout)
	return s
}

// cutsOf returns the parts of a statement that are removed when d is written, and whether they are all of it. Copies of
// our keywords in the properties of catalogs stay as long as d has the same keywords.
func (p *Packet) cutsOf(s statement, d Description) (whole bool, parts []edit.Span) {
	switch {
	case p.ours(s):
		if inLevels(s.known) && s.known != "lr:hierarchicalSubject" && p.marks.Ours(pipeline.Keywords, d.keywords()) {
			return false, nil
		}
		return true, []edit.Span{s.Span}
	case s.once && p.missing(s) && d.states(s.field):
		return true, []edit.Span{s.Span}
	}
	for _, i := range s.items {
		if p.oursIn(s, i) {
			parts = append(parts, i.Span)
		}
	}
	return false, parts
}

// HasOurs reports whether the packet has properties or texts of ours.
func (p *Packet) HasOurs() bool {
	return slices.ContainsFunc(p.children, func(c childElement) bool {
		return len(c.cuts) > 0 || slices.ContainsFunc(c.statements, p.ours)
	})
}

// HasValues reports whether the packet has values that we measured.
func (p *Packet) HasValues() bool {
	return slices.ContainsFunc(p.children, func(c childElement) bool {
		return slices.ContainsFunc(c.cuts, func(c cut) bool { return !isMark(c.name) })
	})
}

// WithoutOurs returns the packet without our texts and their marks, and with all also without the values that we
// measured. It reports whether no description remains.
func (p *Packet) WithoutOurs(all bool) (packet []byte, empty bool) {
	var edits edit.Edits
	remove := func(spans ...edit.Span) {
		for _, s := range spans {
			edits = append(edits, edit.Edit{Span: s})
		}
	}
	if all {
		stays := p.withoutOurs(Description{})
		remove(stays.cuts...)
		return edits.Apply(p.src), stays.place == p.inner
	}
	for _, c := range p.children {
		for _, cut := range c.cuts {
			if isMark(cut.name) {
				remove(cut.Span)
			}
		}
		for _, s := range c.statements {
			_, parts := p.cutsOf(s, Description{})
			remove(parts...)
		}
	}
	return edits.Apply(p.src), false
}

func (p *Packet) edits(d Description) edit.Edits {
	stays := p.withoutOurs(d)
	var b strings.Builder
	var edits edit.Edits
	if p.unclosed != nil {
		b.WriteByte('>')
	}
	b.WriteString(lead)
	d.write(&b, stays.about, p.rdfName == "rdf:RDF")
	if p.unclosed != nil {
		b.WriteString("\n </" + p.rdfName + ">")
		edits = append(edits, edit.Edit{Span: *p.unclosed, With: []byte(b.String())})
	} else {
		edits = append(edits, edit.Edit{Span: edit.Span{Start: stays.place, End: stays.place}, With: []byte(b.String())})
	}
	for _, cut := range stays.cuts {
		edits = append(edits, edit.Edit{Span: cut})
	}
	return edits
}
