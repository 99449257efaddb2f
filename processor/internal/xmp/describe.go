package xmp

import (
	"math"
	"strconv"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Namespace is the XML namespace of our properties, Prefix the prefix that we
// write for it. Files in the world carry both: they can never change.
const (
	Namespace = "https://github.com/imagebatch/imagebatch/ns/1.0/"
	Prefix    = "imagebatch"
)

// Description is what we say about one image, in the order in which it is
// written.
type Description struct {
	properties []property
}

// property is one property: a simple value, or an ordered list of them.
type property struct {
	name   string
	values []string
	list   bool
	core   bool
}

// Describe makes the description of an image from what the analyzer found. What
// the image does not tell is left out.
func Describe(m pipeline.Metadata) Description {
	var d Description
	d.core("AnalyzerVersion", m.AnalyzerVersion)
	d.core("Format", m.Format)
	d.core("Width", strconv.Itoa(m.Width))
	d.core("Height", strconv.Itoa(m.Height))
	d.core("OriginalSHA256", m.SHA256)

	d.optional("OriginalFileSize", strconv.FormatInt(m.FileSize, 10))
	d.optional("BitDepth", strconv.Itoa(m.BitDepth))
	d.optional("ColorModel", m.ColorModel)
	d.optional("HasAlpha", boolean(m.HasAlpha))
	d.optional("MeanColor", m.MeanColor)
	colors := make([]string, len(m.Colors))
	shares := make([]string, len(m.Colors))
	for i, c := range m.Colors {
		colors[i], shares[i] = c.Hex, number(c.Share)
	}
	d.sequence("DominantColors", colors)
	d.sequence("DominantColorShares", shares)
	d.optional("Brightness", number(m.Brightness))
	d.optional("Contrast", number(m.Contrast))
	d.optional("Sharpness", number(m.Sharpness))
	d.optional("BlurHash", m.BlurHash)
	d.optional("PHash", m.PHash)
	return d
}

// Core is the description without what can be left out when space is short.
func (d Description) Core() Description {
	var c Description
	for _, p := range d.properties {
		if p.core {
			c.properties = append(c.properties, p)
		}
	}
	return c
}

func (d *Description) core(name, value string) {
	d.add(property{name: name, values: []string{value}, core: true})
}

func (d *Description) optional(name, value string) {
	d.add(property{name: name, values: []string{value}})
}

func (d *Description) sequence(name string, values []string) {
	d.add(property{name: name, values: values, list: true})
}

// add cleans the values of a property and keeps it if it says anything. A list
// keeps its empty values, so that lists which belong together stay in step.
func (d *Description) add(p property) {
	for i, v := range p.values {
		p.values[i] = clean(v)
	}
	if len(p.values) == 0 || !p.list && p.values[0] == "" {
		return
	}
	d.properties = append(d.properties, p)
}

// boolean writes the XMP type Boolean.
func boolean(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// number writes the XMP type Real, which knows neither exponents nor what is not a
// number: for the latter it is empty.
func number(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
