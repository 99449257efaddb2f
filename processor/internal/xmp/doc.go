// Package xmp models the XMP packets of image files: what Imagebatch says about
// an image, as a new packet or merged into the one that the file has. The format
// is ISO 16684-1 (XMP Specification, part 1); the package knows no image format.
//
// What it promises: a packet that is there keeps every byte of every property
// that is not ours, because ours is put in as one rdf:Description of its own and
// nothing else is written anew. An earlier description of ours is replaced,
// wherever another program moved it to, and so are captions (dc:title,
// dc:description and dc:subject) that are still as we composed them; see package
// caption. Equal input gives equal bytes, and merging twice gives what merging
// once gave.
//
// What it refuses, with an error and without a change: packets that are not
// UTF-8, not well-formed, have a DOCTYPE or other declarations, are nested deeper
// than [MaxDepth], or are not one rdf:RDF in at most one x:xmpmeta.
//
// Our properties are in [Namespace], which can never change. Those marked with a
// star are the core and stay when space is short, the others are left out first.
//
//	property             type         what it tells
//	AnalyzerVersion *    Text         version of the analyzer that measured
//	Format *             Text         "jpeg" or "png"
//	Width *              Integer      pixels, as displayed
//	Height *             Integer      pixels, as displayed
//	OriginalSHA256 *     Text         SHA-256 of the file before this was written, hex
//	composed *           Seq of Text  which of "title", "description" and "keywords" we composed
//	composedDigests *    Seq of Text  digests of their values, in the same order; see package caption
//	OriginalFileSize     Integer      bytes of the file before this was written
//	DominantColors       Seq of Text  "#rrggbb", most frequent first
//	DominantColorShares  Seq of Real  0 to 1, in the order of DominantColors
//	DominantColorNames   Seq of Text  CSS colour names, in the same order
//	DominantColorLabs    Seq of Text  "L a b" of CIELAB, in the same order
//
// and of these, as they stand in the record: Shape, BitDepth, ColorModel,
// HasAlpha, AlphaUsed, ICCProfile, Progressive, JPEGQuality, Animated,
// EntropyChecked, MeanColor, Saturation, Colorfulness, Warmth, Brightness,
// Contrast, Entropy, ShadowsClipped, HighlightsClipped, Sharpness, Flags,
// BlurHash, ThumbHash, DHash and PHash. Truth is "True" or "False".
//
// They are the fields of pipeline.Metadata, whose comments define the units. What
// the camera wrote is not repeated: it is in the file's EXIF, which stays.
package xmp
