package embedded

import (
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
)

// takenAt returns the time at which the image was taken or, if that is missing, digitized. The time of the last
// change does not show when the image was taken.
func (v exifTags) takenAt(warned *record.Warnings) string {
	for _, when := range [...]struct{ tag, zone string }{
		{"DateTimeOriginal", "OffsetTimeOriginal"},
		{"CreateDate", "OffsetTimeDigitized"},
	} {
		s := v.text(when.tag)
		// A camera whose clock was never set writes only zeros, blanks or colons.
		if strings.Trim(s, "0: ") == "" {
			continue
		}
		t, err := time.Parse("2006:01:02 15:04:05", s)
		if err != nil {
			warned.Add("EXIF %s: %q is no time", when.tag, s)
			continue
		}
		zone := v.text(when.zone)
		if strings.Trim(zone, ": ") == "" {
			return t.Format(localTime)
		}
		zoned, err := time.Parse(zonedTime, t.Format(localTime)+zone)
		if err != nil {
			warned.Add("EXIF %s: %q is no time zone", when.zone, zone)
			return t.Format(localTime)
		}
		return zoned.Format(zonedTime)
	}
	return ""
}

// The time formats of the record.
const (
	localTime = "2006-01-02T15:04:05"
	zonedTime = "2006-01-02T15:04:05Z07:00"
)

// isoTime reads a time as XMP writes it (ISO 8601), with or without seconds and zone, or returns "". It ignores
// a date without a time: the hours would be invented.
func isoTime(s string) string {
	for _, layout := range [...]string{zonedTime, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format(zonedTime)
		}
	}
	for _, layout := range [...]string{localTime, "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format(localTime)
		}
	}
	return ""
}
