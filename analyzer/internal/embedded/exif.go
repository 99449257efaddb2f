package embedded

import (
	"fmt"
	"math"
	"strings"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/charset"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// fromEXIF interprets the EXIF block. An invalid tag costs only that tag and adds a warning.
func fromEXIF(view imagefile.Metadata, warned *record.Warnings) block {
	if !view.HasEXIF {
		return block{}
	}
	if view.EXIFError != nil {
		warned.Add("EXIF: %v", view.EXIFError)
		return block{}
	}
	tags := collectTags(view.EXIF, warned)
	b := block{
		exif: pipeline.Exif{
			CameraMake:    tags.text("Make"),
			CameraModel:   tags.text("Model"),
			LensModel:     tags.text("LensModel"),
			Software:      tags.text("Software"),
			TakenAt:       tags.takenAt(warned),
			ExposureTime:  tags.exposureTime(warned),
			FNumber:       tags.positive("FNumber", 1000, warned),
			ISO:           tags.iso(),
			ExposureBias:  tags.exposureBias(warned),
			FocalLength:   tags.positive("FocalLength", 100_000, warned),
			FocalLength35: tags.whole("FocalLengthIn35mmFormat"),
			FlashFired:    tags.flashFired(),
			GPS:           tags.gps(warned),
		},
		description: tags.raw("ImageDescription"),
		copyright:   tags.text("Copyright"),
		rating:      ratingOf(float64(tags.whole("Rating"))),
		comment:     record.Clean(tags.comment(), record.MaxText),
	}
	// Several names are separated by semicolons.
	b.creators = strings.Split(tags.raw("Artist"), ";")
	return b
}

func (v exifTags) text(tag string) string {
	return record.Clean(v.raw(tag), record.MaxText)
}

// raw returns a text as it is in the file.
func (v exifTags) raw(tag string) string {
	e, ok := v.entries[tag]
	if !ok {
		return ""
	}
	text, _ := v.block.Text(e)
	return charset.Guess(text)
}

// comment returns the UserComment, whose first 8 bytes name its encoding.
func (v exifTags) comment() string {
	e, ok := v.entries["UserComment"]
	if !ok {
		return ""
	}
	at, _ := v.block.Value(e)
	value := at.Of(v.block.Data)
	switch text := value[8:]; string(value[:8]) {
	case "ASCII\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00":
		return charset.Guess(text)
	case "UNICODE\x00":
		return charset.UTF16(text, v.block.Order)
	default:
		return ""
	}
}

// positive returns the value of a rational, rounded to 2 decimals, or 0, which means absent, unless it lies
// between 0 and limit.
func (v exifTags) positive(tag string, limit float64, warned *record.Warnings) float64 {
	f, ok := v.rational(tag)
	if !ok || f == 0 {
		return 0
	}
	if f < 0 || f > limit {
		warned.Add("EXIF %s: %g is impossible", tag, f)
		return 0
	}
	return record.Round(f, 2)
}

func (v exifTags) rational(tag string) (float64, bool) {
	e, ok := v.entries[tag]
	if !ok {
		return 0, false
	}
	f, ok := v.block.Fraction(e, 0)
	return f.Float(), ok && f.Den != 0
}

// exposureTime returns the reduced fraction of the file, in seconds.
func (v exifTags) exposureTime(warned *record.Warnings) string {
	e, ok := v.entries["ExposureTime"]
	if !ok {
		return ""
	}
	f, ok := v.block.Fraction(e, 0)
	if !ok || f.Num == 0 {
		return ""
	}
	f = f.Reduced()
	text := fmt.Sprint(f.Num)
	if f.Den != 1 {
		text += fmt.Sprintf("/%d", f.Den)
	}
	if const1Day := 86_400.0; f.Float() > const1Day {
		warned.Add("EXIF ExposureTime: %s s is impossible", text)
		return ""
	}
	return text
}

// iso returns the sensitivity. Its tag has 16 bits; a camera that needs more sets them all and writes the value
// into another tag.
func (v exifTags) iso() int {
	const overflow = 65535
	iso := v.whole("ISO")
	if iso == overflow || iso == 0 {
		for _, tag := range [...]string{"RecommendedExposureIndex", "ISOSpeed"} {
			if more := v.whole(tag); more > 0 && more <= 100_000_000 {
				return more
			}
		}
	}
	return iso
}

// whole returns the first value of an integer tag.
func (v exifTags) whole(tag string) int {
	e, ok := v.entries[tag]
	if !ok {
		return 0
	}
	n, _ := v.block.Integer(e, 0)
	return int(n)
}

// exposureBias returns the bias in EV. 0 is also a valid value.
func (v exifTags) exposureBias(warned *record.Warnings) *float64 {
	bias, ok := v.rational("ExposureCompensation")
	if !ok {
		return nil
	}
	if math.Abs(bias) > 99 {
		warned.Add("EXIF ExposureCompensation: %g EV are impossible", bias)
		return nil
	}
	bias = record.Round(bias, 2)
	return &bias
}

func (v exifTags) flashFired() *bool {
	if _, ok := v.entries["Flash"]; !ok {
		return nil
	}
	fired := v.whole("Flash")&1 == 1
	return &fired
}
