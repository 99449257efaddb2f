package embedded

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func fullExifWant() *pipeline.Exif {
	altitude := -25.5
	return &pipeline.Exif{
		CameraMake: "Canon", CameraModel: "Canon EOS R5", LensModel: "RF50mm F1.2 L USM",
		TakenAt: "2024-05-29T17:19:21+02:00", ExposureTime: "1/250", FNumber: 2.8, ISO: 400, FocalLength: 50,
		GPS: &pipeline.GPS{Latitude: -33.859997, Longitude: 151.211111, Altitude: &altitude},
	}
}

func read(data []byte) (*pipeline.Exif, []string) {
	var w record.Warnings
	view := imagefile.Metadata{HasEXIF: true}
	view.EXIF, view.EXIFError = tiff.Parse(data)
	b := fromEXIF(view, &w)
	if b.exif == (pipeline.Exif{}) {
		return nil, w.List
	}
	return &b.exif, w.List
}

func TestExifOfAWholeBlock(t *testing.T) {
	got, warned := read(fixture.TIFF(fixture.FullExif...))
	if !reflect.DeepEqual(got, fullExifWant()) || warned != nil {
		t.Errorf("got %s, warnings %q", asJSON(t, got), warned)
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOneBadTagCostsNoOther puts each kind of bad entry before good ones.
func TestOneBadTagCostsNoOther(t *testing.T) {
	outside := binary.BigEndian.AppendUint32(nil, 0xffffff)
	for _, c := range []struct {
		name    string
		bad     fixture.Entry
		warning string // a part of the warning; "" for none
	}{
		{"unknown type", fixture.Tag(dirImage, 0x0100, 99, []byte{1}), ""},
		{"unknown type of a known tag", fixture.Tag(dirExif, 0x9004, 99, []byte{1}), "CreateDate"},
		{"wrong type", fixture.Tag(dirExif, 0x9012, tiff.Long, []byte{0, 0, 0, 1}), "OffsetTimeDigitized"},
		{"value outside", fixture.Tag(dirImage, 0x0131, tiff.ASCII, bytes.Repeat([]byte("x"), 30)), "Software"},
		{"pointer to nowhere", fixture.Tag(dirImage, 0x014a, tiff.Long, outside), ""},
		{"pointer to a directory again", fixture.Tag(dirImage, tiff.TagGPS, tiff.Long, outside), ""},
		{"maker note of a megabyte", fixture.Tag(dirExif, 0x927c, 7, []byte{1, 2, 3, 4}), ""},
		{"CFA pattern that is too short", fixture.Tag(dirExif, 0xa302, 7, []byte{1}), ""},
		{"an unknown fraction over zero", fixture.Tag(dirExif, 0x9202, tiff.Rational, fixture.Rationals(1, 0)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			block := fixture.TIFF(append([]fixture.Entry{c.bad}, fixture.FullExif...)...)
			if c.name == "value outside" {
				i := bytes.Index(block, []byte("\x01\x31\x00\x02"))
				copy(block[i+8:], outside)
			}
			got, warned := read(block)
			if !reflect.DeepEqual(got, fullExifWant()) {
				t.Errorf("the other tags are %s", asJSON(t, got))
			}
			if all := strings.Join(warned, "\n"); (c.warning == "") != (all == "") || !strings.Contains(all, c.warning) {
				t.Errorf("warnings %q, want one about %q", warned, c.warning)
			}
		})
	}
}

func TestExifDoubtfulValues(t *testing.T) {
	gps := func(latitude []byte, ref string) []fixture.Entry {
		return []fixture.Entry{
			fixture.Tag(dirGPS, 0x0001, tiff.ASCII, []byte(ref)),
			fixture.Tag(dirGPS, 0x0002, tiff.Rational, latitude),
			fixture.Tag(dirGPS, 0x0003, tiff.ASCII, []byte("W\x00")),
			fixture.Tag(dirGPS, 0x0004, tiff.Rational, fixture.Rationals(8, 1, 0, 1, 0, 1)),
		}
	}
	date := func(tag uint16, s string) fixture.Entry {
		return fixture.Tag(dirExif, tag, tiff.ASCII, []byte(s+"\x00"))
	}
	for _, c := range []struct {
		name    string
		entries []fixture.Entry
		want    *pipeline.Exif
		warned  bool
	}{
		{"a good place", gps(fixture.Rationals(10, 1, 30, 1, 0, 1), "N\x00"), &pipeline.Exif{GPS: &pipeline.GPS{Latitude: 10.5, Longitude: -8}}, false},
		{"a place without a fix", gps(fixture.Rationals(0, 0, 0, 0, 0, 0), "N\x00"), nil, false},
		{"a place without a hemisphere", gps(fixture.Rationals(10, 1, 0, 1, 0, 1), "\x00"), nil, true},
		{"a place beyond the pole", gps(fixture.Rationals(91, 1, 0, 1, 0, 1), "N\x00"), nil, true},
		{"clock was never set", []fixture.Entry{date(0x9003, "0000:00:00 00:00:00")}, nil, false},
		{"blank clock", []fixture.Entry{date(0x9003, "    :  :     :  :  ")}, nil, false},
		{"invalid month", []fixture.Entry{date(0x9003, "2024:13:01 00:00:00")}, nil, true},
		{"the next best time", []fixture.Entry{date(0x9003, "garbage"), date(0x9004, "2020:01:02 03:04:05")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05"}, true},
		{"a time in UTC", []fixture.Entry{date(0x9003, "2020:01:02 03:04:05"), date(0x9011, "+00:00")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05Z"}, false},
		{"invalid time zone", []fixture.Entry{date(0x9003, "2020:01:02 03:04:05"), date(0x9011, "CEST")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05"}, true},
		{"garbage after the end of a string", []fixture.Entry{fixture.Tag(dirImage, 0x010f, tiff.ASCII, []byte("Sony\x00\xff\xfejunk\x00"))}, &pipeline.Exif{CameraMake: "Sony"}, false},
		{"control characters", []fixture.Entry{fixture.Tag(dirImage, 0x010f, tiff.ASCII, []byte("\x1b[31mNi\x07kon \x00"))}, &pipeline.Exif{CameraMake: "[31mNikon"}, false},
		{"two ISO values", []fixture.Entry{fixture.Tag(dirExif, 0x8827, tiff.Short, append(fixture.Short(200), fixture.Short(0)...))}, &pipeline.Exif{ISO: 200}, false},
		{"ISO over 16 bits", []fixture.Entry{fixture.Tag(dirExif, 0x8827, tiff.Short, fixture.Short(65535)), fixture.Tag(dirExif, 0x8832, tiff.Long, fixture.Rationals(102400))}, &pipeline.Exif{ISO: 102400}, false},
		{"a whole exposure", []fixture.Entry{fixture.Tag(dirExif, 0x829a, tiff.Rational, fixture.Rationals(30, 1))}, &pipeline.Exif{ExposureTime: "30"}, false},
		{"impossible exposure", []fixture.Entry{fixture.Tag(dirExif, 0x829a, tiff.Rational, fixture.Rationals(1<<31, 1))}, nil, true},
		{"an unknown aperture", []fixture.Entry{fixture.Tag(dirExif, 0x829d, tiff.Rational, fixture.Rationals(0, 0))}, nil, false},
		{"nothing", nil, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, warned := read(fixture.TIFF(c.entries...))
			if !reflect.DeepEqual(got, c.want) || (warned != nil) != c.warned {
				t.Errorf("got %s, warnings %q; want %s, warned %v", asJSON(t, got), warned, asJSON(t, c.want), c.warned)
			}
		})
	}
}

func TestExifOfDamagedBlocks(t *testing.T) {
	whole := fixture.TIFF(fixture.FullExif...)
	for name, block := range map[string][]byte{
		"text":                           []byte("no TIFF at all"),
		"header only":                    whole[:8],
		"directory outside of the block": append([]byte("II*\x00\xff\xff\xff\x7f"), whole...),
	} {
		if got, warned := read(block); got != nil || len(warned) == 0 {
			t.Errorf("%s: got %s, warnings %q", name, asJSON(t, got), warned)
		}
	}
	// However much is cut off, the entries that are complete are read.
	for n := range whole {
		got, _ := read(whole[:n])
		if got != nil && got.CameraMake != "" && got.CameraMake != "Canon" {
			t.Errorf("cut at %d: camera make %q", n, got.CameraMake)
		}
	}
	// A value that overlaps the header does no damage.
	onHeader := fixture.TIFF(append([]fixture.Entry{fixture.Tag(dirImage, 0x0131, tiff.ASCII, []byte("longer than four"))}, fixture.FullExif...)...)
	binary.BigEndian.PutUint32(onHeader[bytes.Index(onHeader, []byte("\x01\x31\x00\x02"))+8:], 1)
	if got, _ := read(onHeader); !reflect.DeepEqual(got, fullExifWant()) {
		t.Errorf("value on the header: got %s", asJSON(t, got))
	}
	// A directory that points to itself is read once.
	loop := fixture.TIFF()
	binary.BigEndian.PutUint32(loop[8+2+8:], 8)
	if got, warned := read(loop); got != nil || len(warned) != 1 {
		t.Errorf("loop: got %s, warnings %q", asJSON(t, got), warned)
	}
}

func FuzzExif(f *testing.F) {
	f.Add(fixture.TIFF(fixture.FullExif...))
	f.Add(fixture.TIFF(fixture.Tag(dirImage, 0x0131, 99, []byte{1})))
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x01\x00\x69\x87\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, block []byte) {
		before := bytes.Clone(block)
		got, _ := read(block)
		again, _ := read(block)
		if !bytes.Equal(block, before) || !reflect.DeepEqual(got, again) {
			t.Fatal("the block was changed, or read differently the second time")
		}
		if got == nil {
			return
		}
		for _, s := range []string{got.CameraMake, got.CameraModel, got.LensModel, got.TakenAt, got.ExposureTime} {
			if len(s) > record.MaxText || !utf8.ValidString(s) {
				t.Fatalf("%d bytes of text: %q", len(s), s)
			}
		}
		if g := got.GPS; g != nil && (g.Latitude < -90 || g.Latitude > 90 || g.Longitude < -180 || g.Longitude > 180) {
			t.Fatalf("impossible place: %+v", g)
		}
		if got.ISO < 0 || got.FNumber < 0 || got.FocalLength < 0 {
			t.Fatalf("impossible values: %s", fmt.Sprint(*got))
		}
	})
}
