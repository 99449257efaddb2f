package embedded

import (
	"bytes"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
)

func TestIPTC(t *testing.T) {
	utf8Set, title := fixture.DataSet(1, 90, "\x1b%G"), fixture.DataSet(2, 5, "Z\u00fcrich")
	other := fixture.ImageResource(0x0425, "", []byte("digest.."))
	for name, c := range map[string]struct {
		resources []byte
		title     string
		warned    bool
	}{
		"UTF-8":                          {fixture.ImageResource(0x404, "", append(bytes.Clone(utf8Set), title...)), "Zürich", false},
		"UTF-8 without its declaration":  {fixture.ImageResource(0x404, "", title), "Zürich", false},
		"Latin-1":                        {fixture.ImageResource(0x404, "", fixture.DataSet(2, 5, "Z\xfcrich")), "Zürich", false},
		"Windows-1252":                   {fixture.ImageResource(0x404, "", fixture.DataSet(2, 5, "\x93Z\xfcrich\x94 \x96 5 \x80")), "“Zürich” – 5 €", false},
		"declared UTF-8, but is not":     {fixture.ImageResource(0x404, "", append(bytes.Clone(utf8Set), fixture.DataSet(2, 5, "Z\xfcrich")...)), "Zürich", false},
		"ISO 8859-1":                     {fixture.ImageResource(0x404, "", append(fixture.DataSet(1, 90, "\x1b.A"), fixture.DataSet(2, 5, "Z\xfcrich \xa4")...)), "Zürich ¤", false},
		"ISO 8859-15":                    {fixture.ImageResource(0x404, "", append(fixture.DataSet(1, 90, "\x1b-b"), fixture.DataSet(2, 5, "Z\xfcrich \xa4")...)), "Zürich €", false},
		"unknown character set":          {fixture.ImageResource(0x404, "", append(fixture.DataSet(1, 90, "\x1b$B"), title...)), "Zürich", true},
		"after other resources":          {append(append(bytes.Clone(other), fixture.ImageResource(0x040f, "odd", []byte("odd"))...), fixture.ImageResource(0x404, "name", title)...), "Zürich", false},
		"zeros between resources":        {slices.Concat(other, make([]byte, 3), fixture.ImageResource(0x404, "", title)), "Zürich", false},
		"padding":                        {fixture.ImageResource(0x404, "", append(bytes.Clone(title), 0, 0, 0)), "Zürich", false},
		"followed by garbage":            {fixture.ImageResource(0x404, "", append(bytes.Clone(title), "garbage"...)), "Zürich", true},
		"value far too long":             {fixture.ImageResource(0x404, "", append(bytes.Clone(title), 0x1c, 2, 120, 0xff, 0xff, 'x')), "Zürich", true},
		"value one byte too long":        {fixture.ImageResource(0x404, "", append(bytes.Clone(title), 0x1c, 2, 120, 0, 2, 'x')), "Zürich", true},
		"an extended data set":           {fixture.ImageResource(0x404, "", append(bytes.Clone(title), 0x1c, 2, 120, 0x80, 4, 0, 0, 0, 1, 'x')), "Zürich", false},
		"extended, in a long block":      {fixture.ImageResource(0x404, "", slices.Concat(title, []byte("\x1c\x02\x05\x80\x04\x00\x00\x00\x01x"), make([]byte, 0x9000))), "x", false},
		"resource longer than the block": {append(bytes.Clone(other), "8BIM\x04\x04\x00\x00\xff\xff\xff\xff"...), "", true},
		"resources of another signature": {[]byte("PHUT\x04\x04\x00\x00\x00\x00\x00\x00"), "", true},
		"none":                           {other, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var w record.Warnings
			if got := fromIPTC(iptc.Parse(c.resources), &w); got.title != c.title || (w.List != nil) != c.warned {
				t.Errorf("title %q, want %q; warnings %q", got.title, c.title, w.List)
			}
		})
	}
}

func TestIPTCTimes(t *testing.T) {
	for _, c := range []struct{ date, clock, want string }{
		{"20240529", "171921+0200", "2024-05-29T17:19:21+02:00"},
		{"20240529", "171921", "2024-05-29T17:19:21"},
		{"2024-05-29", "17:19:21-07:00", "2024-05-29T17:19:21-07:00"},
		{"20240529", "1719", "2024-05-29T17:19:00"},
		{"20180330", "182859-1828", "2018-03-30T18:28:59"}, // as GIMP writes it
		{"20140313", "030238-0302", "2014-03-13T03:02:38"},
		{"20140313", "053038-0530", "2014-03-13T05:30:38-05:30"},
		{"20140313", "050038-0500", "2014-03-13T05:00:38-05:00"},
		{"20240529", "", ""},
		{"", "171921+0200", ""},
		{"00000000", "000000+0000", ""},
	} {
		if got := iptcTime(c.date, c.clock); got != c.want {
			t.Errorf("%s and %s: %q, want %q", c.date, c.clock, got, c.want)
		}
	}
}
