package embedded

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/charset"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// fromEXIF interprets the EXIF block, and separately the tags in it that Windows defines. An invalid tag costs only
// that tag and adds a warning.
func fromEXIF(view imagefile.Metadata, warned *record.Warnings) (b, windows block) {
	if !view.HasEXIF {
		return b, windows
	}
	if view.EXIFError != nil {
		warned.Add("EXIF: %v", view.EXIFError)
		return b, windows
	}
	tags := collectTags(view.EXIF, warned)
	b = block{
		exif: pipeline.Exif{
			CameraMake:    tags.text("Make"),
			CameraModel:   tags.text("Model"),
			LensModel:     tags.text("LensModel"),
			Software:      tags.text("Software"),
			TakenAt:       tags.takenAt(warned),
			ExposureTime:  tags.exposureTime(warned),
			FNumber:       tags.positive("FNumber", 1000, warned),
			ISO:           tags.iso(warned),
			ExposureBias:  tags.exposureBias(warned),
			FocalLength:   tags.positive("FocalLength", 100_000, warned),
			FocalLength35: tags.whole("FocalLengthIn35mmFormat", 100_000, warned),
			FlashFired:    tags.flashFired(),
			GPS:           tags.gps(warned),
		},
		description: tags.raw("ImageDescription"),
		copyright:   tags.copyright(),
		comment:     record.Clean(tags.comment(), record.MaxText),
	}
	stars, _ := tags.number("Rating")
	b.rating = ratingOf(stars)
	// Several names are separated by semicolons.
	b.creators = strings.Split(tags.raw("Artist"), ";")
	windows = tags.windows()
	// Windows writes a title into ImageDescription too. A comment is then the better description.
	if windows.description != "" && record.Clean(b.description, record.MaxDescription) == record.Clean(windows.title, record.MaxDescription) {
		b.description = ""
	}
	return b, windows
}

// windows returns the values of the tags that Windows defines. Its lists are separated by semicolons.
func (v exifTags) windows() block {
	return block{
		title:       v.utf16("XPTitle"),
		description: cmp.Or(record.Clean(v.utf16("XPComment"), record.MaxDescription), v.utf16("XPSubject")),
		keywords:    strings.Split(v.utf16("XPKeywords"), ";"),
		creators:    strings.Split(v.utf16("XPAuthor"), ";"),
	}
}

func (v exifTags) text(tag string) string {
	return record.Clean(v.raw(tag), record.MaxText)
}

// raw returns a text as it is in the file, up to its first zero.
func (v exifTags) raw(tag string) string {
	text, _, _ := bytes.Cut(v.bytes(tag), []byte{0})
	return charset.Guess(text)
}

// utf16 returns one of the texts of Windows. They are little-endian in every block.
func (v exifTags) utf16(tag string) string {
	text := v.bytes(tag)
	switch e := v.entries[tag]; e.Type {
	case tiff.Short, tiff.SShort:
		return charset.GuessUTF16(text, v.block.Order)
	case tiff.ASCII, tiff.UTF8:
		if text = bytes.TrimRight(text, "\x00"); bytes.IndexByte(text, 0) < 0 {
			return charset.Guess(text)
		}
	}
	return charset.GuessUTF16(text, binary.LittleEndian)
}

// copyright returns the copyright of the photographer and, after a zero, that of the editor.
func (v exifTags) copyright() string {
	parts := strings.SplitN(charset.Guess(v.bytes("Copyright")), "\x00", 3)
	for i := range parts {
		parts[i] = record.Clean(parts[i], record.MaxText)
	}
	return strings.TrimSpace(strings.Join(parts[:min(len(parts), 2)], " "))
}

// comment returns the UserComment, whose first 8 bytes name its encoding. Some cameras pad the name with spaces, and
// some programs omit it.
func (v exifTags) comment() string {
	const named = 8
	value := v.bytes("UserComment")
	if len(value) < named {
		return charset.Guess(bytes.TrimRight(value, "\x00"))
	}
	name, _, _ := strings.Cut(string(value[:named]), "\x00")
	text := value[named:]
	switch name = strings.TrimRight(name, " "); {
	case name == "UNICODE", name == "Unicode" && bytes.IndexByte(text, 0) >= 0:
		return charset.GuessUTF16(text, v.block.Order)
	case name == "JIS":
		return charset.JIS(text)
	case name != "" && name != "ASCII" && name != "Unicode":
		text = value
	}
	text, _, _ = bytes.Cut(text, []byte{0})
	return charset.Guess(text)
}

// positive returns the value of a rational, rounded to 2 decimals, or 0, which means absent, unless it lies
// between 0 and limit.
func (v exifTags) positive(tag string, limit float64, warned *record.Warnings) float64 {
	f, ok := v.number(tag)
	if !ok || f == 0 {
		return 0
	}
	if f < 0 || f > limit {
		warned.Add("EXIF %s: %g is impossible", tag, f)
		return 0
	}
	return record.Round(f, 2)
}

func (v exifTags) number(tag string) (float64, bool) {
	e, ok := v.entries[tag]
	if !ok {
		return 0, false
	}
	return v.block.Number(e, 0)
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
	if const1Day := 86_400.0; f.Num < 0 || f.Float() > const1Day {
		warned.Add("EXIF ExposureTime: %s s is impossible", text)
		return ""
	}
	return text
}

// iso returns the sensitivity. Its tag has 16 bits; a camera that needs more sets them all and writes the value
// into another tag.
func (v exifTags) iso(warned *record.Warnings) int {
	const overflow = 65535
	iso := v.whole("ISO", maxISO, warned)
	if iso == overflow || iso == 0 {
		for _, tag := range [...]string{"RecommendedExposureIndex", "ISOSpeed"} {
			if more := v.whole(tag, maxISO, warned); more > 0 {
				return more
			}
		}
	}
	return iso
}

const maxISO = 100_000_000

// whole returns the first value of a tag, rounded to an integer, or 0, which means absent, unless it lies between 0 and
// limit.
func (v exifTags) whole(tag string, limit float64, warned *record.Warnings) int {
	f, _ := v.number(tag)
	if f = math.Round(f); f < 0 || f > limit {
		warned.Add("EXIF %s: %g is impossible", tag, f)
		return 0
	}
	return int(f)
}

// exposureBias returns the bias in EV. 0 is also a valid value.
func (v exifTags) exposureBias(warned *record.Warnings) *float64 {
	bias, ok := v.number("ExposureCompensation")
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
	flash, ok := v.number("Flash")
	if !ok || math.Abs(flash) > math.MaxUint16 {
		return nil
	}
	fired := int(flash)&1 == 1
	return &fired
}
