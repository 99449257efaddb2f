// Package embedded describes what an image file says about itself: the properties of its header, and the metadata
// that the camera, people and programs wrote.
//
// It interprets the parsed view of package imagefile. Damaged metadata never fails an image: one bad tag costs
// that tag and becomes a warning.
package embedded

import (
	"cmp"
	"math"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/stocktext"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// MaxPacket is the longest XMP packet that is read, in bytes.
const MaxPacket = 1 << 20

// Describe returns the fields of the record that the file states, and the comment that a camera or phone wrote.
// view is the metadata of the file, with XMP packets of up to MaxPacket bytes.
func Describe(view imagefile.Metadata, h imagefile.Header, gps GPS, warned *record.Warnings) (m pipeline.Metadata, comment string) {
	own := merge(view, gps, warned)
	m = pipeline.Metadata{
		Title: own.title, Description: own.description, Keywords: own.keywords, KeywordPaths: record.KeywordPaths(own.paths),
		Rating: own.rating, Copyright: own.copyright, Creators: own.creators,
		Format: h.Format.Name, Shape: shape(h.Displayed()), Orientation: h.Orientation,
		BitDepth: h.BitDepth, ColorModel: h.ColorModel, HasAlpha: h.Alpha,
		ICCProfile:  profileName(view.ICC, warned),
		Progressive: h.Progressive || h.Interlaced, JPEGQuality: jpegQuality(h), Animated: h.Animated,
	}
	m.Width, m.Height = h.Displayed()
	if own.exif != (pipeline.Exif{}) {
		m.Exif = &own.exif
	}
	return m, own.comment
}

// shape names the format of the image. The sides of a square differ by at most 1/100.
func shape(width, height int) string {
	switch long := max(width, height); {
	case 100*(long-min(width, height)) <= long:
		return "square"
	case width > height:
		return "landscape"
	default:
		return "portrait"
	}
}

// block is the metadata of one block in a file, or of all blocks together. Before they are merged, lists may
// contain empty or too many items.
type block struct {
	title, description string
	headline           string // stands for a title if no block has one
	keywords, creators []string
	paths              [][]string // the levels of keywords
	copyright          string
	rating             int
	comment            string // EXIF UserComment, also from other blocks
	exif               pipeline.Exif
}

// merge interprets all blocks of a file. People edit captions in programs that write XMP, and some of these leave
// the older blocks unchanged. Captions are therefore taken from XMP first, then from IPTC, PNG text and EXIF,
// which cameras write, and from the tags of Windows in EXIF, which few programs update. Values that a camera measured are taken from EXIF first.
func merge(view imagefile.Metadata, gps GPS, warned *record.Warnings) block {
	exif, windows := fromEXIF(view, warned)
	iptc := fromIPTC(view.IPTC, warned)
	texts := fromTexts(view.Texts)
	xmp, marks := fromXMP(view, warned)
	order := []*block{&xmp, &iptc, &texts, &exif, &windows}
	if view.IPTC.Edited() { // later than XMP
		order[0], order[1] = order[1], order[0]
	}
	if view.Unread {
		warned.Add("XMP: a further packet is not read")
	}
	var further []*block
	for _, p := range view.Further {
		b := fromPacket(p, warned)
		b.forget(p.Marks())
		further = append(further, &b)
	}
	order = append(order, further...)

	all := block{
		comment: exif.comment,
		exif:    exif.exif,
	}
	for _, b := range order {
		b.forget(marks)
		b.forgetStock(exif.exif, xmp.exif)
		b.addLeaves()
		all.title = cmp.Or(all.title, record.Clean(b.title, record.MaxText))
		all.description = cmp.Or(all.description, record.Clean(b.description, record.MaxDescription))
		all.copyright = cmp.Or(all.copyright, record.Clean(b.copyright, record.MaxText))
		all.rating = cmp.Or(all.rating, b.rating)
		all.comment = cmp.Or(all.comment, b.comment)
		if all.keywords == nil {
			all.keywords = record.Keywords(b.keywords)
		}
		if all.creators == nil {
			all.creators = record.Creators(b.creators)
		}
	}
	for _, b := range order {
		all.title = cmp.Or(all.title, record.Clean(b.headline, record.MaxText))
		all.paths = append(all.paths, b.paths...)
	}
	e := &all.exif
	for _, b := range append([]*block{&xmp, &texts, &iptc}, further...) {
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

// addLeaves adds the last levels of the keywords with levels.
func (b *block) addLeaves() {
	for _, path := range b.paths {
		b.keywords = append(b.keywords, path[len(path)-1])
	}
}

// forgetStock drops the texts that cameras and programs write without a person, wherever they stand: programs
// copy them from one block to the others.
func (b *block) forgetStock(cameras ...pipeline.Exif) {
	for _, text := range [...]*string{&b.title, &b.headline, &b.description} {
		for _, c := range cameras {
			if stocktext.Is(*text, c.CameraMake, c.CameraModel) {
				*text = ""
			}
		}
	}
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

// forget drops the texts that are still as we composed them. The processor marks these texts, so that they are
// not taken for a person's when a processed image is submitted again.
func (b *block) forget(m pipeline.Marks) {
	if m.Ours(pipeline.Title, []string{b.title}) {
		b.title = ""
	}
	if m.Ours(pipeline.Description, []string{b.description}) {
		b.description = ""
	}
	if m.Ours(pipeline.Keywords, b.keywords) {
		b.keywords = nil
	}
}
