package describe

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// tagging are tags that exiftool writes into an image.
type tagging struct {
	name string
	img  []byte
	args []string
}

// written writes the tags with exiftool, in one run, because it starts slowly.
func written(t *testing.T, list ...tagging) [][]byte {
	t.Helper()
	exiftool, err := exec.LookPath("exiftool")
	if err != nil {
		t.Skip("exiftool is not installed (Debian: libimage-exiftool-perl)")
	}
	dir := t.TempDir()
	path := func(i int) string { return filepath.Join(dir, fmt.Sprint(i, "-", list[i].name)) }
	var args []string
	for i, w := range list {
		if err := os.WriteFile(path(i), w.img, 0o600); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			args = append(args, "-execute")
		}
		args = append(append(args, w.args...), path(i))
	}
	args = append(args, "-common_args", "-q", "-overwrite_original", "-charset", "UTF8")
	if out, err := exec.CommandContext(t.Context(), exiftool, args...).CombinedOutput(); err != nil { //nolint:gosec // The tool that was looked up.
		t.Fatalf("exiftool: %v\n%s", err, out)
	}
	files := make([][]byte, len(list))
	for i := range list {
		if files[i], err = os.ReadFile(path(i)); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestCaptionOfEveryBlock writes the same facts into one block after the other with exiftool, in both formats.
// It verifies that each block is read, and that the block with the highest priority wins.
func TestCaptionOfEveryBlock(t *testing.T) {
	xmp := []string{
		"-XMP-dc:Title=Titel in XMP", "-XMP-dc:Title-de=Nicht dieser", "-XMP-dc:Description=Ein Satz. Zürich & <写真>", "-XMP-dc:Subject=See",
		"-XMP-dc:Subject=Berge", "-XMP-dc:Rights=© X", "-XMP-dc:Creator=Xenia", "-XMP-dc:Creator=Xaver", "-XMP-xmp:Rating=5",
	}
	iptc := []string{
		"-IPTC:CodedCharacterSet=UTF8", "-IPTC:ObjectName=Titel in IPTC", "-IPTC:Caption-Abstract=Söhne", "-IPTC:Keywords=eins",
		"-IPTC:Keywords=zwei", "-IPTC:CopyrightNotice=© I", "-IPTC:By-line=Ida",
	}
	exif := []string{"-EXIF:ImageDescription=In EXIF", "-EXIF:Copyright=© E", "-EXIF:Artist=Erik; Eva", "-EXIF:Rating=2"}
	text := []string{"-PNG:Title=Titel im PNG", "-PNG:Description=Text", "-PNG:Author=Paul", "-PNG:Copyright=© P"}
	fromXMP := embedded{
		title: "Titel in XMP", description: "Ein Satz. Zürich & <写真>", keywords: []string{"See", "Berge"},
		copyright: "© X", creators: []string{"Xenia", "Xaver"}, rating: 5,
	}
	jpg, pngFile := encodeJPEG(t, photo(60, 40), 85), encodePNG(t, photo(60, 40))
	cases := []struct {
		name string
		file string
		args []string
		want embedded
	}{
		{"XMP in a JPEG", "a.jpg", xmp, fromXMP},
		{"XMP in a PNG", "a.png", xmp, fromXMP},
		{"XMP deflated in a PNG", "a.png", append([]string{"-z"}, xmp...), fromXMP},
		{"IPTC", "a.jpg", iptc, embedded{title: "Titel in IPTC", description: "Söhne", keywords: []string{"eins", "zwei"}, copyright: "© I", creators: []string{"Ida"}}},
		{"EXIF in a JPEG", "a.jpg", exif, embedded{description: "In EXIF", copyright: "© E", creators: []string{"Erik", "Eva"}, rating: 2}},
		{"EXIF in a PNG", "a.png", exif, embedded{description: "In EXIF", copyright: "© E", creators: []string{"Erik", "Eva"}, rating: 2}},
		{"text of a PNG", "a.png", text, embedded{title: "Titel im PNG", description: "Text", copyright: "© P", creators: []string{"Paul"}}},
		{"everything in a JPEG", "a.jpg", slices.Concat(iptc, exif, xmp), fromXMP},
		{"everything in a PNG", "a.png", slices.Concat(text, exif, xmp), fromXMP},
		{"IPTC before EXIF", "a.jpg", slices.Concat(exif, iptc), embedded{
			title: "Titel in IPTC", description: "Söhne", keywords: []string{"eins", "zwei"}, copyright: "© I", creators: []string{"Ida"}, rating: 2,
		}},
		{"a description that a camera writes", "a.jpg", []string{"-EXIF:ImageDescription=OLYMPUS DIGITAL CAMERA"}, embedded{}},
		{"a rejected image", "a.jpg", []string{"-XMP-xmp:Rating=-1"}, embedded{rating: -1}},
		{"a image without stars", "a.jpg", []string{"-XMP-xmp:Rating=0"}, embedded{}},
	}
	var list []tagging
	for _, c := range cases {
		img := jpg
		if strings.HasSuffix(c.file, "png") {
			img = pngFile
		}
		list = append(list, tagging{c.file, img, c.args})
	}
	files := written(t, list...)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, _ := describe(t, files[i])
			got := embedded{copyright: m.Copyright, creators: m.Creators, rating: m.Rating}
			if !slices.Contains(m.Composed, "title") {
				got.title = m.Title
			}
			if !slices.Contains(m.Composed, "description") {
				got.description = m.Description
			}
			if !slices.Contains(m.Composed, "keywords") {
				got.keywords = m.Keywords
			}
			if !reflect.DeepEqual(got, c.want) || m.Warnings != nil {
				t.Errorf("got  %+v\nwant %+v, warnings %q", got, c.want, m.Warnings)
			}
		})
	}
}

