package embedded

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// fromXMP interprets the packet. It also returns the packet, if it can be read: it has the marks of the texts that we
// wrote.
func fromXMP(view imagefile.Metadata, warned *record.Warnings) (b block, packet *xmp.Packet) {
	if view.Packet.TooLarge {
		warned.Add("XMP: a packet of more than %d bytes is not read", MaxPacket)
	}
	if view.XMP == nil || len(view.Packet.Text) == 0 {
		return block{}, nil
	}
	if err := view.XMP.Damage(); err != nil {
		warned.Add("XMP: reading stopped: %v", err)
	}
	return fromPacket(view.XMP, warned), view.XMP
}

// fromPacket interprets one packet.
func fromPacket(p *xmp.Packet, warned *record.Warnings) (b block) {
	r := xmpReader{p}
	b = block{
		title: r.one("dc:title"), description: r.one("dc:description"), keywords: r.all("dc:subject"),
		headline: r.one("photoshop:Headline"), paths: p.KeywordPaths(), altText: r.one("Iptc4xmpCore:AltTextAccessibility"),
		sourceType: record.Clean(r.one("Iptc4xmpExt:DigitalSourceType"), record.MaxText),
		madeBy: pipeline.MadeByAI{
			System:        record.Clean(r.one("Iptc4xmpExt:AISystemUsed"), record.MaxText),
			SystemVersion: record.Clean(r.one("Iptc4xmpExt:AISystemVersionUsed"), record.MaxText),
			Prompt:        record.Clean(r.one("Iptc4xmpExt:AIPromptInformation"), record.MaxDescription),
			PromptWriter:  record.Clean(r.one("Iptc4xmpExt:AIPromptWriterName"), record.MaxText),
		},
		creators: r.all("dc:creator"), copyright: r.one("dc:rights"),
		comment: record.Clean(r.one("exif:UserComment"), record.MaxText),
		exif: pipeline.Exif{
			CameraMake: record.Clean(r.one("tiff:Make"), record.MaxText), CameraModel: record.Clean(r.one("tiff:Model"), record.MaxText),
			Software: record.Clean(r.one("xmp:CreatorTool"), record.MaxText),
			GPS:      r.place(warned),
		},
	}
	if rating := r.one("xmp:Rating"); rating != "" {
		stars, err := strconv.ParseFloat(rating, 64)
		if err != nil {
			warned.Add("XMP xmp:Rating: %q is no number", rating)
		}
		b.rating = ratingOf(stars)
	}
	for _, property := range [...]string{"exifEX:LensModel", "aux:Lens"} {
		if b.exif.LensModel == "" {
			b.exif.LensModel = record.Clean(r.one(property), record.MaxText)
		}
	}
	for _, property := range [...]string{"exif:DateTimeOriginal", "photoshop:DateCreated"} {
		at := r.one(property)
		if b.exif.TakenAt == "" {
			b.exif.TakenAt = isoTime(at)
		}
		// XMP allows a date alone, but it is not precise enough. A clock that was never set shows zeros.
		if len(at) > len(time.DateOnly) && isoTime(at) == "" && strings.Trim(at, "0:-T Z") != "" {
			warned.Add("XMP %s: %q is no time", property, at)
		}
	}
	return b
}

// xmpReader returns the trimmed values of a packet.
type xmpReader struct{ packet *xmp.Packet }

// one returns a text. GIMP 2.8 writes the name of the default language in place of titles, descriptions and
// copyright notices.
func (r xmpReader) one(property string) string {
	text := strings.TrimSpace(r.packet.Text(property))
	if text == "x-default" {
		return ""
	}
	return text
}

func (r xmpReader) all(property string) []string {
	texts := r.packet.Texts(property)
	for i := range texts {
		texts[i] = strings.TrimSpace(texts[i])
	}
	return texts
}

// place returns where the image was taken, if both coordinates can be read.
func (r xmpReader) place(warned *record.Warnings) *pipeline.GPS {
	latitude, longitude := r.one("exif:GPSLatitude"), r.one("exif:GPSLongitude")
	if latitude == "" || longitude == "" || void(r.one("exif:GPSStatus")) {
		return nil
	}
	north, ok := xmpCoordinate(latitude, r.one("exif:GPSLatitudeRef"), "N", "S", 90)
	east, okEast := xmpCoordinate(longitude, r.one("exif:GPSLongitudeRef"), "E", "W", 180)
	if !ok || !okEast {
		warned.Add("XMP exif:GPSLatitude, exif:GPSLongitude: they are no place")
		return nil
	}
	if nowhere(north, east) {
		return nil
	}
	return &pipeline.GPS{Latitude: record.Round(north, 6), Longitude: record.Round(east, 6)}
}

// xmpUnits separates degrees, minutes and seconds. XMP wants commas.
var xmpUnits = strings.NewReplacer(
	"°", ",", "º", ",", "DEG", ",", ":", ",", "′", ",", "'", ",", "’", ",", "″", ",", "\"", ",", "”", ",", " ", ",",
)

// xmpCoordinate returns a coordinate in degrees. XMP wants "51,30.5N" or "51,30,30N". Other programs write "51.5083",
// "-51.5083", "51.5083 N", "51 deg 30' 30.00\" N" or fractions, as in "51/1,30/1,3050/100N". The reference of EXIF is
// needed only if it is negative.
func xmpCoordinate(s, ref, positive, negative string, limit float64) (degrees float64, ok bool) {
	s = strings.TrimSpace(strings.ToUpper(s))
	south := strings.HasPrefix(strings.ToUpper(ref), negative)
	if digits, has := cutEnd(s, negative); has {
		s, south = digits, true
	} else if digits, has := cutEnd(s, positive); has {
		s, south = digits, false
	}
	if digits, has := strings.CutPrefix(s, "-"); has {
		s, south = digits, true
	}
	parts := strings.FieldsFunc(xmpUnits.Replace(strings.TrimPrefix(s, "+")), func(r rune) bool { return r == ',' })
	if len(parts) < 1 || len(parts) > 3 {
		return 0, false
	}
	unit := 1.0
	for i, part := range parts {
		v, ok := unsigned(part)
		if !ok || i > 0 && v >= 60 {
			return 0, false
		}
		degrees += v / unit
		unit *= 60
	}
	if south {
		degrees = 0 - degrees
	}
	return degrees, math.Abs(degrees) <= limit
}

// cutEnd cuts a letter off the start or the end of s.
func cutEnd(s, letter string) (rest string, found bool) {
	if rest, found = strings.CutSuffix(s, letter); !found {
		rest, found = strings.CutPrefix(s, letter)
	}
	return strings.TrimSpace(rest), found
}

// unsigned reads a decimal number or a fraction.
func unsigned(s string) (float64, bool) {
	over, under, isFraction := strings.Cut(s, "/")
	v, err := strconv.ParseFloat(over, 64)
	if isFraction && err == nil {
		var d float64
		d, err = strconv.ParseFloat(under, 64)
		v /= d
	}
	return v, err == nil && v >= 0 && !math.IsInf(v, 0)
}
