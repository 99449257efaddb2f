package xmp

import (
	"math"
	"slices"
	"strconv"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Namespace is the XML namespace of our properties. Prefix is the prefix that we write for it. Existing files
// contain both, so they can never change.
const (
	Namespace = "https://github.com/imagebatch/imagebatch/ns/1.0/"
	Prefix    = "imagebatch"

	dcNamespace = "http://purl.org/dc/elements/1.1/"
	dcPrefix    = "dc"
)

// The lists that identify our captions: the names of the fields that we composed, and the digests of the
// values, in the same order.
const (
	composedName = "composed"
	digestsName  = "composedDigests"
)

// The dc property of each field: its name, and its required list type.
var (
	nameOf = [...]string{caption.Title: "title", caption.Description: "description", caption.Keywords: "subject"}
	listOf = [...]string{caption.Title: "Alt", caption.Description: "Alt", caption.Keywords: "Bag"}
)

// defaultLanguage marks the text in the default language.
const defaultLanguage = "x-default"

// Description is our description of one image, in the order in which it is written.
type Description struct {
	properties []writtenProperty
}

// writtenProperty is one property: a simple value, or a list.
type writtenProperty struct {
	prefix, name string
	value        string   // the simple value
	list         string   // "Alt", "Bag" or "Seq"; "" for a simple value
	values       []string // the values of the list
	core         bool
}

// Describe returns the description of an image from the analyzer's metadata. It omits missing values.
func Describe(m pipeline.Metadata) Description {
	d := Description{make([]writtenProperty, 0, 48)}
	d.core("AnalyzerVersion", m.AnalyzerVersion)
	d.core("Format", m.Format)
	d.core("Width", strconv.Itoa(m.Width))
	d.core("Height", strconv.Itoa(m.Height))
	d.core("OriginalSHA256", m.SHA256)

	d.optional("OriginalFileSize", strconv.FormatInt(m.FileSize, 10))
	d.optional("Shape", m.Shape)
	d.optional("BitDepth", strconv.Itoa(m.BitDepth))
	d.optional("ColorModel", m.ColorModel)
	d.optional("HasAlpha", boolean(m.HasAlpha))
	d.optional("AlphaUsed", boolean(m.AlphaUsed))
	d.optional("ICCProfile", m.ICCProfile)
	d.optional("Progressive", boolean(m.Progressive))
	if m.JPEGQuality > 0 {
		d.optional("JPEGQuality", strconv.Itoa(m.JPEGQuality))
	}
	d.optional("Animated", boolean(m.Animated))
	d.optional("EntropyChecked", m.EntropyChecked)
	d.optional("MeanColor", m.MeanColor)
	d.colors(m.Colors)
	d.optional("Saturation", number(m.Saturation))
	d.optional("Colorfulness", number(m.Colorfulness))
	d.optional("Warmth", number(m.Warmth))
	d.optional("Brightness", number(m.Brightness))
	d.optional("Contrast", number(m.Contrast))
	d.optional("Entropy", number(m.Entropy))
	d.optional("ShadowsClipped", number(m.ShadowsClipped))
	d.optional("HighlightsClipped", number(m.HighlightsClipped))
	d.optional("Sharpness", number(m.Sharpness))
	d.sequence("Flags", m.Flags)
	d.optional("BlurHash", m.BlurHash)
	d.optional("ThumbHash", m.ThumbHash)
	d.optional("DHash", m.DHash)
	d.optional("PHash", m.PHash)
	return d
}

// colors adds the parts of the colors as parallel lists.
func (d *Description) colors(colors []pipeline.ColorShare) {
	n := len(colors)
	hexes, shares, names, labs := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i, c := range colors {
		hexes[i], shares[i], names[i] = c.Hex, number(c.Share), c.Name
		labs[i] = number(c.Lab[0]) + " " + number(c.Lab[1]) + " " + number(c.Lab[2])
	}
	d.sequence("DominantColors", hexes)
	d.sequence("DominantColorShares", shares)
	d.sequence("DominantColorNames", names)
	d.sequence("DominantColorLabs", labs)
}

// Core returns the description without the properties that can be omitted if space is short.
func (d Description) Core() Description {
	var c Description
	for _, p := range d.properties {
		if p.core {
			c.properties = append(c.properties, p)
		}
	}
	return c
}

// WithCaption returns the description with our caption and its marks, which are core.
func (d Description) WithCaption(c caption.Caption) Description {
	with := Description{slices.Clip(d.properties)}
	var names, digests []string
	for _, f := range caption.Fields {
		values := cleaned(c[f])
		if caption.Blank(values) {
			continue
		}
		names, digests = append(names, f.String()), append(digests, pipeline.Mark(values))
		with.add(writtenProperty{prefix: dcPrefix, name: nameOf[f], values: values, list: listOf[f], core: true})
	}
	with.add(writtenProperty{prefix: Prefix, name: composedName, values: names, list: "Seq", core: true})
	with.add(writtenProperty{prefix: Prefix, name: digestsName, values: digests, list: "Seq", core: true})
	return with
}

func (d *Description) core(name, value string) {
	d.add(writtenProperty{prefix: Prefix, name: name, value: value, core: true})
}

func (d *Description) optional(name, value string) {
	d.add(writtenProperty{prefix: Prefix, name: name, value: value})
}

func (d *Description) sequence(name string, values []string) {
	d.add(writtenProperty{prefix: Prefix, name: name, values: values, list: "Seq"})
}

// add cleans the values of a property and adds it unless it is empty. A list keeps its empty values, so that
// parallel lists stay aligned.
func (d *Description) add(p writtenProperty) {
	p.value, p.values = clean(p.value), cleaned(p.values)
	if p.value == "" && len(p.values) == 0 {
		return
	}
	d.properties = append(d.properties, p)
}

// Cleaned returns a caption without the characters that XMP cannot represent. The caption must be the same
// wherever it is written, or its mark would not match everywhere.
func Cleaned(c caption.Caption) caption.Caption {
	for _, f := range caption.Fields {
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

// boolean formats the XMP type Boolean.
func boolean(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// number formats the XMP type Real, which has neither exponents nor special values: for those it returns "".
func number(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
