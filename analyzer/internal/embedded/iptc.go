package embedded

import (
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile/charset"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
)

// maxDataSets bounds the number of data sets that are read from an IPTC block.
const maxDataSets = 1000

// fromIPTC interprets the data sets of an IPTC block.
func fromIPTC(r iptc.Resources, warned *record.Warnings) block {
	var found block
	if r.State == iptc.Missing || len(r.Sets) == 0 && r.Damage == nil {
		if r.Damaged {
			warned.Add("IPTC: an image resource cannot be read")
		}
		return found
	}
	text := charset.Guess
	date, clock := "", ""
	for _, s := range r.Sets[:min(len(r.Sets), maxDataSets)] {
		switch [2]byte{s.Record, s.Number} {
		case [2]byte{iptc.EnvelopeRecord, iptc.CharacterSet}:
			if string(s.Value) == iptc.UTF8 {
				text = func(b []byte) string { return string(b) }
			}
		case [2]byte{iptc.ApplicationRecord, iptc.Title}:
			found.title = text(s.Value)
		case [2]byte{iptc.ApplicationRecord, iptc.Keywords}:
			found.keywords = append(found.keywords, text(s.Value))
		case [2]byte{iptc.ApplicationRecord, iptc.DateCreated}:
			date = string(s.Value)
		case [2]byte{iptc.ApplicationRecord, iptc.TimeCreated}:
			clock = string(s.Value)
		case [2]byte{iptc.ApplicationRecord, iptc.Creator}:
			found.creators = append(found.creators, text(s.Value))
		case [2]byte{iptc.ApplicationRecord, iptc.Headline}:
			found.headline = text(s.Value)
		case [2]byte{iptc.ApplicationRecord, iptc.Copyright}:
			found.copyright = text(s.Value)
		case [2]byte{iptc.ApplicationRecord, iptc.Description}:
			found.description = text(s.Value)
		}
	}
	if r.Damage != nil {
		warned.Add("%v", r.Damage)
	}
	found.exif.TakenAt = iptcTime(date, clock)
	return found
}

// iptcTime combines the date and the time, or returns "" unless both are present.
func iptcTime(date, clock string) string {
	if t, err := time.Parse("20060102150405-0700", date+clock); err == nil {
		return t.Format(zonedTime)
	}
	if t, err := time.Parse("20060102150405", date+clock); err == nil {
		return t.Format(localTime)
	}
	return ""
}
