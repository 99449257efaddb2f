package describe

import (
	"bytes"
	"encoding/binary"
	"time"
)

// maxDataSets bounds the number of data sets that are read from an IPTC block.
const maxDataSets = 1000

// readIPTC reads the caption of IPTC-IIM 4.2 from Photoshop's image resources (Adobe Photoshop File Formats
// Specification, Image Resource Blocks), where IPTC is the resource 0x0404. It stops at the first unreadable
// part.
func readIPTC(resources []byte, warned *warnings) embedded {
	for rest := resources; len(rest) >= 4; {
		id, data, after, ok := resource(rest)
		if !ok {
			warned.add("IPTC: an image resource cannot be read")
			break
		}
		if id == 0x0404 {
			return readDataSets(data, warned)
		}
		rest = after
	}
	return embedded{}
}

// resource splits off the first image resource.
func resource(b []byte) (id uint16, data, rest []byte, ok bool) {
	// 8BIM, number, name with its length, both padded to even, size.
	if len(b) < 12 || string(b[:4]) != "8BIM" {
		return 0, nil, nil, false
	}
	id = binary.BigEndian.Uint16(b[4:])
	at := 6 + (1+int(b[6])+1)&^1
	if len(b) < at+4 {
		return 0, nil, nil, false
	}
	size := int64(binary.BigEndian.Uint32(b[at:]))
	b = b[at+4:]
	if size > int64(len(b)) {
		return 0, nil, nil, false
	}
	return id, b[:size], b[min(size+size&1, int64(len(b))):], true
}

// readDataSets reads the data sets of the records 1 and 2.
func readDataSets(b []byte, warned *warnings) embedded {
	var found embedded
	text := eitherText
	date, clock := "", ""
	for range maxDataSets {
		// Padding may follow the last data set.
		if b = bytes.TrimLeft(b, "\x00"); len(b) == 0 {
			break
		}
		if len(b) < 5 || b[0] != 0x1c {
			warned.add("IPTC: a data set cannot be read")
			break
		}
		record, number, size := b[1], b[2], int(binary.BigEndian.Uint16(b[3:]))
		// Our data sets have no extended size, whose marker bit would make it 32 kB.
		if b = b[5:]; size > len(b) || size >= 0x8000 {
			warned.add("IPTC %d:%d: its value lies outside of the block", record, number)
			break
		}
		value := b[:size]
		b = b[size:]
		switch [2]byte{record, number} {
		case [2]byte{1, 90}:
			if string(value) == "\x1b%G" {
				text = func(b []byte) string { return string(b) }
			}
		case [2]byte{2, 5}:
			found.title = text(value)
		case [2]byte{2, 25}:
			found.keywords = append(found.keywords, text(value))
		case [2]byte{2, 55}:
			date = string(value)
		case [2]byte{2, 60}:
			clock = string(value)
		case [2]byte{2, 80}:
			found.creators = append(found.creators, text(value))
		case [2]byte{2, 116}:
			found.copyright = text(value)
		case [2]byte{2, 120}:
			found.description = text(value)
		}
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
