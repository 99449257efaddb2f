package embed

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// entry is an entry of a TIFF directory.
type entry struct {
	tag, kind uint16
	count     int
	value     string // longer values are stored after the directories
}

func ascii(tag uint16, text string) entry {
	return entry{tag, tiff.ASCII, len(text) + 1, text + "\x00"}
}

// cameraTIFF is a TIFF block as a camera writes it: a first directory, with additional entries if given, a GPS
// directory, an Exif directory with a maker note, and a second directory with a thumbnail.
func cameraTIFF(order tiff.ByteOrder, more ...entry) []byte {
	b := []byte("II*\x00")
	if order.Uint16([]byte{0, 1}) == 1 {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint32(b, tiffHeader)
	const thumbnail = "\xff\xd8thumbnail\xff\xd9"
	u16 := func(v uint16) string { return string(order.AppendUint16(nil, v)) }
	u32 := func(v int) string { return string(order.AppendUint32(nil, uint32(v))) }
	// directory appends a directory, followed by its values, and returns the position of each entry's value.
	directory := func(entries []entry, next int) (places []int) {
		slices.SortStableFunc(entries, func(a, b entry) int { return int(a.tag) - int(b.tag) })
		at := len(b) + 2 + entrySize*len(entries) + 4
		values := ""
		b = order.AppendUint16(b, uint16(len(entries)))
		for _, e := range entries {
			places = append(places, len(b)+8)
			b = append(b, u16(e.tag)+u16(e.kind)+u32(e.count)...)
			if len(e.value) > 4 {
				b = append(b, u32(at+len(values))...)
				values += e.value + strings.Repeat("\x00", len(e.value)%2)
			} else {
				b = append(b, (e.value + "\x00\x00\x00\x00")[:4]...)
			}
		}
		b = append(b, u32(next)+values...)
		return places
	}
	first := append([]entry{
		ascii(0x010f, "Acme Cameras"), ascii(0x0110, "Box 1"),
		{0x0112, 3, 1, u16(6)},
		{0x011a, 5, 1, u32(72) + u32(1)},
		{0x011b, 5, 1, u32(72) + u32(1)},
		{0x0128, 3, 1, u16(2)},
		{0x0213, 3, 1, u16(1)},
		{0x8769, 4, 1, u32(0)},
		{tiff.TagGPS, 4, 1, u32(0)},
	}, more...)
	places := directory(first, 0)
	pointer := func(tag uint16) int {
		i := slices.IndexFunc(first, func(e entry) bool { return e.tag == tag })
		return places[i]
	}
	order.PutUint32(b[pointer(0x8769):], uint32(len(b)))
	directory([]entry{
		{0x9000, 7, 4, "0232"},
		{0x927c, 7, 26, "Acme maker note, offset 18"},
		{0x9101, 7, 4, "\x01\x02\x03\x00"},
		{0xa000, 7, 4, "0100"},
		{0xa001, 3, 1, u16(1)},
		{0xa002, 4, 1, u32(48)},
		{0xa003, 4, 1, u32(32)},
	}, 0)
	order.PutUint32(b[pointer(tiff.TagGPS):], uint32(len(b)))
	degrees := u32(51) + u32(1) + u32(0) + u32(1) + u32(3100) + u32(100)
	directory([]entry{
		{0, 1, 4, "\x02\x03\x00\x00"}, {1, 2, 2, "N"}, {2, 5, 3, degrees}, {3, 2, 2, "E"}, {4, 5, 3, degrees},
	}, 0)
	order.PutUint32(b[tiffHeader+2+entrySize*len(first):], uint32(len(b)))
	places = directory([]entry{
		{0x0103, 3, 1, u16(6)},
		{0x011a, 5, 1, u32(72) + u32(1)},
		{0x011b, 5, 1, u32(72) + u32(1)},
		{0x0128, 3, 1, u16(2)},
		{0x0201, 4, 1, u32(0)},
		{0x0202, 4, 1, u32(len(thumbnail))},
	}, 0)
	order.PutUint32(b[places[4]:], uint32(len(b)))
	return append(b, thumbnail...)
}

func exifSegment(block []byte) string { return segment(markerAPP1, "Exif\x00\x00"+string(block)) }

// set returns a dataset of IPTC-IIM.
func set(record, number byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{0x1c, record, number}, uint16(len(value)))) + value
}

