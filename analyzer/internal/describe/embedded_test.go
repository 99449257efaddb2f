package describe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/embedded"
	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ownTexts are the texts and the rating that a record has from its file.
type ownTexts struct {
	title, description string
	keywords, creators []string
	copyright          string
	rating             int
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
	fromXMP := ownTexts{
		title: "Titel in XMP", description: "Ein Satz. Zürich & <写真>", keywords: []string{"See", "Berge"},
		copyright: "© X", creators: []string{"Xenia", "Xaver"}, rating: 5,
	}
	jpg, pngFile := fixture.EncodeJPEG(t, fixture.Photo(60, 40), 85), fixture.EncodePNG(t, fixture.Photo(60, 40))
	cases := []struct {
		name string
		file string
		args []string
		want ownTexts
	}{
		{"XMP in a JPEG", "a.jpg", xmp, fromXMP},
		{"XMP in a PNG", "a.png", xmp, fromXMP},
		{"XMP deflated in a PNG", "a.png", append([]string{"-z"}, xmp...), fromXMP},
		{"IPTC", "a.jpg", iptc, ownTexts{title: "Titel in IPTC", description: "Söhne", keywords: []string{"eins", "zwei"}, copyright: "© I", creators: []string{"Ida"}}},
		{"EXIF in a JPEG", "a.jpg", exif, ownTexts{description: "In EXIF", copyright: "© E", creators: []string{"Erik", "Eva"}, rating: 2}},
		{"EXIF in a PNG", "a.png", exif, ownTexts{description: "In EXIF", copyright: "© E", creators: []string{"Erik", "Eva"}, rating: 2}},
		{"text of a PNG", "a.png", text, ownTexts{title: "Titel im PNG", description: "Text", copyright: "© P", creators: []string{"Paul"}}},
		{"everything in a JPEG", "a.jpg", slices.Concat(iptc, exif, xmp), fromXMP},
		{"everything in a PNG", "a.png", slices.Concat(text, exif, xmp), fromXMP},
		{"IPTC before EXIF", "a.jpg", slices.Concat(exif, iptc), ownTexts{
			title: "Titel in IPTC", description: "Söhne", keywords: []string{"eins", "zwei"}, copyright: "© I", creators: []string{"Ida"}, rating: 2,
		}},
		{"a description that a camera writes", "a.jpg", []string{"-EXIF:ImageDescription=OLYMPUS DIGITAL CAMERA"}, ownTexts{}},
		{"a rejected image", "a.jpg", []string{"-XMP-xmp:Rating=-1"}, ownTexts{rating: -1}},
		{"a image without stars", "a.jpg", []string{"-XMP-xmp:Rating=0"}, ownTexts{}},
	}
	var list []fixture.Tagging
	for _, c := range cases {
		img := jpg
		if strings.HasSuffix(c.file, "png") {
			img = pngFile
		}
		list = append(list, fixture.Tagging{Name: c.file, Image: img, Args: c.args})
	}
	files := fixture.Written(t, list...)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, _ := describe(t, files[i])
			got := ownTexts{copyright: m.Copyright, creators: m.Creators, rating: m.Rating}
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
	files := fixture.Written(t,
		fixture.Tagging{Name: "a.png", Image: fixture.EncodePNG(t, fixture.Photo(60, 40)), Args: []string{
			"-n", "-XMP-tiff:Make=Canon", "-XMP-tiff:Model=Canon EOS R5", "-XMP-aux:Lens=RF50mm F1.2 L USM", "-XMP-xmp:CreatorTool=darktable 4.6",
			"-XMP-exif:DateTimeOriginal=2024:05:29 17:19:21+02:00", "-XMP-exif:GPSLatitude=-33.8599972", "-XMP-exif:GPSLongitude=151.2111111",
		}},
		fixture.Tagging{Name: "a.jpg", Image: fixture.EncodeJPEG(t, fixture.Photo(60, 40), 80), Args: []string{"-IPTC:DateCreated=2019:08:07", "-IPTC:TimeCreated=06:05:04-03:00"}})
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
	data := fixture.WithExif(fixture.EncodeJPEG(t, fixture.Photo(60, 40), 80), fixture.TIFF(fixture.FullExif...))
	altitude := -25.5
	for policy, want := range map[embedded.GPS]*pipeline.GPS{
		"":                 {Latitude: -33.859997, Longitude: 151.211111, Altitude: &altitude},
		embedded.KeepGPS:   {Latitude: -33.859997, Longitude: 151.211111, Altitude: &altitude},
		embedded.CoarseGPS: {Latitude: -33.86, Longitude: 151.21},
		embedded.DropGPS:   nil,
	} {
		m, _, err := New(Config{GPS: policy}).Describe(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		text := asJSON(t, m)
		if !reflect.DeepEqual(m.Exif.GPS, want) || policy == embedded.DropGPS && (strings.Contains(text, "33.8") || strings.Contains(text, "gps")) {
			t.Errorf("%q: %s", policy, text)
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
	data := fixture.EncodePNG(t, fixture.Photo(60, 40))
	m, _ := describe(t, fixture.WithPNGChunk(data, "iTXt", "XML:com.adobe.xmp\x00\x00\x00\x00\x00"+packet)) // also checks the schema
	if n := len(strings.Join(m.Keywords, "")); n > 8192 || n < 8192/2 {
		t.Errorf("%d bytes of keywords", n)
	}
	if len(m.Title) > record.MaxText || len(m.Creators) != 8 || m.Composed != nil {
		t.Errorf("%d bytes of title, %d keywords, %d creators, composed %q", len(m.Title), len(m.Keywords), len(m.Creators), m.Composed)
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
	list := []fixture.Tagging{
		{Name: "photo.jpg", Image: fixture.EncodeJPEG(t, fixture.Photo(120, 80), 85), Args: args}, {Name: "photo.png", Image: fixture.EncodePNG(t, fixture.Photo(120, 80)), Args: args},
	}
	for i, data := range fixture.Written(t, list...) {
		t.Run(list[i].Name, func(t *testing.T) {
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

// TestNoPlaceIsComposed verifies that no composed text contains the place where the image was taken, however
// exact the file is.
func TestNoPlaceIsComposed(t *testing.T) {
	m, _ := describe(t, fixture.WithExif(fixture.EncodeJPEG(t, fixture.Photo(60, 40), 80), fixture.TIFF(fixture.FullExif...)))
	if m.Exif.GPS == nil {
		t.Fatal("the file has no place")
	}
	if caption := strings.Join(append(m.Keywords, m.Title, m.Description), " "); strings.Contains(caption, "33") || strings.Contains(caption, "151") {
		t.Errorf("composed: %s", caption)
	}
	if m.Title != "Photo taken 29 May 2024 with Canon EOS R5" {
		t.Errorf("title %q", m.Title)
	}
}

// TestTextsAreBounded describes a file whose texts are all too long.
func TestTextsAreBounded(t *testing.T) {
	long := bytes.Repeat([]byte(`<"&>`+"\u2028"), 1200)
	entries := []fixture.Entry{
		fixture.Tag(fixture.DirImage, 0x010f, tiff.ASCII, long),
		fixture.Tag(fixture.DirImage, 0x0110, tiff.ASCII, long),
		fixture.Tag(fixture.DirExif, 0xa434, tiff.ASCII, long),
		fixture.Tag(fixture.DirExif, 0x9003, tiff.ASCII, long[:64]),
		fixture.Tag(fixture.DirExif, 0x9004, tiff.ASCII, long[:60]),
	}
	m, _ := describe(t, fixture.WithExif(fixture.EncodeJPEG(t, fixture.Photo(60, 40), 80), fixture.TIFF(entries...)))
	if n := len(asJSON(t, m)); n > pipeline.MaxMetadataBytes || m.Exif == nil || len(m.Exif.CameraMake) > record.MaxText {
		t.Errorf("%d bytes of metadata: %+v", n, m.Exif)
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
