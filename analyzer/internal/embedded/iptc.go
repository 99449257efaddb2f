package embedded

import (
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile/charset"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
)

// maxDataSets bounds the number of data sets that are read from an IPTC block.
const maxDataSets = 1000

// maxDeclaration is the length of the longest declaration of a character set, in bytes (IPTC-IIM 4.2, 1:90).
const maxDeclaration = 32

// fromIPTC interprets the data sets of an IPTC block.
func fromIPTC(r iptc.Resources, warned *record.Warnings) block {
	var found block
	if r.State == iptc.Missing || len(r.Sets) == 0 && r.Damage == nil {
		if r.Damaged {
			warned.Add("IPTC: an image resource cannot be read")
		}
		return found
	}
	text, date, clock := charset.Guess, "", ""
	for _, s := range r.Sets[:min(len(r.Sets), maxDataSets)] {
		switch [2]byte{s.Record, s.Number} {
		case [2]byte{iptc.EnvelopeRecord, iptc.CharacterSet}:
			var known bool
			if text, known = charset.Declared(s.Value[:min(len(s.Value), maxDeclaration)]); !known {
				warned.Add("IPTC: its character set %q is unknown", s.Value)
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

// iptcTime combines the date and the time, or returns "" unless both are present. In place of the time zone, GIMP
// writes the hour and the minute again; as a zone that exists nowhere, they do not count.
func iptcTime(date, clock string) string {
	const local, zoned = len("150405"), len("150405-0700")
	if len(clock) == zoned && clock[local+1:] == clock[:4] && (clock[:2] > "14" || clock[2:4] != "00" && clock[2:4] != "30") {
		clock = clock[:local]
	}
	return isoTime(date + "T" + clock)
}
