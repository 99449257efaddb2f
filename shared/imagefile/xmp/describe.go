package xmp

import (
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Namespace is the XML namespace of our properties. Prefix is the prefix that we write for it. Existing files
// contain both, so they can never change.
const (
	Namespace = "https://github.com/imagebatch/imagebatch/ns/1.0/"
	Prefix    = "imagebatch"

	dcPrefix, lightroomPrefix, photoshopPrefix, iptcPrefix = "dc", "lr", "photoshop", "Iptc4xmpCore"
)

// The properties that identify our texts: the names of the fields that we composed or that a model wrote, each with a
// list of the digests of the values, in the same order. The model is one for all fields, or a list in that order.
const (
	composedName  = "composed"
	captionedName = "captioned"
	digestsSuffix = "Digests"
	modelName     = "CaptionModel"
)

// isMark reports whether a property in our namespace identifies our texts.
func isMark(name string) bool {
	return name == modelName || strings.TrimSuffix(name, digestsSuffix) == composedName || strings.TrimSuffix(name, digestsSuffix) == captionedName
}

// writer is the field of photoshop:CaptionWriter, the name of the writer of the description.
const writer = pipeline.CaptionField(len(pipeline.CaptionFields))

// WriterOf returns the writer of a description by a model.
func WriterOf(model string) string { return model + " (AI), Imagebatch" }

// The property of each field: its prefix and name, and its required list type.
var (
	prefixOf = [...]string{dcPrefix, dcPrefix, dcPrefix, iptcPrefix, photoshopPrefix}
	nameOf   = [...]string{
		pipeline.Title: "title", pipeline.Description: "description", pipeline.Keywords: "subject", pipeline.AltText: "AltTextAccessibility",
		writer: "CaptionWriter",
	}
	listOf = [...]string{pipeline.Title: "Alt", pipeline.Description: "Alt", pipeline.Keywords: "Bag", pipeline.AltText: "Alt", writer: ""}
)

// prefixes are the namespaces of others in which we write, in the order of their declarations.
var prefixes = [...]struct{ prefix, namespace string }{
	{dcPrefix, dcNamespace}, {iptcPrefix, iptcNamespace}, {lightroomPrefix, lightroomNamespace}, {photoshopPrefix, photoshopNamespace},
}

// Caption is the texts of ours for an image.
type Caption struct {
	Fields [len(pipeline.CaptionFields)]Words
	// KeywordParent is the upper level of a model's keywords in lr:hierarchicalSubject; "" for none.
	KeywordParent string
	// Writer means that a model may be stated as the writer of the description.
	Writer bool
}

// Words are the values of one field.
type Words struct {
	Values    []string
	Captioned bool // a model wrote them; otherwise they were composed
	// Model and Language are those of a model's words, if known.
	Model, Language string
}

// Texts returns the values of all fields.
func (c Caption) Texts() pipeline.Texts {
	var t pipeline.Texts
	for f, w := range c.Fields {
		t[f] = w.Values
	}
	return t
}

// defaultLanguage marks the text in the default language.
const defaultLanguage = "x-default"

// Description is our description of one image, in the order in which it is written.
type Description struct {
	properties []Property
}

// Property is one property of a description: a simple value, or a list.
type Property struct {
	Prefix, Name string
	Value        string   // the simple value
	List         string   // "Alt", "Bag" or "Seq"; "" for a simple value
	Values       []string // the values of the list
	Language     string   // of the second value of an "Alt"
	Core         bool     // written even if space is short
}

// Describe returns the description of properties of ours.
func Describe(properties []Property) Description {
	d := Description{make([]Property, 0, len(properties)+12)}
	for _, p := range properties {
		p.Prefix = Prefix
		d.add(p)
	}
	return d
}

// Core returns the description without the properties that can be omitted if space is short.
func (d Description) Core() Description {
	var c Description
	for _, p := range d.properties {
		if p.Core {
			c.properties = append(c.properties, p)
		}
	}
	return c
}

// WithCaption returns the description with our texts and their marks, which are core.
func (d Description) WithCaption(c Caption) Description {
	with := Description{slices.Clip(d.properties)}
	var names, digests [2][]string // of composed texts and of those of models
	var models []string
	for f, w := range c.Fields {
		values := cleaned(w.Values)
		if pipeline.Blank(values) {
			continue
		}
		list := 0
		if w.Captioned {
			list = 1
			models = append(models, clean(w.Model))
		}
		names[list], digests[list] = append(names[list], pipeline.CaptionField(f).String()), append(digests[list], pipeline.Mark(values))
		p := Property{Prefix: prefixOf[f], Name: nameOf[f], Values: values, List: listOf[f], Core: true}
		if p.List == "Alt" && w.Language != "" && !strings.EqualFold(w.Language, defaultLanguage) {
			p.Values, p.Language = []string{values[0], values[0]}, clean(w.Language)
		}
		with.add(p)
	}
	with.addLevels(c)
	with.add(Property{Prefix: Prefix, Name: composedName, Values: names[0], List: "Seq", Core: true})
	with.add(Property{Prefix: Prefix, Name: composedName + digestsSuffix, Values: digests[0], List: "Seq", Core: true})
	if len(models) == 0 {
		return with
	}
	if c.Writer && models[0] != "" {
		model := models[0]
		if w := c.Fields[pipeline.Description]; w.Captioned && !pipeline.Blank(w.Values) {
			model = clean(w.Model)
		}
		with.add(Property{Prefix: photoshopPrefix, Name: nameOf[writer], Value: WriterOf(model), Core: true})
	}
	with.add(Property{Prefix: Prefix, Name: captionedName, Values: names[1], List: "Seq", Core: true})
	with.add(Property{Prefix: Prefix, Name: captionedName + digestsSuffix, Values: digests[1], List: "Seq", Core: true})
	if all := slices.Compact(slices.Clone(models)); len(all) == 1 {
		with.add(Property{Prefix: Prefix, Name: modelName, Value: all[0], Core: true})
	} else {
		with.add(Property{Prefix: Prefix, Name: modelName, Values: models, List: "Seq", Core: true})
	}
	return with
}

// addLevels adds a model's keywords below their parent. A separator in the parent makes more levels of it.
func (d *Description) addLevels(c Caption) {
	keywords := c.Fields[pipeline.Keywords]
	if c.KeywordParent == "" || !keywords.Captioned || pipeline.Blank(keywords.Values) {
		return
	}
	paths := make([]string, len(keywords.Values))
	for i, k := range keywords.Values {
		paths[i] = c.KeywordParent + "|" + k
	}
	d.add(Property{Prefix: lightroomPrefix, Name: "hierarchicalSubject", Values: paths, List: "Bag", Core: true})
}

// states reports whether the description has a text for a field.
func (d Description) states(f pipeline.CaptionField) bool {
	return slices.ContainsFunc(d.properties, func(p Property) bool { return p.Prefix == prefixOf[f] && p.Name == nameOf[f] })
}

// keywords returns the keywords of the description.
func (d Description) keywords() []string {
	for _, p := range d.properties {
		if p.Prefix == dcPrefix && p.Name == nameOf[pipeline.Keywords] {
			return p.Values
		}
	}
	return nil
}

// add cleans the values of a property and adds it unless it is empty. A list keeps its empty values, so that
// parallel lists stay aligned.
func (d *Description) add(p Property) {
	p.Value, p.Values = clean(p.Value), cleaned(p.Values)
	if p.Value == "" && len(p.Values) == 0 {
		return
	}
	d.properties = append(d.properties, p)
}

// Cleaned returns texts without the characters that XMP cannot represent. A text must be the same wherever it is
// written, or its mark would not match everywhere.
func Cleaned(c pipeline.Texts) pipeline.Texts {
	for _, f := range pipeline.CaptionFields {
		c[f] = cleaned(c[f])
	}
	return c
}

func cleaned(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = clean(v)
	}
	return texts
}
