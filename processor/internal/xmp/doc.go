// Package xmp models the XMP packets of image files: Imagebatch's description of an image, as a new packet or
// merged into an existing one. The format is ISO 16684-1 (XMP Specification, part 1); the package knows no
// image format.
//
// A merge keeps every byte of every property that is not ours: it inserts our properties as a separate
// rdf:Description and writes nothing else again. It replaces an earlier description of ours, wherever another
// program has moved it, and captions (dc:title, dc:description and dc:subject) that are still as we composed
// them; see package caption. Equal input gives equal bytes, and merging twice gives the same result as merging
// once.
//
// It rejects, with an error and without a change: packets that are not UTF-8, are not well-formed, have a
// DOCTYPE or other declarations, are nested deeper than [MaxDepth], or are not one rdf:RDF in at most one
// x:xmpmeta.
//
// Our properties are in [Namespace], which can never change. Those marked with a star are the core and stay if
// space is short; the others are omitted first.
//
//	property             type         meaning
//	AnalyzerVersion *    Text         version of the analyzer
//	Format *             Text         "jpeg" or "png"
//	Width *              Integer      pixels, as displayed
//	Height *             Integer      pixels, as displayed
//	OriginalSHA256 *     Text         SHA-256 of the file before this was written, hex
//	composed *           Seq of Text  which of "title", "description" and "keywords" we composed
//	composedDigests *    Seq of Text  digests of their values, in the same order; see package caption
//	OriginalFileSize     Integer      bytes of the file before this was written
//	DominantColors       Seq of Text  "#rrggbb", most frequent first
//	DominantColorShares  Seq of Real  0 to 1, in the order of DominantColors
//	DominantColorNames   Seq of Text  CSS color names, in the same order
//	DominantColorLabs    Seq of Text  "L a b" of CIELAB, in the same order
//
// and the following, as in the record: Shape, BitDepth, ColorModel, HasAlpha, AlphaUsed, ICCProfile,
// Progressive, JPEGQuality, Animated, EntropyChecked, MeanColor, Saturation, Colorfulness, Warmth, Brightness,
// Contrast, Entropy, ShadowsClipped, HighlightsClipped, Sharpness, Flags, BlurHash, ThumbHash, DHash and PHash.
// Boolean values are "True" or "False".
//
// They are the fields of pipeline.Metadata, whose comments define the units. The camera's metadata is not
// repeated: it remains in the file's EXIF.
package xmp
