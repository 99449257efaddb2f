package describe

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// entry is one value of an EXIF block that a test builds.
type entry struct {
	dir   string
	tag   uint16
	kind  uint16
	value []byte // in the byte order of the block
}

func short(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

func rationals(pairs ...uint32) []byte {
	var b []byte
	for _, n := range pairs {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// tiffOf returns a big-endian TIFF structure with the three directories of EXIF and the entries in the given
// order.
func tiffOf(entries ...entry) []byte {
	be := binary.BigEndian
	dirs := []string{dirImage, dirExif, dirGPS}
	count := map[string]int{dirImage: 2}
	for _, e := range entries {
		count[e.dir]++
	}
	start := map[string]int{}
	at := 8
	for _, d := range dirs {
		start[d] = at
		at += 2 + 12*count[d] + 4
	}
	entries = append([]entry{
		{dirImage, tagExifIFD, tiffLong, be.AppendUint32(nil, uint32(start[dirExif]))},
		{dirImage, tagGPSIFD, tiffLong, be.AppendUint32(nil, uint32(start[dirGPS]))},
	}, entries...)
	out := []byte("MM\x00\x2a\x00\x00\x00\x08")
	var values []byte
	for _, d := range dirs {
		out = be.AppendUint16(out, uint16(count[d]))
		for _, e := range entries {
			if e.dir != d {
				continue
			}
			size := map[uint16]int{tiffShort: 2, tiffLong: 4, tiffRational: 8}[e.kind]
			out = be.AppendUint16(out, e.tag)
			out = be.AppendUint16(out, e.kind)
			out = be.AppendUint32(out, uint32(len(e.value)/max(size, 1)))
			if len(e.value) <= 4 {
				out = append(out, append(bytes.Clone(e.value), 0, 0, 0, 0)[:4]...)
			} else {
				out = be.AppendUint32(out, uint32(at+len(values)))
				values = append(values, e.value...)
			}
		}
		out = be.AppendUint32(out, 0)
	}
	return append(out, values...)
}

var fullExif = []entry{
	{dirImage, 0x010f, tiffASCII, []byte("Canon\x00")},
	{dirImage, 0x0110, tiffASCII, []byte("Canon EOS R5\x00")},
	{dirExif, 0x829a, tiffRational, rationals(10, 2500)},
	{dirExif, 0x829d, tiffRational, rationals(28, 10)},
	{dirExif, 0x8827, tiffShort, short(400)},
	{dirExif, 0x9003, tiffASCII, []byte("2024:05:29 17:19:21\x00")},
	{dirExif, 0x9011, tiffASCII, []byte("+02:00\x00")},
	{dirExif, 0x920a, tiffRational, rationals(50, 1)},
	{dirExif, 0xa434, tiffASCII, []byte("RF50mm F1.2 L USM\x00")},
	{dirGPS, 0x0001, tiffASCII, []byte("S\x00")},
	{dirGPS, 0x0002, tiffRational, rationals(33, 1, 51, 1, 3599, 100)},
	{dirGPS, 0x0003, tiffASCII, []byte("E\x00")},
	{dirGPS, 0x0004, tiffRational, rationals(151, 1, 12, 1, 40, 1)},
	{dirGPS, 0x0005, tiffByte, []byte{1}},
	{dirGPS, 0x0006, tiffRational, rationals(255, 10)},
}

func fullExifWant() *pipeline.Exif {
	altitude := -25.5
	return &pipeline.Exif{
		CameraMake: "Canon", CameraModel: "Canon EOS R5", LensModel: "RF50mm F1.2 L USM",
		TakenAt: "2024-05-29T17:19:21+02:00", ExposureTime: "1/250", FNumber: 2.8, ISO: 400, FocalLength: 50,
		GPS: &pipeline.GPS{Latitude: -33.859997, Longitude: 151.211111, Altitude: &altitude},
	}
}

func read(tiff []byte) (*pipeline.Exif, []string) {
	var w warnings
	b := readExif(tiff, &w)
	if b.exif == (pipeline.Exif{}) {
		return nil, w.list
	}
	return &b.exif, w.list
}

func TestExifOfAWholeBlock(t *testing.T) {
	got, warned := read(tiffOf(fullExif...))
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
		bad     entry
		warning string // a part of the warning; "" for none
	}{
		{"unknown type", entry{dirImage, 0x0100, 99, []byte{1}}, ""},
		{"unknown type of a known tag", entry{dirExif, 0x9004, 99, []byte{1}}, "CreateDate"},
		{"wrong type", entry{dirExif, 0x9012, tiffLong, []byte{0, 0, 0, 1}}, "OffsetTimeDigitized"},
		{"value outside", entry{dirImage, 0x0131, tiffASCII, bytes.Repeat([]byte("x"), 30)}, "Software"},
		{"pointer to nowhere", entry{dirImage, 0x014a, tiffLong, outside}, ""},
		{"pointer to a directory again", entry{dirImage, tagGPSIFD, tiffLong, outside}, ""},
		{"maker note of a megabyte", entry{dirExif, 0x927c, 7, []byte{1, 2, 3, 4}}, ""},
		{"CFA pattern that is too short", entry{dirExif, 0xa302, 7, []byte{1}}, ""},
		{"an unknown fraction over zero", entry{dirExif, 0x9202, tiffRational, rationals(1, 0)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tiff := tiffOf(append([]entry{c.bad}, fullExif...)...)
			if c.name == "value outside" {
				i := bytes.Index(tiff, []byte("\x01\x31\x00\x02"))
				copy(tiff[i+8:], outside)
			}
			got, warned := read(tiff)
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
	gps := func(latitude []byte, ref string) []entry {
		return []entry{
			{dirGPS, 0x0001, tiffASCII, []byte(ref)},
			{dirGPS, 0x0002, tiffRational, latitude},
			{dirGPS, 0x0003, tiffASCII, []byte("W\x00")},
			{dirGPS, 0x0004, tiffRational, rationals(8, 1, 0, 1, 0, 1)},
		}
	}
	date := func(tag uint16, s string) entry { return entry{dirExif, tag, tiffASCII, []byte(s + "\x00")} }
	for _, c := range []struct {
		name    string
		entries []entry
		want    *pipeline.Exif
		warned  bool
	}{
		{"a good place", gps(rationals(10, 1, 30, 1, 0, 1), "N\x00"), &pipeline.Exif{GPS: &pipeline.GPS{Latitude: 10.5, Longitude: -8}}, false},
		{"a place without a fix", gps(rationals(0, 0, 0, 0, 0, 0), "N\x00"), nil, false},
		{"a place without a hemisphere", gps(rationals(10, 1, 0, 1, 0, 1), "\x00"), nil, true},
		{"a place beyond the pole", gps(rationals(91, 1, 0, 1, 0, 1), "N\x00"), nil, true},
		{"clock was never set", []entry{date(0x9003, "0000:00:00 00:00:00")}, nil, false},
		{"blank clock", []entry{date(0x9003, "    :  :     :  :  ")}, nil, false},
		{"invalid month", []entry{date(0x9003, "2024:13:01 00:00:00")}, nil, true},
		{"the next best time", []entry{date(0x9003, "garbage"), date(0x9004, "2020:01:02 03:04:05")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05"}, true},
		{"a time in UTC", []entry{date(0x9003, "2020:01:02 03:04:05"), date(0x9011, "+00:00")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05Z"}, false},
		{"invalid time zone", []entry{date(0x9003, "2020:01:02 03:04:05"), date(0x9011, "CEST")}, &pipeline.Exif{TakenAt: "2020-01-02T03:04:05"}, true},
		{"garbage after the end of a string", []entry{{dirImage, 0x010f, tiffASCII, []byte("Sony\x00\xff\xfejunk\x00")}}, &pipeline.Exif{CameraMake: "Sony"}, false},
		{"control characters", []entry{{dirImage, 0x010f, tiffASCII, []byte("\x1b[31mNi\x07kon \x00")}}, &pipeline.Exif{CameraMake: "[31mNikon"}, false},
		{"two ISO values", []entry{{dirExif, 0x8827, tiffShort, append(short(200), short(0)...)}}, &pipeline.Exif{ISO: 200}, false},
		{"ISO over 16 bits", []entry{{dirExif, 0x8827, tiffShort, short(65535)}, {dirExif, 0x8832, tiffLong, rationals(102400)}}, &pipeline.Exif{ISO: 102400}, false},
		{"a whole exposure", []entry{{dirExif, 0x829a, tiffRational, rationals(30, 1)}}, &pipeline.Exif{ExposureTime: "30"}, false},
		{"impossible exposure", []entry{{dirExif, 0x829a, tiffRational, rationals(1<<31, 1)}}, nil, true},
		{"an unknown aperture", []entry{{dirExif, 0x829d, tiffRational, rationals(0, 0)}}, nil, false},
		{"nothing", nil, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, warned := read(tiffOf(c.entries...))
			if !reflect.DeepEqual(got, c.want) || (warned != nil) != c.warned {
				t.Errorf("got %s, warnings %q; want %s, warned %v", asJSON(t, got), warned, asJSON(t, c.want), c.warned)
			}
		})
	}
}

func TestExifOfDamagedBlocks(t *testing.T) {
	whole := tiffOf(fullExif...)
	for name, tiff := range map[string][]byte{
		"text":                           []byte("no TIFF at all"),
		"header only":                    whole[:8],
		"directory outside of the block": append([]byte("II*\x00\xff\xff\xff\x7f"), whole...),
	} {
		if got, warned := read(tiff); got != nil || len(warned) == 0 {
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
	onHeader := tiffOf(append([]entry{{dirImage, 0x0131, tiffASCII, []byte("longer than four")}}, fullExif...)...)
	binary.BigEndian.PutUint32(onHeader[bytes.Index(onHeader, []byte("\x01\x31\x00\x02"))+8:], 1)
	if got, _ := read(onHeader); !reflect.DeepEqual(got, fullExifWant()) {
		t.Errorf("value on the header: got %s", asJSON(t, got))
	}
	// A directory that points to itself is read once.
	loop := tiffOf()
	binary.BigEndian.PutUint32(loop[8+2+8:], 8)
	if got, warned := read(loop); got != nil || len(warned) != 1 {
		t.Errorf("loop: got %s, warnings %q", asJSON(t, got), warned)
	}
}

func TestWarningsAndTextsAreBounded(t *testing.T) {
	var w warnings
	for i := range 1000 {
		w.add("%d: %s", i, strings.Repeat("é\x00\xff", 500))
	}
	if len(w.list) != maxWarnings {
		t.Errorf("%d warnings", len(w.list))
	}
	for _, s := range append(w.list, clean(strings.Repeat("日本", 500), maxTextBytes), clean(strings.Repeat("\xff", 999), maxTextBytes)) {
		if len(s) > maxTextBytes || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			t.Errorf("%d bytes: %q", len(s), s)
		}
	}
	long := bytes.Repeat([]byte(`<"&>`+"\u2028"), 1200)
	entries := []entry{
		{dirImage, 0x010f, tiffASCII, long},
		{dirImage, 0x0110, tiffASCII, long},
		{dirExif, 0xa434, tiffASCII, long},
		{dirExif, 0x9003, tiffASCII, long[:64]},
		{dirExif, 0x9004, tiffASCII, long[:60]},
	}
	m, _ := describe(t, withExif(encodeJPEG(t, photo(60, 40), 80), tiffOf(entries...)))
	if n := len(asJSON(t, m)); n > pipeline.MaxMetadataBytes || m.Exif == nil || len(m.Exif.CameraMake) > maxTextBytes {
		t.Errorf("%d bytes of metadata: %+v", n, m.Exif)
	}
}

// TestExifAsExiftoolWritesIt reads what the most widely used tool writes, in both formats, also with XMP before
// it.
func TestExifAsExiftoolWritesIt(t *testing.T) {
	args := []string{
		"-n", "-XMP-dc:Title=before Exif", "-EXIF:Make=FUJIFILM", "-EXIF:Model=X-T5", "-EXIF:LensModel=XF35mmF1.4 R",
		"-EXIF:DateTimeOriginal=2023:11:05 08:09:10", "-EXIF:OffsetTimeOriginal=-03:30",
		"-EXIF:ExposureTime=0.008", "-EXIF:FNumber=1.4", "-EXIF:ISO=640", "-EXIF:FocalLength=35",
		"-EXIF:GPSLatitude=48.858222", "-EXIF:GPSLatitudeRef=N", "-EXIF:GPSLongitude=2.2945", "-EXIF:GPSLongitudeRef=E",
		"-EXIF:GPSAltitude=35.04", "-EXIF:GPSAltitudeRef=0", "-EXIF:Orientation=6",
	}
	list := []tagging{
		{"photo.jpg", encodeJPEG(t, photo(120, 80), 85), args}, {"photo.png", encodePNG(t, photo(120, 80)), args},
	}
	for i, data := range written(t, list...) {
		t.Run(list[i].name, func(t *testing.T) {
			m, _ := describe(t, data)
			altitude := 35.0
			want := &pipeline.Exif{
				CameraMake: "FUJIFILM", CameraModel: "X-T5", LensModel: "XF35mmF1.4 R",
				TakenAt: "2023-11-05T08:09:10-03:30", ExposureTime: "1/125", FNumber: 1.4, ISO: 640, FocalLength: 35,
				GPS: &pipeline.GPS{Latitude: 48.858222, Longitude: 2.2945, Altitude: &altitude},
			}
			if !reflect.DeepEqual(m.Exif, want) {
				t.Errorf("got  %s\nwant %s", asJSON(t, m.Exif), asJSON(t, want))
			}
			if m.Orientation != 6 || m.Width != 80 || m.Height != 120 || m.Warnings != nil {
				t.Errorf("orientation %d, %d×%d, warnings %q", m.Orientation, m.Width, m.Height, m.Warnings)
			}
		})
	}
}

// garbagePNG returns a PNG with valid chunks whose pixels are garbage.
func garbagePNG() []byte {
	chunk := func(kind string, payload []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
		b = append(append(b, kind...), payload...)
		return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
	}
	header := []byte{0, 0, 0, 8, 0, 0, 0, 8, 8, 2, 0, 0, 0}
	return bytes.Join([][]byte{
		[]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", header), chunk("IDAT", []byte("these are no pixels")), chunk("IEND", nil),
	}, nil)
}

func FuzzExif(f *testing.F) {
	f.Add(tiffOf(fullExif...))
	f.Add(tiffOf(entry{dirImage, 0x0131, 99, []byte{1}}))
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x01\x00\x69\x87\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, tiff []byte) {
		before := bytes.Clone(tiff)
		got, warned := read(tiff)
		again, _ := read(tiff)
		if !bytes.Equal(tiff, before) || !reflect.DeepEqual(got, again) {
			t.Fatal("the block was changed, or read differently the second time")
		}
		for _, w := range warned {
			if strings.Contains(w, "reading stopped") {
				t.Fatalf("imagemeta stopped reading: %s", w)
			}
		}
		if got == nil {
			return
		}
		for _, s := range []string{got.CameraMake, got.CameraModel, got.LensModel, got.TakenAt, got.ExposureTime} {
			if len(s) > maxTextBytes || !utf8.ValidString(s) {
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
