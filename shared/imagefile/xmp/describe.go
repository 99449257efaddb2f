package xmp

import (
	"slices"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Namespace is the XML namespace of our properties. Prefix is the prefix that we write for it. Existing files
// contain both, so they can never change.
const (
	Namespace = "https://github.com/imagebatch/imagebatch/ns/1.0/"
	Prefix    = "imagebatch"

	dcPrefix = "dc"
)

// The lists that identify our captions: the names of the fields that we composed, and the digests of the
// values, in the same order.
const (
	composedName = "composed"
	digestsName  = "composedDigests"
)

// The dc property of each field: its name, and its required list type.
var (
	nameOf = [...]string{pipeline.Title: "title", pipeline.Description: "description", pipeline.Keywords: "subject", pipeline.AltText: "AltTextAccessibility"}
	listOf = [...]string{pipeline.Title: "Alt", pipeline.Description: "Alt", pipeline.Keywords: "Bag", pipeline.AltText: "Alt"}
)

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
	Core         bool     // written even if space is short
}

// Describe returns the description of properties of ours.
func Describe(properties []Property) Description {
	d := Description{make([]Property, 0, len(properties)+5)}
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

// WithCaption returns the description with our caption and its marks, which are core.
func (d Description) WithCaption(c pipeline.Texts) Description {
	with := Description{slices.Clip(d.properties)}
	var names, digests []string
	for _, f := range pipeline.CaptionFields {
		values := cleaned(c[f])
		if pipeline.Blank(values) {
			continue
		}
		names, digests = append(names, f.String()), append(digests, pipeline.Mark(values))
		with.add(Property{Prefix: dcPrefix, Name: nameOf[f], Values: values, List: listOf[f], Core: true})
	}
	with.add(Property{Prefix: Prefix, Name: composedName, Values: names, List: "Seq", Core: true})
	with.add(Property{Prefix: Prefix, Name: digestsName, Values: digests, List: "Seq", Core: true})
	return with
}

// states reports whether the description has a caption for a field.
func (d Description) states(f pipeline.CaptionField) bool {
	return slices.ContainsFunc(d.properties, func(p Property) bool { return p.Prefix == dcPrefix && p.Name == nameOf[f] })
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

// Cleaned returns a caption without the characters that XMP cannot represent. The caption must be the same
// wherever it is written, or its mark would not match everywhere.
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