// TestCameraWithoutEXIF verifies that the camera is read from XMP. Programs that drop EXIF often leave a copy
// of it there.
func TestCameraWithoutEXIF(t *testing.T) {
	files := written(t,
		tagging{"a.png", encodePNG(t, photo(60, 40)), []string{
			"-n", "-XMP-tiff:Make=Canon", "-XMP-tiff:Model=Canon EOS R5", "-XMP-aux:Lens=RF50mm F1.2 L USM", "-XMP-xmp:CreatorTool=darktable 4.6",
			"-XMP-exif:DateTimeOriginal=2024:05:29 17:19:21+02:00", "-XMP-exif:GPSLatitude=-33.8599972", "-XMP-exif:GPSLongitude=151.2111111",
		}},
		tagging{"a.jpg", encodeJPEG(t, photo(60, 40), 80), []string{"-IPTC:DateCreated=2019:08:07", "-IPTC:TimeCreated=06:05:04-03:00"}})
	m, _ := describe(t, files[0])
	want := &pipeline.Exif{
		CameraMake: "Canon", CameraModel: "Canon EOS R5", LensModel: "RF50mm F1.2 L USM", Software: "darktable 4.6",
		TakenAt: "2024-05-29T17:19:21+02:00", GPS: &pipeline.GPS{Latitude: -33.859997, Longitude: 151.211111},
	}
	if !reflect.DeepEqual(m.Exif, want) {
		t.Errorf("got  %s\nwant %s", asJSON(t, m.Exif), asJSON(t, want))
	}
	m, _ = describe(t, files[1])
	if m.Exif == nil || m.Exif.TakenAt != "2019-08-07T06:05:04-03:00" {
		t.Errorf("from IPTC: %s", asJSON(t, m.Exif))
	}
}

