package embed

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// exiftoolEdit is an edit of a file with exiftool.
type exiftoolEdit struct {
	name string
	data []byte
	args []string
}

// edited edits files with exiftool, in one run, because it starts slowly.
func edited(t *testing.T, edits ...exiftoolEdit) [][]byte {
	t.Helper()
	folder := t.TempDir()
	path := func(i int) string { return filepath.Join(folder, fmt.Sprint(i, "-", edits[i].name)) }
	var args []string
	for i, e := range edits {
		if err := os.WriteFile(path(i), e.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			args = append(args, "-execute")
		}
		args = append(append(args, e.args...), path(i))
	}
	run(t, tool(t, "exiftool"), append(args, "-common_args", "-q", "-m", "-overwrite_original")...)
	results := make([][]byte, len(edits))
	for i, e := range edits {
		data, err := os.ReadFile(path(i))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(data, e.data) {
			t.Errorf("exiftool did not edit %s with %q", e.name, e.args)
		}
		results[i] = data
	}
	return results
}

// tagsOf returns the tags that exiftool reads from one file.
func tagsOf(t *testing.T, name string, data []byte) tags {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return read(t, folder)[name]
}

// TestExiftoolsEdits edits captions that we wrote with exiftool, as people do, and has exiftool rewrite our
// packet and EXIF in its own form. It verifies that edited captions are kept, and that unchanged ones are still
// recognized as ours.
func TestExiftoolsEdits(t *testing.T) {
	tool(t, "exiftool")
	m := sample()
	m.Title, m.Description, m.Keywords = "Another title", "Another description", []string{"new", "words"}
	newTags := tags{
		"XMP-dc:Title": m.Title, "IPTC:ObjectName": m.Title,
		"XMP-dc:Description": m.Description, "IFD0:ImageDescription": m.Description, "IPTC:Caption-Abstract": m.Description,
		"XMP-dc:Subject": []any{"new", "words"}, "IPTC:Keywords": []any{"new", "words"},
	}
	cases := []struct {
		edit   []string
		theirs tags
		gone   []string // tags of ours that the edit removes
	}{
		{[]string{"-XMP-xmp:Rating=3", "-EXIF:Artist=Someone"}, nil, nil},
		{[]string{"-XMP-dc:Title=Strandkörbe"}, tags{"XMP-dc:Title": "Strandkörbe"}, []string{"IPTC:ObjectName"}},
		{[]string{"-XMP-dc:Title-de=Titel"}, tags{"XMP-dc:Title": sample().Title, "XMP-dc:Title-de": "Titel"}, []string{"IPTC:ObjectName"}},
		{[]string{"-EXIF:ImageDescription=A beach"}, tags{"IFD0:ImageDescription": "A beach"}, []string{"XMP-dc:Description", "IPTC:Caption-Abstract"}},
		{[]string{"-XMP-dc:Subject+=cows"}, tags{"XMP-dc:Subject": []any{"blue", "grey", "landscape, wide", "cows"}}, []string{"IPTC:Keywords"}},
		{[]string{"-XMP-dc:Subject=", "-XMP-dc:Subject=grey", "-XMP-dc:Subject=landscape, wide", "-XMP-dc:Subject=blue"}, nil, nil},
	}
	files := map[string][]byte{
		"a.jpg": withSegments(plainJPEG(t), jfif, exifSegment(cameraTIFF(binaryBigEndian)), iptcSegment(iimVersion), icc),
		"a.png": withChunks(plainPNG(t, testImage()), chunk("eXIf", string(cameraTIFF(binaryBigEndian))), ""),
	}
	folder := t.TempDir()
	put := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	numbered := func(i int, name string) string { return fmt.Sprint(i, "-", name) }
	for name, file := range files {
		written := write(t, file).Data
		put(name, written)
		var edits []exiftoolEdit
		for _, c := range cases {
			edits = append(edits, exiftoolEdit{name, written, c.edit})
		}
		for i, data := range edited(t, edits...) {
			put(numbered(i, name), writeSample(t, data, m, Options{Composed: true}).Data)
		}
	}
	read := read(t, folder)
	for name := range files {
		before := read[name]
		for i, c := range cases {
			got := read[numbered(i, name)]
			for tag, want := range newTags {
				if before[tag] == nil {
					continue // does not exist in this format
				}
				switch theirs := c.theirs[tag]; {
				case theirs != nil:
					want = theirs
				case slices.Contains(c.gone, tag):
					want = nil
				}
				if fmt.Sprint(got[tag]) != fmt.Sprint(want) {
					t.Errorf("%s %q: %s is %v, want %v", name, c.edit, tag, got[tag], want)
				}
			}
			for tag, want := range c.theirs {
				if fmt.Sprint(got[tag]) != fmt.Sprint(want) {
					t.Errorf("%s %q: %s is %v, want %v", name, c.edit, tag, got[tag], want)
				}
			}
			if w := fmt.Sprint(got["ExifTool:Warning"]); w != fmt.Sprint(before["ExifTool:Warning"]) {
				t.Errorf("%s %q: exiftool warns: %s", name, c.edit, w)
			}
		}
	}
}

