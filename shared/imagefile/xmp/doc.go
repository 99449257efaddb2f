// Package xmp models the XMP packets of image files (ISO 16684-1, XMP Specification, part 1): it reads the
// values of known properties, and writes Imagebatch's description of an image, as a new packet or merged into
// an existing one. The package knows no image format.
//
// A merge keeps every byte of every property that is not ours: it inserts our properties as a separate
// rdf:Description and writes nothing else again. It replaces an earlier description of ours, wherever another
// program has moved it, and texts (dc:title, dc:description, dc:subject, Iptc4xmpCore:AltTextAccessibility) that are still
// as we wrote them: each is marked with a digest of its value, see [pipeline.Mark]. After the slightest edit a value is no
// longer ours, even if the edit keeps our mark. Catalogs copy keywords into properties of their own: copies of ours are ours
// too. Texts that the caller declares replaceable give way as well. Equal input gives equal bytes, and merging twice gives
// the same result as merging once.
//
// A packet in UTF-16 is read, and written again in UTF-8. Some packets can be read but not edited: packets that are in
// another encoding, are not well-formed, have a DOCTYPE or other declarations, are nested deeper than [MaxDepth], or
// are not one rdf:RDF in at most one x:xmpmeta.
//
// Our properties are in [Namespace], which can never change. The struct tags of pipeline.Metadata define them.
// In addition there are composed and captioned, which list the texts that we composed and that a model wrote,
// composedDigests and captionedDigests, which list the digests of their values in the same order, and CaptionModel.
package xmp
