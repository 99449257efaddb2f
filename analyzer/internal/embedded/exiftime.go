package embedded

import (
	"cmp"
	"regexp"
	"strconv"
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
		t, zoned, ok := parseTime(s)
		if !ok {
			warned.Add("EXIF %s: %q is no time", when.tag, s)
			continue
		}
		zone := v.text(when.zone)
		if zoned || strings.Trim(zone, ": ") == "" {
			return formatTime(t, zoned)
		}
		location, ok := parseZone(zone)
		if !ok {
			warned.Add("EXIF %s: %q is no time zone", when.zone, zone)
			return formatTime(t, false)
		}
		return formatTime(time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, location), true)
	}
	return ""
}

// The time formats of the record.
const (
	localTime = "2006-01-02T15:04:05"
	zonedTime = "2006-01-02T15:04:05Z07:00"
)

func formatTime(t time.Time, zoned bool) string {
	if zoned {
		return t.Format(zonedTime)
	}
	return t.Format(localTime)
}

// isoTime reads a time as XMP writes it (ISO 8601), or returns "". It ignores a date without a time: the hours would be
// invented.
func isoTime(s string) string {
	t, zoned, ok := parseTime(s)
	if !ok {
		return ""
	}
	return formatTime(t, zoned)
}

// near matches the times of EXIF (2006:01:02 15:04:05), of ISO 8601 (2006-01-02T15:04:05.999+01:00, 20060102T150405Z) and
// what programs write in between: other separators, blanks for zeros, no seconds, the zone of one format in the other.
var near = regexp.MustCompile(`^(\d{4})(?:[-:/. ]([ \d]?\d)[-:/. ]([ \d]?\d)|(\d\d)(\d\d))(?: *T *| +|:)?` +
	`(?:([ \d]?\d):(\d\d)(?::([ \d]?\d))?|(\d\d)(\d\d)(\d\d)?)(?:[.,]\d*)? *([-+zZUuGg].*)?$`)

// parseTime reads a time, with or without its zone.
func parseTime(s string) (t time.Time, zoned, ok bool) {
	m := near.FindStringSubmatch(s)
	if m == nil {
		return t, false, false
	}
	number := func(texts ...string) int {
		n, _ := strconv.Atoi(strings.TrimSpace(cmp.Or(texts...)))
		return n
	}
	location := time.UTC
	if zone := m[12]; zone != "" {
		if location, zoned = parseZone(zone); !zoned {
			return t, false, false
		}
	}
	year, month, day := number(m[1]), number(m[2], m[4]), number(m[3], m[5])
	hour, minute, second := number(m[6], m[9]), number(m[7], m[10]), number(m[8], m[11])
	t = time.Date(year, time.Month(month), day, hour, minute, second, 0, location)
	// Date normalizes a 31 February.
	ok = year > 0 && int(t.Month()) == month && t.Hour() == hour && t.Minute() == minute && t.Second() == second
	return t, zoned, ok
}

var nearZone = regexp.MustCompile(`^(?i:UTC|GMT)? ?([-+]) ?(\d{1,2}):?(\d\d)?$`)

// parseZone reads a time zone: +01:00, +0100, +01, Z, or the distance from UTC.
func parseZone(s string) (*time.Location, bool) {
	switch s = strings.TrimSpace(s); strings.ToUpper(s) {
	case "Z", "UTC", "GMT":
		return time.UTC, true
	}
	m := nearZone.FindStringSubmatch(s)
	if m == nil {
		return nil, false
	}
	hours, _ := strconv.Atoi(m[2])
	minutes, _ := strconv.Atoi(cmp.Or(m[3], "0"))
	if hours > 14 || minutes > 59 {
		return nil, false
	}
	seconds := 3600*hours + 60*minutes
	if m[1] == "-" {
		seconds = -seconds
	}
	return time.FixedZone("", seconds), true
}