// TestOtherScriptsInOtherReaders reads texts of many scripts back with exiftool and exiv2.
func TestOtherScriptsInOtherReaders(t *testing.T) {
	m := sample()
	m.Title, m.Description, m.Keywords = "Закат над рекой", "川の夕日 – 😀", []string{"写真", "مرحبا", "ñandú"}
	file := withSegments(plainJPEG(t), jfif, exifSegment(cameraTIFF(binaryBigEndian)), iptcSegment(iimVersion, set(2, 80, "Someone")))
	f := writeSample(t, file, m, Options{Composed: true})
	got := tagsOf(t, "a.jpg", f.Data)
	for tag, want := range map[string]any{
		"XMP-dc:Title": m.Title, "IPTC:ObjectName": m.Title, "XMP-dc:Description": m.Description, "IPTC:Caption-Abstract": m.Description,
		"XMP-dc:Subject": m.Keywords, "IPTC:Keywords": m.Keywords, "IFD0:ImageDescription": m.Description,
	} {
		if fmt.Sprint(got[tag]) != fmt.Sprint(want) {
			t.Errorf("exiftool: %s is %v, want %v", tag, got[tag], want)
		}
	}
	path := filepath.Join(t.TempDir(), "a.jpg")
	if err := os.WriteFile(path, f.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	out := run(t, tool(t, "exiv2"), "-PEXIv", "-g", "title", "-g", "ObjectName", "-g", "escription", "-g", "Caption", "pr", path)
	for text, n := range map[string]int{m.Title: 2, m.Description: 3} {
		if got := bytes.Count(out, []byte(text)); got != n {
			t.Errorf("exiv2 shows %q %d times, want %d:\n%s", text, got, n, out)
		}
	}
}

// TestDocumentedRemoval runs the commands of docs/metadata.md that find and remove our captions and all other
// metadata of ours.
func TestDocumentedRemoval(t *testing.T) {
	text, err := os.ReadFile("../../docs/metadata.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^\$ exiftool (.*) image\.jpg$`).FindAllSubmatch(text, -1)
	if len(commands) != 2 {
		t.Fatalf("%d commands, want 2", len(commands))
	}
	path := filepath.Join(t.TempDir(), "image.jpg")
	written := write(t, withSegments(plainJPEG(t), jfif, exifSegment(cameraTIFF(binaryBigEndian)))).Data
	if err := os.WriteFile(path, written, 0o600); err != nil {
		t.Fatal(err)
	}
	exiftool := tool(t, "exiftool")
	found := run(t, exiftool, append(strings.Fields(string(commands[0][1])), path)...)
	if !bytes.Contains(found, []byte("title, description, keywords")) {
		t.Errorf("found %q", found)
	}
	run(t, exiftool, append(strings.Fields(string(commands[1][1])), path)...)
	left, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if title, description, keywords := countCaptions(left, sample()); title+description+keywords > 0 || bytes.Contains(left, []byte("imagebatch")) {
		t.Error("some metadata of ours remains")
	}
}

// placeless verifies, over a whole corpus, that exiftool finds no position any more, that no other metadata is
// missing, and that there are no new warnings.
func placeless(t *testing.T, files map[string][]byte, atLeast int) {
	t.Helper()
	before, after := t.TempDir(), t.TempDir()
	for name, data := range files {
		kept, err := Write(data, sample(), Options{Composed: true})
		if err != nil {
			t.Fatal(err)
		}
		f := writePlaceless(t, data)
		for path, data := range map[string][]byte{filepath.Join(before, name): kept.Data, filepath.Join(after, name): f.Data} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tagsBefore, tagsAfter := read(t, before), read(t, after)
	removed := 0
	for name := range files {
		_, had := tagsBefore[name].split()
		_, has := tagsAfter[name].split()
		want, positions := withoutPlace(had)
		got, left := withoutPlace(has)
		removed += positions
		if left > 0 {
			t.Errorf("%s: %d positions remain: %v", name, left, has)
		}
		// Broken GPS data no longer causes warnings.
		var warned, warns int
		_, _ = fmt.Sscan(fmt.Sprint(want["ExifTool:Validate"]), &warned)
		_, _ = fmt.Sscan(fmt.Sprint(got["ExifTool:Validate"]), &warns)
		if warns > warned {
			t.Errorf("%s: %d warnings, before %d", name, warns, warned)
		}
		if warns != warned {
			for _, ts := range []tags{want, got} {
				delete(ts, "ExifTool:Validate")
				delete(ts, "ExifTool:Warning")
			}
		}
		if diff := difference(want, got); diff != "" {
			t.Errorf("%s: other tags changed:\n%s", name, diff)
		}
	}
	if removed < atLeast {
		t.Errorf("only %d tags of positions removed; the test needs more", removed)
	}
}

// withoutPlace removes positions from the tags that exiftool reads, also in nested structures, and counts them.
// Positions in maker notes remain.
func withoutPlace(ts map[string]any) (rest tags, positions int) {
	rest = tags{}
	for tag, v := range ts {
		group, name, grouped := strings.Cut(tag, ":")
		if !grouped {
			group, name = "XMP", tag
		}
		known := group == "GPS" || group == "PNG" || group == "Composite" || strings.HasPrefix(group, "XMP")
		if known && (group == "GPS" || group == "XMP-geo" || strings.Contains(name, "GPS")) {
			positions++
			continue
		}
		var inside int
		rest[tag], inside = withoutPlaceInside(v)
		positions += inside
	}
	return rest, positions
}

func withoutPlaceInside(v any) (rest any, positions int) {
	switch v := v.(type) {
	case map[string]any:
		inner, n := withoutPlace(v)
		return map[string]any(inner), n
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var n int
			list[i], n = withoutPlaceInside(v[i])
			positions += n
		}
		return list, positions
	default:
		return v, 0
	}
}

// TestStripPlaceFromPhotos removes positions from real photos.
func TestStripPlaceFromPhotos(t *testing.T) {
	files := photos(t)
	files["assembled.jpg"] = withSegments(plainJPEG(t), jfif, exifSegment(cameraTIFF(binaryBigEndian)), xmpSegment(foreign(placePacket)))
	placeless(t, files, 50)
}
