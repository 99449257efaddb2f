package describe

import (
	"cmp"
	"math"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// embedded is the metadata of one block in a file, or of all blocks together. Before cleanList, lists may
// contain empty or too many items.
type embedded struct {
	title, description string
	keywords, creators []string
	copyright          string
	rating             int
	comment            string // EXIF UserComment, also from other blocks
	exif               pipeline.Exif
	marks              marks // from XMP
}

// readEmbedded reads all blocks of a file. People edit captions in programs that write XMP, and some of these
// leave the older blocks unchanged. Captions are therefore taken from XMP first, then from IPTC, PNG text and
// EXIF, which cameras write. Values that a camera measured are taken from EXIF first.
func readEmbedded(h imagefile.Header, gps GPS, warned *warnings) embedded {
	exif := readExif(h.Exif, warned)
	iptc := readIPTC(h.IPTC, warned)
	texts, packet := readTexts(h.Texts)
	if h.XMP == nil {
		h.XMP = packet
	}
	xmp := readXMP(h.XMP, warned)

	all := embedded{
		comment: cmp.Or(exif.comment, xmp.comment),
		exif:    exif.exif,
	}
	for _, b := range [...]embedded{xmp, iptc, texts, exif} {
		b.forget(xmp.marks)
		all.title = cmp.Or(all.title, clean(b.title, maxTextBytes))
		all.description = cmp.Or(all.description, clean(b.description, maxDescriptionBytes))
		all.copyright = cmp.Or(all.copyright, clean(b.copyright, maxTextBytes))
		all.rating = cmp.Or(all.rating, b.rating)
		if all.keywords == nil {
			all.keywords = cleanList(b.keywords, maxKeywords, maxTextBytes, maxKeywordsBytes)
		}
		if all.creators == nil {
			all.creators = cleanList(b.creators, maxCreators, maxCreatorBytes, maxCreators*maxCreatorBytes)
		}
	}
	e := &all.exif
	for _, b := range [...]embedded{xmp, texts, iptc} {
		if e.CameraMake == "" && e.CameraModel == "" {
			e.CameraMake, e.CameraModel = b.exif.CameraMake, b.exif.CameraModel
		}
		e.LensModel = cmp.Or(e.LensModel, b.exif.LensModel)
		e.Software = cmp.Or(e.Software, b.exif.Software)
		e.TakenAt = cmp.Or(e.TakenAt, b.exif.TakenAt)
		e.GPS = cmp.Or(e.GPS, b.exif.GPS)
	}
	e.GPS = gps.apply(e.GPS)
	return all
}

// ratingOf returns the number of stars that a value stands for: 1 to 5, −1 for a rejected image, 0 for no
// rating.
func ratingOf(v float64) int {
	switch stars := math.Round(v); {
	case stars == -1 || stars >= 1 && stars <= 5:
		return int(stars)
	default:
		return 0
	}
}

// marks holds the [pipeline.Mark] of each title, description and keywords that we composed. The processor
// writes them next to these texts, so that they are not taken for a person's when a processed image is
// submitted again.
type marks map[string]string

// forget drops the texts that are still as we composed them.
func (b *embedded) forget(m marks) {
	if len(m) == 0 {
		return
	}
	if m.ours(pipeline.ComposedTitle, b.title) {
		b.title = ""
	}
	if m.ours(pipeline.ComposedDescription, b.description) {
		b.description = ""
	}
	if m.ours(pipeline.ComposedKeywords, b.keywords...) {
		b.keywords = nil
	}
}

// ours reports whether the values match our mark.
func (m marks) ours(field string, values ...string) bool {
	mark, ok := m[field]
	return ok && mark == pipeline.Mark(values)
}