// iptcSegment returns a segment of Photoshop's resources: one of another kind, IPTC data with a matching
// digest, and a name.
func iptcSegment(sets ...string) string {
	block := strings.Join(sets, "")
	sum := md5.Sum([]byte(block))
	resource := func(id uint16, name, data string) string {
		r := string(binary.BigEndian.AppendUint16([]byte("8BIM"), id)) + name
		r += string(binary.BigEndian.AppendUint32(nil, uint32(len(data)))) + data
		return r + strings.Repeat("\x00", len(data)%2)
	}
	return segment(markerAPP13, photoshopSignature+resource(0x03ed, "\x00\x00", "odd")+
		resource(0x0404, "\x05named", block)+resource(0x0425, "\x00\x00", string(sum[:]))+
		resource(0x0406, "\x00\x00", "quality"))
}

var iimVersion = set(2, 0, "\x00\x04")

// countCaptions returns how often the file contains the sample's text for each field.
func countCaptions(data []byte, m pipeline.Metadata) (title, description, keywords int) {
	count := func(s string) int {
		escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
		n := bytes.Count(data, []byte(s))
		if escaped != s {
			n += bytes.Count(data, []byte(escaped))
		}
		return n
	}
	return count(m.Title), count(m.Description), count(m.Keywords[2])
}

// TestFillsEveryPlace verifies that a file with EXIF and IPTC but no captions gets them in all three places,
// with a matching digest.
func TestFillsEveryPlace(t *testing.T) {
	for _, order := range []tiff.ByteOrder{binary.BigEndian, binary.LittleEndian} {
		camera := cameraTIFF(order)
		data := append(withSegments(plainJPEG(t), exifSegment(camera), iptcSegment(iimVersion, set(2, 80, "Someone")), icc), "a video"...)
		f := write(t, data)
		samePixels(t, data, f.Data)
		if f.XMP != Added || f.EXIF != Filled || f.IPTC != Filled || f.Warnings != nil {
			t.Fatalf("%+v", f)
		}
		if title, description, keywords := countCaptions(f.Data, sample()); title != 2 || description != 3 || keywords != 2 {
			t.Errorf("title %d, description %d, keywords %d times", title, description, keywords)
		}
		checkTIFF(t, camera, exifOf(f.Data))
		_, block, _ := bytes.Cut(f.Data, []byte("8BIM\x04\x04\x05named"))
		block, digest, ok := bytes.Cut(block[4:], []byte("8BIM\x04\x25\x00\x00\x00\x00\x00\x10"))
		even, odd := md5.Sum(block), md5.Sum(block[:len(block)-1]) // a byte may be padding
		if !ok || !bytes.HasPrefix(digest, even[:]) && !bytes.HasPrefix(digest, odd[:]) {
			t.Error("the digest does not match")
		}
		if !bytes.HasSuffix(f.Data, []byte("a video")) {
			t.Error("the trailer changed")
		}
	}
}

// TestFillKeepsAWrongDigest verifies that a digest that did not match stays wrong: it shows readers that
// another program changed only the IPTC.
func TestFillKeepsAWrongDigest(t *testing.T) {
	sum := md5.Sum([]byte(iimVersion))
	header := strings.Replace(iptcSegment(iimVersion), string(sum[:]), "sixteen bytes of", 1)
	f := write(t, withSegments(plainJPEG(t), header))
	if f.IPTC != Filled || !bytes.Contains(f.Data, []byte("sixteen bytes of")) {
		t.Errorf("IPTC %s, or the digest was renewed", f.IPTC)
	}
}

