package describe

import (
	"cmp"
	"math"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// brought is what one block of metadata in a file, or all of them together, say
// of the picture. Lists may hold what is empty or too much until they are clean.
type embedded struct {
	title, description string
	keywords, creators []string
	copyright          string
	rating             int
	comment            string // EXIF UserComment, from whatever block
	exif               pipeline.Exif
	marks              marks // of XMP
}

// readEmbedded reads all blocks of a file. People edit words in programs that write
// XMP, and some of these leave the older blocks as they were; so for words XMP
// counts before IPTC, PNG text and EXIF, in which cameras write. What a camera
// measured is told by EXIF first.
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

// ratingOf is the number of stars that a value means: 1 to 5, −1 for a picture that
// was rejected, 0 when it tells nothing.
func ratingOf(v float64) int {
	switch stars := math.Round(v); {
	case stars == -1 || stars >= 1 && stars <= 5:
		return int(stars)
	default:
		return 0
	}
}

// marks are what the processor writes beside words of ours, so that they are not
// taken for a person's when a processed image is sent in again: the
// [pipeline.Mark] of title, description and keywords, as far as they are ours.
type marks map[string]string

// forget drops the words that still are as we composed them.
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

// ours tells whether values are as we marked them.
func (m marks) ours(field string, values ...string) bool {
	mark, ok := m[field]
	return ok && mark == pipeline.Mark(values)
}
