package describe

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// iccOf returns a profile with a description.
func iccOf(tag string) []byte {
	p := make([]byte, 128, 200)
	copy(p[36:], "acsp")
	be := binary.BigEndian
	p = be.AppendUint32(p, 2)
	p = be.AppendUint32(be.AppendUint32(append(p, "cprt"...), 999_999), 4)
	p = be.AppendUint32(be.AppendUint32(append(p, "desc"...), 156), uint32(len(tag)))
	return append(p, tag...)
}

func TestProfileNames(t *testing.T) {
	const v4 = "mluc\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x0cdeDE\x00\x00\x00\x04\x00\x00\x00\x28enUS\x00\x00\x00\x06\x00\x00\x00\x2c" + "\x00X\x00Y\x00s\x00R\x00G"
	for name, c := range map[string]struct {
		header imagefile.Header
		want   string
		warned bool
	}{
		"version 2":                    {imagefile.Header{Format: "jpeg", ICC: iccOf("desc\x00\x00\x00\x00\x00\x00\x00\x05sRGB\x00\x00\x00")}, "sRGB", false},
		"version 4":                    {imagefile.Header{Format: "jpeg", ICC: iccOf(v4)}, "sRG", false},
		"no profile":                   {imagefile.Header{Format: "jpeg"}, "", false},
		"garbage":                      {imagefile.Header{Format: "jpeg", ICC: []byte("garbage")}, "", true},
		"text longer than the profile": {imagefile.Header{Format: "jpeg", ICC: iccOf("desc\x00\x00\x00\x00\xff\xff\xff\xffsRGB")}, "sRGB", false},
		"of a PNG":                     {imagefile.Header{Format: "png", ICC: append([]byte("icc\x00\x00"), deflated(iccOf("desc\x00\x00\x00\x00\x00\x00\x00\x03P3\x00"))...)}, "P3", false},
		"of a PNG, damaged":            {imagefile.Header{Format: "png", ICC: []byte("Display P3\x00\x00garbage")}, "Display P3", false},
		"of a PNG, no name":            {imagefile.Header{Format: "png", ICC: []byte("garbage")}, "", true},
		"inflates to megabytes":        {imagefile.Header{Format: "png", ICC: append([]byte("bomb\x00\x00"), deflated(make([]byte, 20<<20))...)}, "bomb", true},
	} {
		t.Run(name, func(t *testing.T) {
			var w warnings
			profile, name := profileOf(c.header, &w)
			if got := profileName(profile, name, &w); got != c.want || (w.list != nil) != c.warned {
				t.Errorf("got %q, want %q; warnings %q", got, c.want, w.list)
			}
		})
	}
}

// deflated returns a zlib stream.
func deflated(data []byte) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write(data) // writes to memory do not fail
	_ = w.Close()
	return b.Bytes()
}