// TestFillsOnlyWhatIsMissing verifies that a field that a file states in one place stays, and that ours is
// written into no place.
func TestFillsOnlyWhatIsMissing(t *testing.T) {
	const dc = `xmlns:dc="http://purl.org/dc/elements/1.1/"`
	about := `<rdf:Description rdf:about="" ` + dc + ` xmlns:lr="` + "http://ns.adobe.com/lightroom/1.0/" + `">`
	packet := func(properties string) string { return xmpSegment(foreign(about + properties + `</rdf:Description>`)) }
	alt := func(name, items string) string {
		return packet("<dc:" + name + "><rdf:Alt>" + items + "</rdf:Alt></dc:" + name + ">")
	}
	const german = `<rdf:li xml:lang="x-default">Bild</rdf:li><rdf:li xml:lang="de">Bild</rdf:li>`
	camera := exifSegment(cameraTIFF(binary.BigEndian))
	described := func(text string) string {
		return exifSegment(cameraTIFF(binary.LittleEndian, ascii(tiff.TagImageDescription, text)))
	}
	iptc := func(sets ...string) string { return iptcSegment(append([]string{iimVersion}, sets...)...) }
	const (
		title = 1 << iota
		description
		keywords
	)
	titled := foreign(about + "<dc:title>Bild</dc:title></rdf:Description>")
	jpegs := []struct {
		name, header string
		kept         int // fields that the file states
	}{
		{"nothing", camera + iptc(), 0},
		{"dc:title", camera + iptc() + alt("title", german), title},
		{"dc:title as an attribute", xmpSegment(foreign(`<rdf:Description rdf:about="" ` + dc + ` dc:title="Bild"/>`)), title},
		{"an empty dc:title", camera + packet("<dc:title/>"), 0},
		{"dc:description", camera + alt("description", german), description},
		{"dc:subject", iptc() + packet("<dc:subject><rdf:Bag><rdf:li>one</rdf:li></rdf:Bag></dc:subject>"), keywords},
		{"keywords in levels", packet("<lr:hierarchicalSubject><rdf:Bag><rdf:li>a|b</rdf:li></rdf:Bag></lr:hierarchicalSubject>"), keywords},
		{"EXIF", described("A boat") + iptc(), description},
		{"EXIF of spaces", described("          "), 0},
		{"EXIF of Windows", exifSegment(cameraTIFF(binary.BigEndian, entry{tiff.TagXPTitle, 1, 6, "B\x00o\x00\x00\x00"}, entry{tiff.TagXPKeywords, 1, 6, "a\x00b\x00\x00\x00"})), title | keywords},
		{"a comment of Windows", exifSegment(cameraTIFF(binary.BigEndian, entry{tiff.TagXPComment, 1, 6, "B\x00o\x00\x00\x00"})), description},
		{"a subject of Windows", exifSegment(cameraTIFF(binary.BigEndian, entry{tiff.TagXPSubject, 1, 6, "B\x00o\x00\x00\x00"})), description},
		{"XMP in EXIF", exifSegment(cameraTIFF(binary.BigEndian, entry{tiff.TagXMP, 1, len(titled), titled})), title},
		{"XMP in EXIF that cannot be read", exifSegment(cameraTIFF(binary.BigEndian, entry{tiff.TagXMP, 1, 5, "<xml>"})), 0},
		{"IPTC in EXIF", exifSegment(cameraTIFF(binary.BigEndian, entry{tiff.TagIPTC, 7, len(set(2, 120, "Boot")), set(2, 120, "Boot")})), description},
		{"photoshop:Headline", camera + packet(`<p:Headline xmlns:p="http://ns.adobe.com/photoshop/1.0/">Boot</p:Headline>`), title},
		{"keywords of digiKam", camera + packet(`<d:TagsList xmlns:d="http://www.digikam.org/ns/1.0/"><rdf:Seq><rdf:li>a/b</rdf:li></rdf:Seq></d:TagsList>`), keywords},
		{"IPTC title", camera + iptc(set(2, 5, "Boot")), title},
		{"IPTC headline", camera + iptc(set(2, 105, "Boot")), title},
		{"IPTC caption", camera + iptc(set(2, 120, "Boot")), description},
		{"IPTC keywords", camera + iptc(set(2, 25, "Boot")), keywords},
		{"IPTC of spaces", camera + iptc(set(2, 5, "  "), set(2, 120, ""), set(2, 25, " ")), 0},
		{"broken IPTC", camera + iptc("\x1c\x02\x19\x70\x00"), 0},
		{"IPTC broken after the caption", camera + iptc(set(2, 120, "Boot"), "\x1c\x02\x19\x70\x00"), description},
		{"resources in two segments", camera + iptc() + iptc(), 0},
		{"IPTC in the second of them", camera + iptc() + iptc(set(2, 25, "Boot")), keywords},
		{"broken resources", segment(markerAPP13, photoshopSignature+"9BIM"), 0},
		{"extended XMP", segment(markerAPP1, extensionSignature+strings.Repeat("0", 32)+"\x00\x00\x01\x00\x00\x00\x00\x00"+titled), title},
		{"a second packet", packet("") + alt("title", german), title},
	}
	for _, c := range jpegs {
		t.Run(c.name, func(t *testing.T) {
			checkKept(t, withSegments(plainJPEG(t), c.header), []bool{c.kept&title > 0, c.kept&description > 0, c.kept&keywords > 0})
		})
	}
	for _, c := range []struct {
		name, chunks string
		kept         int
	}{
		{"PNG, nothing", chunk("eXIf", string(cameraTIFF(binary.BigEndian))), 0},
		{"PNG Title", chunk("tEXt", "Title\x00Boot"), title},
		{"PNG Description", itxt + chunk("iTXt", "Description\x00\x00\x00\x00\x00Boot"), title | description},
		{"PNG eXIf", chunk("eXIf", string(cameraTIFF(binary.BigEndian, ascii(tiff.TagImageDescription, "A boat")))), description},
		{"PNG raw profile that cannot be read", chunk("zTXt", "Raw profile type iptc\x00\x00x"), 0},
		{"PNG raw profile of XMP, and a packet", xmpChunk(foreign("")) + chunk("tEXt", "raw profile type xmp\x00"+rawText("xmp", titled)), title},
		{"PNG raw profile of IPTC", chunk("tEXt", "Raw profile type iptc\x00"+rawText("iptc", set(2, 120, "Boot"))), description},
		{"PNG raw profile of resources", chunk("tEXt", "Raw profile type 8bim\x00"+rawText("8bim", iptcSegment(iimVersion, set(2, 25, "Boot"))[4:])), keywords},
		{"PNG raw profile of EXIF", chunk("tEXt", "Raw profile type exif\x00"+rawText("exif", "Exif\x00\x00"+string(cameraTIFF(binary.BigEndian, ascii(tiff.TagImageDescription, "A boat"))))), description},
		{"PNG raw profile of another kind", chunk("zTXt", "Raw profile type icc\x00\x00x"), 0},
		{"PNG, a second packet", xmpChunk(foreign("")) + xmpChunk(foreign("")), 0},
		{"PNG, a title in the second packet", xmpChunk(foreign("")) + xmpChunk(titled), title},
		{"PNG title in lower case", chunk("tEXt", "title\x00Boot"), title},
		{"PNG title of spaces", chunk("tEXt", "Title\x00  "), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := withChunks(plainPNG(t, testImage()), c.chunks, "")
			checkKept(t, data, []bool{c.kept&title > 0, c.kept&description > 0, c.kept&keywords > 0})
		})
	}
}

