package describe

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// dataSet returns an IPTC data set.
func dataSet(record, number byte, value string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0x1c, record, number}, uint16(len(value))), value...)
}

// imageResource returns one of Photoshop's image resources.
func imageResource(id uint16, name string, data []byte) []byte {
	out := binary.BigEndian.AppendUint16([]byte("8BIM"), id)
	out = append(append(out, byte(len(name))), name...)
	if len(out)%2 == 1 {
		out = append(out, 0)
	}
	out = append(binary.BigEndian.AppendUint32(out, uint32(len(data))), data...)
	if len(data)%2 == 1 {
		out = append(out, 0)
	}
	return out
}

func TestIPTC(t *testing.T) {
	utf8Set, title := dataSet(1, 90, "\x1b%G"), dataSet(2, 5, "Z\u00fcrich")
	other := imageResource(0x0425, "", []byte("digest.."))
	for name, c := range map[string]struct {
		resources []byte
		title     string
		warned    bool
	}{
		"UTF-8":                          {imageResource(0x404, "", append(bytes.Clone(utf8Set), title...)), "Zürich", false},
		"UTF-8 without its declaration":  {imageResource(0x404, "", title), "Zürich", false},
		"Latin-1":                        {imageResource(0x404, "", dataSet(2, 5, "Z\xfcrich")), "Zürich", false},
		"after other resources":          {append(append(bytes.Clone(other), imageResource(0x040f, "odd", []byte("odd"))...), imageResource(0x404, "name", title)...), "Zürich", false},
		"padding":                        {imageResource(0x404, "", append(bytes.Clone(title), 0, 0, 0)), "Zürich", false},
		"followed by garbage":            {imageResource(0x404, "", append(bytes.Clone(title), "garbage"...)), "Zürich", true},
		"value far too long":             {imageResource(0x404, "", append(bytes.Clone(title), 0x1c, 2, 120, 0xff, 0xff, 'x')), "Zürich", true},
		"value one byte too long":        {imageResource(0x404, "", append(bytes.Clone(title), 0x1c, 2, 120, 0, 2, 'x')), "Zürich", true},
		"an extended data set":           {imageResource(0x404, "", append(bytes.Clone(title), 0x1c, 2, 120, 0x80, 4, 0, 0, 0, 1, 'x')), "Zürich", true},
		"extended, in a long block":      {imageResource(0x404, "", slices.Concat(title, []byte("\x1c\x02\x05\x80\x04\x00\x00\x00\x01x"), make([]byte, 0x9000))), "Zürich", true},
		"resource longer than the block": {append(bytes.Clone(other), "8BIM\x04\x04\x00\x00\xff\xff\xff\xff"...), "", true},
		"resources of another signature": {[]byte("PHUT\x04\x04\x00\x00\x00\x00\x00\x00"), "", true},
		"none":                           {other, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var w warnings
			if got := readIPTC(c.resources, &w); got.title != c.title || (w.list != nil) != c.warned {
				t.Errorf("title %q, want %q; warnings %q", got.title, c.title, w.list)
			}
		})
	}
}
