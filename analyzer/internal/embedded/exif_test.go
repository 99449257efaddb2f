package embedded

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
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
	b, _ := fromEXIF(view, &w)
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
		{"a place in minutes", gps(fixture.Rationals(10, 1, 303, 10), "N\x00"), &pipeline.Exif{GPS: &pipeline.GPS{Latitude: 10.505, Longitude: -8}}, false},
		{"a place in degrees", gps(fixture.Rationals(105, 10), "n\x00"), &pipeline.Exif{GPS: &pipeline.GPS{Latitude: 10.5, Longitude: -8}}, false},
		{"a place with unknown seconds", gps(fixture.Rationals(10, 1, 30, 1, 0, 0), "North\x00"), &pipeline.Exif{GPS: &pipeline.GPS{Latitude: 10.5, Longitude: -8}}, false},
		{"a place with impossible seconds", gps(fixture.Rationals(10, 1, 30, 1, 5, 0), "N\x00"), nil, true},
		{"a void place", append(gps(fixture.Rationals(10, 1, 30, 1, 0, 1), "N\x00"), fixture.Tag(dirGPS, 0x0009, tiff.ASCII, []byte("V\x00"))), nil, false},
		{"an active receiver", append(gps(fixture.Rationals(10, 1, 30, 1, 0, 1), "N\x00"), fixture.Tag(dirGPS, 0x0009, tiff.ASCII, []byte("A\x00"))), &pipeline.Exif{GPS: &pipeline.GPS{Latitude: 10.5, Longitude: -8}}, false},
		{"null island", []fixture.Entry{
			fixture.Tag(dirGPS, 0x0001, tiff.ASCII, []byte("N\x00")), fixture.Tag(dirGPS, 0x0002, tiff.Rational, fixture.Rationals(0, 1, 0, 1, 0, 1)),
			fixture.Tag(dirGPS, 0x0003, tiff.ASCII, []byte("E\x00")), fixture.Tag(dirGPS, 0x0004, tiff.Rational, fixture.Rationals(0, 1, 0, 1, 0, 1)),
		}, nil, false},
		{"on the equator", gps(fixture.Rationals(0, 1, 0, 1, 0, 1), "N\x00"), &pipeline.Exif{GPS: &pipeline.GPS{Longitude: -8}}, false},
		{"a place beyond the pole", gps(fixture.Rationals(91, 1, 0, 1, 0, 1), "N\x00"), nil, true},
		{"clock was never set", []fixture.Entry{date(0x9003, "0000:00:00 00:00:00")}, nil, false},
		{"blank clock", []fixture.Entry{date(0x9003, "    :  :     :  :  ")}, nil, false},
		{"invalid month", []fixture.Entry{date(0x9003, "2024:13:01 00:00:00")}, nil, true},
		{"the next best time", []fixture.Entry{date(0x9003, "garbage"), date(0x9004, "2020:01:02 03:04:05")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05"}, true},
		{"a time in UTC", []fixture.Entry{date(0x9003, "2020:01:02 03:04:05"), date(0x9011, "+00:00")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05Z"}, false},
		{"an ISO time", []fixture.Entry{date(0x9003, "2020-01-02T03:04:05")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05"}, false},
		{"an ISO time with its zone", []fixture.Entry{date(0x9003, "2020-01-02T03:04:05.678-07:00"), date(0x9011, "+01:00")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05-07:00"}, false},
		{"a time zone without its colon", []fixture.Entry{date(0x9003, "2020:01:02 03:04:05"), date(0x9011, "-0700")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05-07:00"}, false},
		{"Z as the time zone", []fixture.Entry{date(0x9003, "2020:01:02 03:04:05"), date(0x9011, "Z")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05Z"}, false},
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

// TestExifNumbersOfEveryType reads the same values from each numeric type that can represent them.
func TestExifNumbersOfEveryType(t *testing.T) {
	be := binary.BigEndian
	integers := map[uint16]func(n int) []byte{
		tiff.Byte: func(n int) []byte { return []byte{byte(n)} }, tiff.SByte: func(n int) []byte { return []byte{byte(n)} },
		tiff.Undefined: func(n int) []byte { return []byte{byte(n)} }, tiff.Short: fixture.Short, tiff.SShort: fixture.Short,
		tiff.Long: func(n int) []byte { return be.AppendUint32(nil, uint32(n)) }, tiff.SLong: func(n int) []byte { return be.AppendUint32(nil, uint32(n)) },
	}
	fractions := map[uint16]func(num, den int) []byte{
		tiff.Rational:  func(num, den int) []byte { return fixture.Rationals(uint32(num), uint32(den)) },
		tiff.SRational: func(num, den int) []byte { return fixture.Rationals(uint32(num), uint32(den)) },
		tiff.Float:     func(num, den int) []byte { return be.AppendUint32(nil, math.Float32bits(float32(num)/float32(den))) },
		tiff.Double:    func(num, den int) []byte { return be.AppendUint64(nil, math.Float64bits(float64(num)/float64(den))) },
	}
	for kind, fraction := range fractions {
		integers[kind] = func(n int) []byte { return fraction(n, 1) }
	}
	fired, bias := true, 2.0
	for kind, n := range integers {
		got, warned := read(fixture.TIFF(
			fixture.Tag(dirExif, 0x829a, kind, n(30)), fixture.Tag(dirExif, 0x829d, kind, n(8)), fixture.Tag(dirExif, 0x8827, kind, n(100)),
			fixture.Tag(dirExif, 0x9204, kind, n(2)), fixture.Tag(dirExif, 0x9209, kind, n(1)), fixture.Tag(dirExif, 0x920a, kind, n(50)), fixture.Tag(dirExif, 0xa405, kind, n(75)),
		))
		want := &pipeline.Exif{ExposureTime: "30", FNumber: 8, ISO: 100, ExposureBias: &bias, FlashFired: &fired, FocalLength: 50, FocalLength35: 75}
		if !reflect.DeepEqual(got, want) || warned != nil {
			t.Errorf("type %d: %s, warnings %q", kind, asJSON(t, got), warned)
		}
		var w record.Warnings
		view := imagefile.Metadata{HasEXIF: true}
		view.EXIF, _ = tiff.Parse(fixture.TIFF(fixture.Tag(dirImage, 0x4746, kind, n(4))))
		if b, _ := fromEXIF(view, &w); b.rating != 4 {
			t.Errorf("type %d: rating %d", kind, b.rating)
		}
	}
	for kind, f := range fractions {
		place := func(d, m, s int) []byte { return slices.Concat(f(d, 1), f(m, 1), f(s, 100)) }
		altitude := -25.5
		got, warned := read(fixture.TIFF(
			fixture.Tag(dirExif, 0x829a, kind, f(1, 250)), fixture.Tag(dirExif, 0x829d, kind, f(28, 10)),
			fixture.Tag(dirGPS, 1, tiff.Byte, []byte("S\x00")), fixture.Tag(dirGPS, 2, kind, place(33, 51, 3599)),
			fixture.Tag(dirGPS, 3, tiff.Undefined, []byte("E")), fixture.Tag(dirGPS, 4, kind, place(151, 12, 4000)),
			fixture.Tag(dirGPS, 5, tiff.Short, fixture.Short(1)), fixture.Tag(dirGPS, 6, kind, f(255, 10)),
		))
		want := &pipeline.Exif{ExposureTime: "1/250", FNumber: 2.8, GPS: &pipeline.GPS{Latitude: -33.859997, Longitude: 151.211111, Altitude: &altitude}}
		if !reflect.DeepEqual(got, want) || warned != nil {
			t.Errorf("type %d: %s, warnings %q", kind, asJSON(t, got), warned)
		}
	}
	// A signed position has its hemisphere in its sign.
	got, warned := read(fixture.TIFF(
		fixture.Tag(dirGPS, 2, tiff.SRational, fixture.Rationals(math.MaxUint32-32, 1, 30, 1, 0, 1)), fixture.Tag(dirGPS, 3, tiff.ASCII, []byte("W\x00")),
		fixture.Tag(dirGPS, 4, tiff.SRational, fixture.Rationals(math.MaxUint32-69, 1, 30, 1, 0, 1)),
	))
	if got == nil || got.GPS == nil || got.GPS.Latitude != -33.5 || got.GPS.Longitude != -70.5 || warned != nil {
		t.Errorf("signed: %s, warnings %q", asJSON(t, got), warned)
	}
	if got, warned := read(fixture.TIFF(fixture.Tag(dirExif, 0x829a, tiff.SRational, fixture.Rationals(math.MaxUint32, 250)), fixture.Tag(dirExif, 0x8827, tiff.SLong, fixture.Rationals(math.MaxUint32)))); got != nil || len(warned) != 2 {
		t.Errorf("impossible: %s, warnings %q", asJSON(t, got), warned)
	}
}

// readAll returns the blocks of EXIF, and the one of Windows.
func readAll(t *testing.T, data []byte) (b, windows block, warned []string) {
	t.Helper()
	var w record.Warnings
	view := imagefile.Metadata{HasEXIF: true}
	view.EXIF, view.EXIFError = tiff.Parse(data)
	b, windows = fromEXIF(view, &w)
	return b, windows, w.List
}

// TestExifTexts reads texts of every type and encoding.
func TestExifTexts(t *testing.T) {
	for name, c := range map[string]struct {
		kind uint16
		text string
		want string
	}{
		"ASCII":             {tiff.ASCII, "Haus\x00", "Haus"},
		"no end":            {tiff.ASCII, "Gr\u00fc\u00dfe", "Grüße"},
		"UTF-8 of EXIF 3.0": {tiff.UTF8, "Grüße aus Köln\x00", "Grüße aus Köln"},
		"undefined":         {tiff.Undefined, "Grüße\x00", "Grüße"},
		"bytes":             {tiff.Byte, "Grüße\x00", "Grüße"},
		"ISO 8859-1":        {tiff.ASCII, "Gr\xfc\xdfe aus K\xf6ln\x00", "Grüße aus Köln"},
		"Windows-1252":      {tiff.ASCII, "\x93Haus\x94 \x96 5 \x80\x85\x00", "“Haus” – 5 €…"},
		"undefined byte":    {tiff.ASCII, "a\x81b\x00", "a\ufffdb"},
		"much space":        {tiff.ASCII, "Haus" + strings.Repeat("\x00", 2*maxTagBytes), "Haus"},
		"very long":         {tiff.ASCII, strings.Repeat("é", maxTagBytes), strings.Repeat("é", maxTagBytes/2)},
	} {
		b, _, warned := readAll(t, fixture.TIFF(fixture.Tag(dirImage, 0x010e, c.kind, []byte(c.text))))
		if got := record.Clean(b.description, record.MaxDescription); got != record.Clean(c.want, record.MaxDescription) || warned != nil {
			t.Errorf("%s: %.40q, want %.40q; warnings %q", name, got, c.want, warned)
		}
	}
	if b, _, _ := readAll(t, fixture.TIFF(fixture.Tag(dirImage, 0x013b, tiff.ASCII, make([]byte, 3*maxTagBytes)), fixture.Tag(dirImage, 0x010f, tiff.ASCII, []byte("Sony\x00")))); b.exif.CameraMake != "Sony" {
		t.Error("a long text costs another one")
	}
	if b, _, _ := readAll(t, fixture.TIFF(fixture.Tag(dirImage, 0x013b, tiff.ASCII, bytes.Repeat([]byte("é"), maxTagBytes)))); len(b.creators[0]) > maxTagBytes {
		t.Errorf("%d bytes of a text are kept", len(b.creators[0]))
	}
	for text, want := range map[string]string{
		"© A\x00© B\x00": "© A © B", " \x00\xa9 B\x00": "© B", "© A\x00\x00": "© A", "© A": "© A", "© A\x00© B\x00junk": "© A © B",
	} {
		if b, _, _ := readAll(t, fixture.TIFF(fixture.Tag(dirImage, 0x8298, tiff.ASCII, []byte(text)))); b.copyright != want {
			t.Errorf("copyright %q is %q, want %q", text, b.copyright, want)
		}
	}
}

// TestExifTextsWithWrongCounts verifies that a text that overlaps another one, a directory or the end of the block is
// read up to its zero, and that it costs no other value.
func TestExifTextsWithWrongCounts(t *testing.T) {
	for _, count := range []uint32{12, 16, 40, 1000, math.MaxUint32} {
		block := fixture.TIFF(append([]fixture.Entry{fixture.Tag(dirImage, 0x010e, tiff.ASCII, []byte("SHOT OF ONE\x00"))}, fixture.FullExif...)...)
		before, _, _ := bytes.Cut(block, []byte("\x01\x0e\x00\x02"))
		binary.BigEndian.PutUint32(block[len(before)+4:], count)
		b, _, warned := readAll(t, block)
		if b.description != "SHOT OF ONE" || !reflect.DeepEqual(&b.exif, fullExifWant()) || warned != nil {
			t.Errorf("count %d: %q, %s, warnings %q", count, b.description, asJSON(t, b.exif), warned)
		}
	}
	// Without its zero, a text ends at the directory that follows it.
	le := binary.LittleEndian
	before := append(le.AppendUint32([]byte("II*\x00"), 12), "TEXT"...)
	before = le.AppendUint16(before, '!')
	before = le.AppendUint16(le.AppendUint16(before, 0x010e), tiff.ASCII)
	before = le.AppendUint32(le.AppendUint32(before, 200), 8)
	before = append(before, make([]byte, 12*'!')...)
	if b, _, warned := readAll(t, before); b.description != "TEXT" || warned != nil {
		t.Errorf("before a directory: %q, warnings %q", b.description, warned)
	}
	// The texts of one file in another.
	block := fixture.TIFF(fixture.Tag(dirImage, 0x010e, tiff.ASCII, []byte("SHOT ONE\x00Acme Optical\x00")), fixture.Tag(dirImage, 0x010f, tiff.ASCII, []byte("12345")))
	text := bytes.Index(block, []byte("SHOT"))
	binary.BigEndian.PutUint32(block[bytes.Index(block, []byte("\x01\x0f\x00\x02"))+8:], uint32(text+9))
	binary.BigEndian.PutUint32(block[bytes.Index(block, []byte("\x01\x0f\x00\x02"))+4:], 20)
	if b, _, warned := readAll(t, block); b.description != "SHOT ONE" || b.exif.CameraMake != "Acme Optical" || warned != nil {
		t.Errorf("overlapping: %q and %q, warnings %q", b.description, b.exif.CameraMake, warned)
	}
}

// TestUserComment reads a comment with each name of an encoding.
func TestUserComment(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"ASCII\x00\x00\x00Screenshot", "Screenshot"},
		{"ASCII\x00\x00\x00Gr\xfc\xdfe \x96 5 \x80\x00\x00junk", "Grüße – 5 €"},
		{"ASCII   Grüße", "Grüße"},
		{"\x00\x00\x00\x00\x00\x00\x00\x00Grüße", "Grüße"},
		{"        Grüße", "Grüße"},
		{"UNICODE\x00\x00G\x00r\x00\xfc\x00\xdf\x00e", "Grüße"},
		{"UNICODE\x00G\x00r\x00\xfc\x00\xdf\x00e\x00", "Grüße"},
		{"UNICODE\x00\xfe\xff\x00G\x00r\x00\xfc", "Grü"},
		{"UNICODE\x00\xff\xfeG\x00r\x00\xfc\x00", "Grü"},
		{"UNICODE \x00G\x00r\x00\xfc\x00\x00\x00x", "Grü"},
		{"Unicode\x00Ricoh", "Ricoh"},
		{"Unicode\x00K\x00o\x00d\x00", "Kod"},
		{"JIS\x00\x00\x00\x00\x00\x46\x7c\x4b\x5c\x38\x6c", "日本語"},
		{"JIS\x00\x00\x00\x00\x00\x1b$B\x46\x7c\x4b\x5c\x1b(B", "日本"},
		{"No name at all", "No name at all"},
		{"Short", "Short"},
		{"ASCII\x00\x00\x00", ""},
		{strings.Repeat("\x00", 2*maxTagBytes), ""},
	} {
		for _, kind := range []uint16{tiff.Undefined, tiff.ASCII, tiff.Byte, tiff.UTF8} {
			b, _, warned := readAll(t, fixture.TIFF(fixture.Tag(dirExif, 0x9286, kind, []byte(c.value))))
			if b.comment != c.want || warned != nil {
				t.Errorf("%.40q is %q, want %q; warnings %q", c.value, b.comment, c.want, warned)
			}
		}
	}
}

// TestWindowsTags reads the tags of Windows, which people edit in its file manager.
func TestWindowsTags(t *testing.T) {
	utf16 := func(s string) []byte {
		var b []byte
		for _, r := range s + "\x00" {
			b = binary.LittleEndian.AppendUint16(b, uint16(r))
		}
		return b
	}
	entries := func(described string, skip uint16) []fixture.Entry {
		all := []fixture.Entry{fixture.Tag(dirImage, 0x010e, tiff.ASCII, []byte(described))}
		for tag, s := range map[uint16]string{0x9c9b: "Mein Titel", 0x9c9c: "Grüße – „Łódź“", 0x9c9d: "Erika M;Łukasz", 0x9c9e: "Elbe; Dresden;", 0x9c9f: "Betreff"} {
			if tag != skip {
				all = append(all, fixture.Tag(dirImage, tag, tiff.Byte, utf16(s)))
			}
		}
		return all
	}
	for _, c := range []struct {
		described   string
		skip        uint16
		description string
	}{
		{"", 0, "Grüße – „Łódź“"},
		{"", 0x9c9c, "Betreff"},
		{"A camera's text", 0, "A camera's text"},
		{"Mein Titel", 0, "Grüße – „Łódź“"},
	} {
		view := imagefile.Metadata{HasEXIF: true}
		view.EXIF, view.EXIFError = tiff.Parse(fixture.TIFF(entries(c.described, c.skip)...))
		var w record.Warnings
		b := merge(view, KeepGPS, &w)
		if b.title != "Mein Titel" || b.description != c.description || !slices.Equal(b.keywords, []string{"Elbe", "Dresden"}) ||
			!slices.Equal(b.creators, []string{"Erika M", "Łukasz"}) || w.List != nil {
			t.Errorf("described as %q: %+v, warnings %q", c.described, b, w.List)
		}
	}
	if _, windows, _ := readAll(t, fixture.TIFF(fixture.Tag(dirImage, 0x9c9b, tiff.Short, []byte("\x65\xe5")))); windows.title != "日" {
		t.Errorf("in the order of the block: %q", windows.title)
	}
	for kind, value := range map[uint16][]byte{
		tiff.Undefined: utf16("Łódź"), tiff.ASCII: []byte("Łódź\x00"), tiff.UTF8: []byte("Łódź"), tiff.Short: []byte("\x01\x41\x00\xf3\x00d\x01\x7a\x00\x00"),
	} {
		if _, windows, warned := readAll(t, fixture.TIFF(fixture.Tag(dirImage, 0x9c9b, kind, value))); windows.title != "Łódź" || warned != nil {
			t.Errorf("type %d: %q, warnings %q", kind, windows.title, warned)
		}
	}
	view := imagefile.Metadata{HasEXIF: true}
	view.EXIF, _ = tiff.Parse(fixture.TIFF(append(entries("", 0), fixture.Tag(dirImage, 0x013b, tiff.ASCII, []byte("A. Artist\x00")))...))
	view.IPTC = iptc.Parse(fixture.ImageResource(0x404, "", append(fixture.DataSet(2, 5, "IPTC"), fixture.DataSet(2, 25, "word")...)))
	if b := merge(view, KeepGPS, &record.Warnings{}); b.title != "IPTC" || !slices.Equal(b.keywords, []string{"word"}) || !slices.Equal(b.creators, []string{"A. Artist"}) {
		t.Errorf("next to IPTC and Artist: %+v", b)
	}
}

// TestExifPointersOfEveryType reads the directories of blocks whose pointers have another integer type.
func TestExifPointersOfEveryType(t *testing.T) {
	for _, kind := range []uint16{tiff.Short, tiff.SShort, tiff.SLong, tiff.IFD, tiff.Undefined} {
		block := fixture.TIFF(fixture.FullExif...)
		for _, tag := range []string{"\x87\x69\x00\x04", "\x88\x25\x00\x04"} {
			at := bytes.Index(block, []byte(tag))
			block[at+3] = byte(kind)
			if kind == tiff.Short || kind == tiff.SShort {
				copy(block[at+8:], append(bytes.Clone(block[at+10:at+12]), 0, 0))
			}
		}
		if got, warned := read(block); !reflect.DeepEqual(got, fullExifWant()) || warned != nil {
			t.Errorf("type %d: %s, warnings %q", kind, asJSON(t, got), warned)
		}
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