func checkKept(t *testing.T, data []byte, kept []bool) {
	t.Helper()
	f := write(t, data)
	samePixels(t, data, f.Data)
	if f.XMP == None {
		t.Fatalf("nothing was written: %v", f.Warnings)
	}
	title, description, keywords := countCaptions(f.Data, sample())
	for i, n := range []int{title, description, keywords} {
		if (n == 0) != kept[i] {
			t.Errorf("field %d is in %d places, kept is %v", i, n, kept[i])
		}
	}
}

// TestFollowsTheAnalyzer verifies that our captions are replaced by new ones in every place, as if the earlier
// run had not happened.
func TestFollowsTheAnalyzer(t *testing.T) {
	data := withSegments(plainJPEG(t), exifSegment(cameraTIFF(binary.BigEndian)), iptcSegment(iimVersion), xmpSegment(foreign(motionPhoto)))
	m := sample()
	m.Title, m.Description, m.Keywords = "Another title", "Another description, longer than the first one was, by far.", []string{"new"}
	short := m
	short.Description = "abc" // stored in the entry itself
	for _, next := range []pipeline.Metadata{m, short} {
		once := writeSample(t, data, next, Options{Composed: true})
		twice := writeSample(t, write(t, data).Data, next, Options{Composed: true})
		if !bytes.Equal(once.Data, twice.Data) {
			t.Error("metadata of the earlier run remains")
		}
	}
	gone := writeSample(t, write(t, data).Data, pipeline.Metadata{}, Options{Composed: true})
	if title, description, keywords := countCaptions(gone.Data, sample()); title+description+keywords > 0 || gone.EXIF == Filled || gone.IPTC == Filled {
		t.Errorf("title %d, description %d, keywords %d times", title, description, keywords)
	}
	if bytes.Contains(gone.Data, []byte("imagebatch:composed")) {
		t.Error("the marks remain")
	}
}