// TestGPSPolicy verifies that a dropped place appears nowhere in the record.
func TestGPSPolicy(t *testing.T) {
	data := withExif(encodeJPEG(t, photo(60, 40), 80), tiffOf(fullExif...))
	altitude := -25.5
	for policy, want := range map[GPS]*pipeline.GPS{
		"":        {Latitude: -33.859997, Longitude: 151.211111, Altitude: &altitude},
		KeepGPS:   {Latitude: -33.859997, Longitude: 151.211111, Altitude: &altitude},
		CoarseGPS: {Latitude: -33.86, Longitude: 151.21},
		DropGPS:   nil,
	} {
		m, _, err := New(Config{GPS: policy}).Describe(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		text := asJSON(t, m)
		if !reflect.DeepEqual(m.Exif.GPS, want) || policy == DropGPS && (strings.Contains(text, "33.8") || strings.Contains(text, "gps")) {
			t.Errorf("%q: %s", policy, text)
		}
	}
}

// TestOurCaptionIsNotAPersons submits a processed image again, which contains the composed caption with its
// marks. It verifies that the caption is composed again, and that a text that a person changed is kept.
func TestOurCaptionIsNotAPersons(t *testing.T) {
	const packet = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
	<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:ib="https://github.com/imagebatch/imagebatch/ns/1.0/">
	<dc:title><rdf:Alt><rdf:li xml:lang="x-default">%s</rdf:li></rdf:Alt></dc:title>
	<dc:subject><rdf:Bag><rdf:li>square</rdf:li><rdf:li>%s</rdf:li></rdf:Bag></dc:subject>
	<ib:composed><rdf:Seq><rdf:li>title</rdf:li><rdf:li>keywords</rdf:li></rdf:Seq></ib:composed>
	<ib:composedDigests><rdf:Seq><rdf:li>%s</rdf:li><rdf:li>%s</rdf:li></rdf:Seq></ib:composedDigests>
	</rdf:Description></rdf:RDF></x:xmpmeta>`
	// SHA-256 of "JPEG image, 8×8\x00", and of "jpeg\x00square\x00".
	const title, keywords = "3ccf4820df1aee10", "d8fe3924083dc091"
	for _, c := range []struct {
		title, keyword  string
		titleIs, wordIs bool // whether the title and the keyword are a person's
	}{
		{"JPEG image, 8×8", "jpeg", false, false},
		{"JPEG image, 8×8!", "jpeg", true, false},
		{"JPEG image, 8×8", "lake", false, true},
	} {
		text := fmt.Appendf(nil, packet, c.title, c.keyword, title, keywords)
		b := readEmbedded(imagefile.Header{XMP: text}, KeepGPS, &warnings{})
		if (b.title != "") != c.titleIs || (b.keywords != nil) != c.wordIs {
			t.Errorf("%q and %q: title %q, keywords %q", c.title, c.keyword, b.title, b.keywords)
		}
	}
}

// TestCaptionsAreBounded submits more of everything than is kept.
func TestCaptionsAreBounded(t *testing.T) {
	long := strings.Repeat(`"\<&>`, 4000)
	packet := `<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">`
	item := func(property, list string, n int) {
		packet += "<dc:" + property + "><rdf:" + list + ">"
		for i := range n {
			packet += fmt.Sprintf("<rdf:li>%d%s</rdf:li>", i, strings.NewReplacer("<", "&lt;", "&", "&amp;").Replace(long[:1000]))
		}
		packet += "</rdf:" + list + "></dc:" + property + ">"
	}
	item("title", "Alt", 1)
	item("creator", "Seq", 30)
	item("rights", "Alt", 1)
	item("description", "Alt", 2)
	item("subject", "Bag", 150)
	packet += "</rdf:Description></rdf:RDF>"
	data := encodePNG(t, photo(60, 40))
	m, _ := describe(t, withPNGChunk(data, "iTXt", "XML:com.adobe.xmp\x00\x00\x00\x00\x00"+packet)) // also checks the schema
	if n := len(strings.Join(m.Keywords, "")); n > maxKeywordsBytes || n < maxKeywordsBytes/2 {
		t.Errorf("%d bytes of keywords", n)
	}
	if len(m.Title) > maxTextBytes || len(m.Creators) != maxCreators || m.Composed != nil {
		t.Errorf("%d bytes of title, %d keywords, %d creators, composed %q", len(m.Title), len(m.Keywords), len(m.Creators), m.Composed)
	}
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprint("keyword ", i%100), "")
	}
	if got := cleanList(many, maxKeywords, maxTextBytes, maxKeywordsBytes); len(got) != maxKeywords || got[1] != "keyword 1" {
		t.Errorf("%d keywords: %q", len(got), got)
	}
}

// withPNGChunk inserts a chunk directly after the IHDR of a PNG.
func withPNGChunk(file []byte, kind, payload string) []byte {
	const afterIHDR = 8 + 25
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	chunk = append(append(chunk, kind...), payload...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	return slices.Concat(file[:afterIHDR], chunk, file[afterIHDR:])
}
