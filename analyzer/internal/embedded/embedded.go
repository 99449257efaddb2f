// Package embedded describes what an image file says about itself: the properties of its header, and the metadata
// that the camera, people and programs wrote.
//
// It interprets the parsed view of package imagefile. Damaged metadata never fails an image: one bad tag costs
// that tag and becomes a warning.
package embedded

import (
	"cmp"
	"math"
	"slices"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/stocktext"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// MaxPacket is the longest XMP packet that is read, in bytes.
const MaxPacket = 1 << 20

// Describe returns the fields of the record that the file states, and the comment that a camera or phone wrote.
// view is the metadata of the file, with XMP packets of up to MaxPacket bytes.
func Describe(view imagefile.Metadata, h imagefile.Header, gps GPS, warned *record.Warnings) (m pipeline.Metadata, comment string) {
	own := merge(view, gps, warned)
	m = pipeline.Metadata{
		Title: own.title, Description: own.description, Keywords: own.keywords, AltText: own.altText, KeywordPaths: record.KeywordPaths(own.paths),
		Rating: own.rating, Copyright: own.copyright, Creators: own.creators,
		Format: h.Format.Name, Shape: shape(h.Displayed()), Orientation: h.Orientation,
		BitDepth: h.BitDepth, ColorModel: h.ColorModel, HasAlpha: h.Alpha,
		ICCProfile:  profileName(view.ICC, warned),
		Progressive: h.Progressive || h.Interlaced, JPEGQuality: jpegQuality(h), Animated: h.Animated,
	}
	m.Width, m.Height = h.Displayed()
	own.addEarlier(&m)
	m.DigitalSourceType = own.sourceType
	if own.madeBy != (pipeline.MadeByAI{}) {
		m.MadeByAI = &own.madeBy
	}
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
	altText            string
	sourceType         string // how the image was made
	madeBy             pipeline.MadeByAI
	rating             int
	comment            string // EXIF UserComment, also from other blocks
	exif               pipeline.Exif

	earlier xmp.Caption // words of a model in the file that are still as we wrote them
}

// merge interprets all blocks of a file. People edit captions in programs that write XMP, and some of these leave
// the older blocks unchanged. Captions are therefore taken from XMP first, then from IPTC, PNG text and EXIF,
// which cameras write, and from the tags of Windows in EXIF, which few programs update. Values that a camera measured are taken from EXIF first.
func merge(view imagefile.Metadata, gps GPS, warned *record.Warnings) block {
	exif, windows := fromEXIF(view, warned)
	iptc := fromIPTC(view.IPTC, warned)
	texts := fromTexts(view.Texts)
	inXMP, packet := fromXMP(view, warned)
	order := []*block{&inXMP, &iptc, &texts, &exif, &windows}
	if view.IPTC.Edited() { // later than XMP
		order[0], order[1] = order[1], order[0]
	}
	if view.Unread {
		warned.Add("XMP: a further packet is not read")
	}
	all := block{
		comment: exif.comment,
		exif:    exif.exif,
	}
	var further []*block
	for _, p := range view.Further {
		b := fromPacket(p, warned)
		b.forget(p, true, &all.earlier)
		further = append(further, &b)
	}
	order = append(order, further...)

	for _, b := range order {
		b.forget(packet, b == &inXMP, &all.earlier)
		b.forgetStock(exif.exif, inXMP.exif)
		b.addLeaves()
		all.title = cmp.Or(all.title, record.Clean(b.title, record.MaxText))
		all.description = cmp.Or(all.description, record.Clean(b.description, record.MaxDescription))
		all.altText = cmp.Or(all.altText, record.Clean(b.altText, record.MaxAltText))
		all.sourceType, all.madeBy = cmp.Or(all.sourceType, b.sourceType), cmp.Or(all.madeBy, b.madeBy)
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
	for _, b := range append([]*block{&inXMP, &texts, &iptc}, further...) {
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

// forget drops the texts that are still as we wrote them, so that they are not taken for a person's when a processed
// image is submitted again. The processor marks them in a packet, which may be the own packet of the block. Words of a
// model are kept in earlier.
func (b *block) forget(p *xmp.Packet, own bool, earlier *xmp.Caption) {
	if p == nil {
		return
	}
	marks := p.Marks()
	keep := func(f pipeline.CaptionField, values []string) {
		if w := &earlier.Fields[f]; marks[f].Captioned && len(w.Values) == 0 {
			*w = p.Ours().Fields[f]
			w.Values, w.Captioned, w.Model = values, true, marks[f].Model
		}
	}
	for f, text := range map[pipeline.CaptionField]*string{
		pipeline.Title: &b.title, pipeline.Description: &b.description, pipeline.AltText: &b.altText,
	} {
		if marks.Ours(f, []string{*text}) && (!own || !p.Translated(f)) {
			keep(f, []string{*text})
			*text = ""
		}
	}
	ours := slices.DeleteFunc(slices.Clone(b.keywords), func(k string) bool { return !p.OurKeyword(k) })
	if p.OurKeywords(b.keywords) {
		if len(ours) == 0 {
			ours = b.keywords
		}
		keep(pipeline.Keywords, ours)
		b.keywords = nil
	}
	// A copy in a catalog's own property remains if another program removed the keywords.
	var leaves []string
	for _, path := range b.paths {
		leaves = append(leaves, path[len(path)-1])
	}
	slices.Sort(leaves)
	if leaves = slices.Compact(leaves); p.OurKeywords(leaves) {
		keep(pipeline.Keywords, leaves)
		b.paths = nil
	}
	b.paths = slices.DeleteFunc(b.paths, func(path []string) bool { return p.OurKeyword(path[len(path)-1]) })
}

// addEarlier adds the words of a model from an earlier run to the record, where no person has stated a text.
func (b *block) addEarlier(m *pipeline.Metadata) {
	for _, f := range pipeline.CaptionFields {
		w := b.earlier.Fields[f]
		if len(w.Values) == 0 || len(m.Texts()[f]) > 0 {
			continue
		}
		switch f {
		case pipeline.Title:
			m.Title = record.Clean(w.Values[0], record.MaxText)
		case pipeline.Description:
			m.Description = record.Clean(w.Values[0], record.MaxDescription)
		case pipeline.Keywords:
			m.Keywords = record.Keywords(w.Values)
		case pipeline.AltText:
			m.AltText = record.Clean(w.Values[0], record.MaxAltText)
		}
		m.Captioned = append(m.Captioned, f.String())
		if m.Caption == nil {
			m.Caption = &pipeline.Caption{Model: cmp.Or(record.Clean(w.Model, record.MaxText), unknownModel)}
		}
		m.Caption.Language = cmp.Or(m.Caption.Language, record.Clean(w.Language, record.MaxLanguage))
	}
}

// unknownModel stands for the model if another program removed its name.
const unknownModel = "unknown"