// TestKeepsOurs verifies that our captions of an earlier run stay if an analyzer took them for the file's own.
func TestKeepsOurs(t *testing.T) {
	data := withSegments(plainJPEG(t), exifSegment(cameraTIFF(binary.BigEndian)), iptcSegment(iimVersion))
	first := write(t, data)
	if again := writeSample(t, first.Data, uncaptioned(), Options{Composed: true}); !bytes.Equal(again.Data, first.Data) {
		t.Error("our captions changed although they were taken for the file's own")
	}
}

// TestComposedOnlyOnRequest verifies that composed captions stay out of a file unless they are requested, and that
// those of an earlier run are then removed from all places, but not a caption that a person has edited since.
func TestComposedOnlyOnRequest(t *testing.T) {
	data := withSegments(plainJPEG(t), exifSegment(cameraTIFF(binary.BigEndian)), iptcSegment(iimVersion))
	without := writeSample(t, data, sample(), Options{})
	if bytes.Contains(without.Data, []byte("dc:")) || bytes.Contains(without.Sidecar, []byte("dc:")) || without.EXIF != None || without.IPTC != None {
		t.Error("captions were filled in")
	}
	written := write(t, data).Data
	for name, m := range map[string]pipeline.Metadata{"composed again": sample(), "taken for the file's own": uncaptioned()} {
		f := writeSample(t, written, m, Options{})
		if title, description, keywords := countCaptions(f.Data, sample()); title+description+keywords > 0 || bytes.Contains(f.Data, []byte("imagebatch:composed")) {
			t.Errorf("%s: title %d, description %d, keywords %d times", name, title, description, keywords)
		}
	}
	edited := bytes.Replace(written, []byte("Landscape in blue &amp; grey"), []byte("Moonscape in blue &amp; grey"), 1)
	f := writeSample(t, edited, uncaptioned(), Options{})
	if title, description, _ := countCaptions(f.Data, sample()); title+description > 0 || !bytes.Contains(f.Data, []byte("Moonscape in blue &amp; grey")) {
		t.Errorf("the edited title was lost, or ours remains: title %d, description %d times", title, description)
	}
}

// TestNeverLosesAnEdit edits one of our captions, in any of its places, with a program that ignores our marks.
// It verifies that the edited caption is kept and that ours is removed from the other places.
func TestNeverLosesAnEdit(t *testing.T) {
	data := withSegments(plainJPEG(t), exifSegment(cameraTIFF(binary.BigEndian)), iptcSegment(iimVersion))
	written := write(t, data)
	m := sample()
	m.Title, m.Description, m.Keywords = "Another title", "Another description", []string{"new"}
	for _, c := range []struct {
		name, old, edited string
		nth               int
	}{
		{"title in XMP", "Landscape in blue &amp; grey", "Moonscape in blue &amp; grey", 0},
		{"title in another language", `x-default">Landscape`, `de">Landscape`, 0},
		{"title in IPTC", "Landscape in blue & grey", "Moonscape in blue & grey", 0},
		{"description in EXIF", `A picture of 48 by 32 pixels, <blue>`, `A picture of my old beach, in <blue>`, 0},
		{"description in IPTC", `A picture of 48 by 32 pixels, <blue>`, `A picture of my old beach, in <blue>`, 1},
		{"description in XMP", `A picture of 48 by 32 pixels, &lt;blue&gt;`, `A picture of my old beach, in &lt;blue&gt;`, 0},
		{"keyword in XMP", "landscape, wide", "beach with cows", 0},
		{"keyword in IPTC", "landscape, wide", "beach with cows", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := 0
			for range c.nth + 1 {
				i := bytes.Index(written.Data[at:], []byte(c.old))
				if i < 0 {
					t.Fatal("nothing to edit")
				}
				at += i + 1
			}
			edited := slices.Concat(written.Data[:at-1], []byte(c.edited), written.Data[at-1+len(c.old):])
			again := writeSample(t, edited, m, Options{Composed: true})
			if !bytes.Contains(again.Data, []byte(c.edited)) {
				t.Error("the edit is lost")
			}
			if bytes.Contains(again.Data, []byte(c.old)) {
				t.Error("our caption is still in another place")
			}
			field := strings.Fields(c.name)[0]
			isNew := map[string]string{"title": m.Title, "description": m.Description, "keyword": ">new<"}[field]
			if bytes.Contains(again.Data, []byte(isNew)) {
				t.Error("a new caption of ours is next to the edit")
			}
		})
	}
}

// TestReplacesStockTexts verifies that the stock texts of cameras count as missing in every place, that only these
// are replaced, and that they stay if there is nothing to write in their place.
func TestReplacesStockTexts(t *testing.T) {
	m := sample()
	m.Exif = &pipeline.Exif{CameraMake: "Acme Cameras", CameraModel: "Box 1"}
	const about = `<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"`
	alt := func(texts ...string) string {
		items := ""
		for i, text := range texts {
			items += `<rdf:li xml:lang="` + [...]string{"x-default", "de"}[i] + `">` + text + `</rdf:li>`
		}
		return xmpSegment(foreign(about + `><dc:description><rdf:Alt>` + items + `</rdf:Alt></dc:description></rdf:Description>`))
	}
	described := func(text string) string {
		return exifSegment(cameraTIFF(binary.LittleEndian, ascii(tiff.TagImageDescription, text)))
	}
	for _, c := range []struct {
		name, header string
		replaced     []string
		places       int // that contain our description
	}{
		{"EXIF", described("OLYMPUS DIGITAL CAMERA         "), []string{"OLYMPUS DIGITAL CAMERA"}, 2},
		{"EXIF, model", described("BOX 1"), []string{"BOX 1"}, 2},
		{"EXIF, blank", described("      "), nil, 2},
		{"EXIF, a person's", described("OLYMPUS DIGITAL CAMERA in a museum"), nil, 0},
		{"XMP", alt("SONY DSC"), []string{"SONY DSC"}, 1},
		{"XMP, two languages", alt("SONY DSC", "SONY DSC"), []string{"SONY DSC"}, 1},
		{"XMP, one of a person", alt("SONY DSC", "Ein Boot"), nil, 0},
		{"XMP, attribute", xmpSegment(foreign(about + ` dc:description="SONY DSC"/>`)), []string{"SONY DSC"}, 1},
		{"IPTC", iptcSegment(iimVersion, set(2, 120, "Exif_JPEG_PICTURE")), []string{"Exif_JPEG_PICTURE"}, 2},
		{"everywhere", described("SONY DSC") + iptcSegment(iimVersion, set(2, 120, "SONY DSC")) + alt("SONY DSC"), []string{"SONY DSC"}, 3},
		{"Windows, which is not written", exifSegment(cameraTIFF(binary.BigEndian, entry{tiff.TagXPComment, 1, 18, "S\x00O\x00N\x00Y\x00 \x00D\x00S\x00C\x00\x00\x00"})), nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := withSegments(plainJPEG(t), c.header)
			f := writeSample(t, data, m, Options{Composed: true})
			if _, places, _ := countCaptions(f.Data, m); places != c.places || !slices.Equal(f.Replaced, c.replaced) {
				t.Errorf("in %d places, replaced %q", places, f.Replaced)
			}
			if l, err := imagefile.LayoutOf(f.Data); err != nil {
				t.Error(err)
			} else if view := l.Metadata(f.Data, imagefile.MaxPacket); view.HasEXIF && c.places > 0 {
				if text, has := tiffDescription(view.EXIF); !has || text != m.Description {
					t.Errorf("EXIF has %q", text)
				}
			}
			kept := writeSample(t, data, m, Options{})
			if kept.Replaced != nil {
				t.Errorf("replaced %q without a request", kept.Replaced)
			}
			for _, text := range c.replaced {
				if bytes.Count(kept.Data, []byte(text)) != bytes.Count(data, []byte(text)) {
					t.Errorf("%q was removed", text)
				}
			}
		})
	}
}

// TestOtherScripts verifies that non-ASCII text is in XMP, in EXIF as UTF-8, and in IPTC if the block's character
// set allows it.
func TestOtherScripts(t *testing.T) {
	m := sample()
	m.Title, m.Description, m.Keywords = "Закат над рекой", "川の夕日 – ☀️😀", []string{"写真", "مرحبا"}
	const utf8Mark = "\x1c\x01\x5a\x00\x03\x1b%G"
	for _, c := range []struct {
		name   string
		sets   []string
		marked int
		iptc   Outcome
	}{
		{"no character set", []string{iimVersion, set(2, 80, "Someone")}, 1, Filled},
		{"UTF-8", []string{set(1, 90, iptc.UTF8), iimVersion, set(2, 80, "Jemand für uns")}, 1, Filled},
		{"unknown", []string{iimVersion, set(2, 80, "Jemand f\xfcr uns")}, 0, None},
		{"another", []string{set(1, 90, "\x1b.A"), iimVersion}, 0, None},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := withSegments(plainJPEG(t), exifSegment(cameraTIFF(binary.BigEndian)), iptcSegment(c.sets...))
			f := writeSample(t, data, m, Options{Composed: true})
			if f.EXIF != Filled || f.IPTC != c.iptc || bytes.Count(f.Data, []byte(utf8Mark)) != c.marked {
				t.Errorf("EXIF %s, IPTC %s, marked %d times", f.EXIF, f.IPTC, bytes.Count(f.Data, []byte(utf8Mark)))
			}
			places := 1
			if c.iptc == Filled {
				places = 2
			}
			for text, n := range map[string]int{m.Title: places, m.Description: places + 1, m.Keywords[1]: places} {
				if got := bytes.Count(f.Data, []byte(text)); got != n {
					t.Errorf("%q is in the file %d times, want %d", text, got, n)
				}
			}
		})
	}
}

// TestLongTexts verifies that a text that does not fit into a place is not written there at all.
func TestLongTexts(t *testing.T) {
	m := sample()
	m.Title, m.Description = strings.Repeat("t", 65), strings.Repeat("d", 2001)
	m.Keywords = []string{"short", strings.Repeat("k", 65)}
	room := cameraTIFF(binary.BigEndian, ascii(0x013b, strings.Repeat("a", 63000)))
	data := withSegments(plainJPEG(t), exifSegment(room), iptcSegment(iimVersion))
	f := writeSample(t, data, m, Options{Composed: true})
	if f.XMP != Added || f.EXIF != None || f.IPTC != None {
		t.Errorf("XMP %s, EXIF %s, IPTC %s", f.XMP, f.EXIF, f.IPTC)
	}
	if !bytes.Contains(f.Data, []byte(exifSegment(room)+xmpSegment("")[:2])) {
		t.Error("EXIF was changed")
	}
}
