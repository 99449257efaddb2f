package embed

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile/stocktext"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// tool returns the path of a program that reads our metadata.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	// Some of exiftool's results depend on Perl's hash order.
	cmd.Env = append(os.Environ(), "PERL_HASH_SEED=0", "PERL_PERTURB_KEYS=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

// tags are the tags that exiftool reads from one file, including warnings.
type tags map[string]any

// namedFile is a file that exiftool has read.
type namedFile struct {
	name   string
	digest [sha256.Size]byte
}

// readBefore contains exiftool's JSON for the files that it has read. Several tests read the same photos, and exiftool
// is slow.
var readBefore = map[namedFile]json.RawMessage{}

// read reads every file of a folder with exiftool, by name.
func read(t *testing.T, folder string) map[string]tags {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]namedFile{}
	args := []string{"-q", "-j", "-G1", "-a", "-struct", "-ee", "-m", "-validate", "-warning", "-error", "-all", "-charset", "filename=utf8"}
	options := len(args)
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file := namedFile{e.Name(), sha256.Sum256(data)}
		files[e.Name()] = file
		if readBefore[file] == nil {
			args = append(args, path)
		}
	}
	if len(args) > options {
		var list []json.RawMessage
		if err := json.Unmarshal(run(t, tool(t, "exiftool"), args...), &list); err != nil {
			t.Fatalf("read exiftool's JSON: %v", err)
		}
		for _, text := range list {
			var source struct{ SourceFile string }
			if err := json.Unmarshal(text, &source); err != nil {
				t.Fatalf("read exiftool's JSON: %v", err)
			}
			readBefore[files[filepath.Base(source.SourceFile)]] = text
		}
	}
	byName := map[string]tags{}
	for name, file := range files {
		var ts tags
		if err := json.Unmarshal(readBefore[file], &ts); err != nil {
			t.Fatalf("exiftool did not read %s: %v", name, err)
		}
		byName[name] = ts
	}
	return byName
}

const group = "XMP-imagebatch:"

// split separates our tags from the others, without those that depend on positions or on the size of the file.
func (ts tags) split() (ours, others tags) {
	ours, others = tags{}, tags{}
	for k, v := range ts {
		switch {
		case strings.HasPrefix(k, group):
			ours[strings.TrimPrefix(k, group)] = v
		case k == "SourceFile", strings.HasPrefix(k, "System:"), strings.HasPrefix(k, "XMP-x:"),
			strings.HasSuffix(k, "ImageStart"), strings.HasSuffix(k, "ImageOffset"), strings.HasSuffix(k, "ThumbnailOffset"),
			strings.Contains(k, "MPImageStart"), strings.Contains(k, "MPImageLength"),
			strings.HasSuffix(k, "OtherImageStart"), strings.HasSuffix(k, "PreviewImage"):
		default:
			others[k] = v
		}
	}
	return ours, others
}

// wantTags returns the tags of the sample as exiftool prints them, without captions.
func wantTags() tags {
	return tags{
		"AnalyzerVersion": "1.2.0", "Format": "jpeg", "Width": 48.0, "Height": 32.0,
		"OriginalSHA256": sample().SHA256, "OriginalFileSize": 4711.0, "Shape": "landscape", "BitDepth": 8.0,
		"ColorModel": "ycbcr", "HasAlpha": true, "AlphaUsed": true, "ICCProfile": "sRGB IEC61966-2.1", "Progressive": true,
		"JPEGQuality": 85.0, "Animated": true, "EntropyChecked": "full", "MeanColor": "#8040c0",
		"DominantColors":      []any{"#7f3fbf", "#ffffff", "#000000"},
		"DominantColorShares": []any{0.6125, 0.25, 0.1375},
		"DominantColorNames":  []any{"darkorchid", "white", "black"},
		"DominantColorLabs":   []any{"39.86 54.14 -55.86", "100 0 0", "0 0 0"},
		"Saturation":          0.5, "Colorfulness": 33.21, "Warmth": -0.0123,
		"Brightness": 0.4321, "Contrast": 0.1234, "Entropy": 7.123, "ShadowsClipped": 0.01, "HighlightsClipped": 0.02,
		"Sharpness": 815.25, "Flags": []any{"dark", "monochrome"},
		"BlurHash": sample().BlurHash, "ThumbHash": sample().ThumbHash, "DHash": "0f1e2d3c4b5a6978", "PHash": "c3d1e2f0a5b49687",
	}
}

// places are the tags that may state a field of a caption, starting with XMP's.
var places = map[pipeline.CaptionField][]string{
	pipeline.Title:       {"XMP-dc:Title", "IPTC:ObjectName", "IFD0:XPTitle", "PNG:Title", "XMP-photoshop:Headline", "IPTC:Headline"},
	pipeline.Description: {"XMP-dc:Description", "IFD0:ImageDescription", "IPTC:Caption-Abstract", "PNG:Description", "IFD0:XPComment", "IFD0:XPSubject"},
	pipeline.Keywords:    {"XMP-dc:Subject", "IPTC:Keywords", "IFD0:XPKeywords", "XMP-lr:HierarchicalSubject"},
}

// filled removes the tags that were filled in from those of a written file, and returns their fields. It checks
// that each was stated nowhere before.
func filled(t *testing.T, name string, before, after tags, f File) []any {
	t.Helper()
	var names []any
	want := sample().Texts()
	for _, field := range slices.Sorted(maps.Keys(places)) {
		stated := slices.ContainsFunc(places[field], func(tag string) bool {
			text := strings.TrimSpace(fmt.Sprint(before[tag]))
			return before[tag] != nil && text != "" && (field == pipeline.Keywords || !stocktext.Is(text))
		})
		got := after[places[field][0]]
		if stated || got == nil {
			if !stated && f.XMP != None {
				t.Logf("%s: %s was not filled in", name, field)
			}
			continue // every tag must be unchanged
		}
		names = append(names, field.String())
		for _, tag := range places[field] {
			if v := after[tag]; v != nil && fmt.Sprint(v) != fmt.Sprint(before[tag]) {
				if s := strings.Trim(fmt.Sprint(v), "[]"); s != strings.Join(want[field], " ") {
					t.Errorf("%s: %s is %q", name, tag, s)
				}
				if old := strings.TrimSpace(fmt.Sprint(before[tag])); before[tag] != nil && old != "" && !slices.Contains(f.Replaced, old) {
					t.Errorf("%s: the text %q was replaced, but is not among %q", name, old, f.Replaced)
				}
				delete(before, tag)
				delete(after, tag)
			}
		}
	}
	if f.IPTC == Filled {
		const block, stored = "File:CurrentIPTCDigest", "Photoshop:IPTCDigest"
		inStep := before[stored] == nil || before[stored] == before[block]
		if inStep && after[stored] != after[block] || !inStep && after[stored] != before[stored] {
			t.Errorf("%s: IPTC digest %v, was %v; the block's is %v", name, after[stored], before[stored], after[block])
		}
		for _, ts := range []tags{before, after} {
			delete(ts, block)
			delete(ts, stored)
		}
	}
	return names
}

// writeAndCompare writes the sample into every file and compares the tags before and after: ours must be added, and all
// others, including warnings, must be unchanged.
func writeAndCompare(t *testing.T, files map[string][]byte) map[string]File {
	t.Helper()
	before, after := t.TempDir(), t.TempDir()
	written := map[string]File{}
	for name, data := range files {
		f := write(t, data)
		written[name] = f
		for path, data := range map[string][]byte{filepath.Join(before, name): data, filepath.Join(after, name): f.Data} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tagsBefore, tagsAfter := read(t, before), read(t, after)
	for name, f := range written {
		_, others := tagsBefore[name].split()
		ours, othersAfter := tagsAfter[name].split()
		names := filled(t, name, others, othersAfter, f)
		if diff := difference(others, othersAfter); diff != "" {
			t.Errorf("%s: other tags changed:\n%s", name, diff)
		}
		if f.XMP == None {
			continue
		}
		if composed, _ := ours["Composed"].([]any); ours["Composed"] != nil && !reflect.DeepEqual(composed, names) {
			t.Errorf("%s: composed %v, want %v", name, composed, names)
		}
		delete(ours, "Composed")
		delete(ours, "ComposedDigests")
		want := wantTags()
		if first(f.Warnings) == Reduced {
			maps.DeleteFunc(want, func(k string, _ any) bool {
				return !slices.Contains([]string{"AnalyzerVersion", "Format", "Width", "Height", "OriginalSHA256"}, k)
			})
		}
		if diff := difference(want, ours); diff != "" {
			t.Errorf("%s: our tags:\n%s", name, diff)
		}
	}
	return written
}

func difference(want, got tags) string {
	var b strings.Builder
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !reflect.DeepEqual(want[k], got[k]) {
			fmt.Fprintf(&b, "  %s: got %.120v, want %.120v\n", k, got[k], want[k])
		}
	}
	return b.String()
}

// TestExiftoolReadsBack tests one file of each kind that the documentation mentions.
func TestExiftoolReadsBack(t *testing.T) {
	multi, _ := multiPicture(t, binaryBigEndian, jfif+exif, "")
	progressive := goTestdata(t, "image/testdata/video-001.progressive.jpeg")
	// A motion photo with a gain map, from a camera that also writes IPTC.
	gainMap, _ := multiPicture(t, binaryBigEndian, exifSegment(cameraTIFF(binaryBigEndian))+xmpSegment(foreign(motionPhoto))+iptcSegment(iimVersion), icc)
	mergeable := xmpSegment(foreign(motionPhoto))
	written := writeAndCompare(t, map[string][]byte{
		"plain.jpg":       plainJPEG(t),
		"jfif.jpg":        withSegments(plainJPEG(t), jfif),
		"exif.jpg":        withSegments(plainJPEG(t), exif),
		"both.jpg":        withSegments(plainJPEG(t), jfif, exif),
		"fill.jpg":        withSegments(plainJPEG(t), "\xff\xff"+jfif, "\xff\xff\xff"+exif),
		"progressive.jpg": progressive,
		"merged.jpg":      withSegments(plainJPEG(t), jfif, exif, mergeable),
		"multi.jpg":       multi,
		"gainmap.jpg":     append(gainMap, "\x00\x00\x00\x18ftypmp42 and a video"...),
		"camera.jpg":      withSegments(plainJPEG(t), exifSegment(cameraTIFF(binaryBigEndian)), iptcSegment(iimVersion), icc),
		"trailer.jpg":     append(withSegments(plainJPEG(t), jfif), "a trailer"...),
		"plain.png":       plainPNG(t, testImage()),
		"deep.png":        deepPNG(t),
		"animated.png":    animated(plainPNG(t, testImage())),
		"text.png":        withChunks(plainPNG(t, testImage()), chunk("tEXt", "Software\x00x")+itxt, ""),
		"merged.png":      withChunks(plainPNG(t, testImage()), xmpChunk(foreign(motionPhoto)), ""),
		"compressed.png":  withChunks(plainPNG(t, testImage()), compressedXMPChunk(t, foreign(motionPhoto)), ""),
	})
	for name, f := range written {
		if f.XMP == None {
			t.Errorf("%s: nothing was written: %s", name, f.Warnings)
		}
	}
}

// TestExiftoolReportsNoNewWarnings validates files that had no warnings before.
func TestExiftoolReportsNoNewWarnings(t *testing.T) {
	folder := t.TempDir()
	for name, data := range map[string][]byte{
		"clean.jpg": write(t, withSegments(plainJPEG(t), jfif)).Data,
		"clean.png": write(t, plainPNG(t, testImage())).Data,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, ts := range read(t, folder) {
		if ts["ExifTool:Validate"] != "OK" && fmt.Sprint(ts["ExifTool:Validate"]) != "0 0 0" {
			t.Errorf("%s: %v, %v", name, ts["ExifTool:Validate"], ts["ExifTool:Warning"])
		}
	}
}

// TestExiftoolsOwnFiles merges with packets that exiftool wrote, and replaces ours after exiftool has rewritten
// it in its own form.
func TestExiftoolsOwnFiles(t *testing.T) {
	folder := t.TempDir()
	depth := filepath.Join(folder, "depth.bin")
	if err := os.WriteFile(depth, bytes.Repeat([]byte("depth map "), 12000), 0o600); err != nil {
		t.Fatal(err)
	}
	titled := []string{
		"-XMP-dc:Title=Ein Titel <&>", "-XMP-dc:Subject=a", "-XMP-dc:Subject=b", "-XMP-xmp:Rating=5",
		"-XMP-crs:Exposure2012=+1.5", "-XMP-lr:HierarchicalSubject=x|y", "-EXIF:Artist=Someone", "-XMP-xmpMM:History={Action=saved,Parameters=p}",
	}
	edits := []exiftoolEdit{
		{"titled.jpg", plainJPEG(t), titled},
		{"titled.png", plainPNG(t, testImage()), titled},
		{"compact.jpg", plainJPEG(t), append([]string{"-api", "compact=Shorthand,NoPadding,OneDesc"}, titled...)},
		{"extended.jpg", plainJPEG(t), []string{"-XMP-GDepth:DepthImage<=" + depth, "-XMP-dc:Title=t"}},
	}
	files := map[string][]byte{}
	for i, data := range edited(t, edits...) {
		files[edits[i].name] = data
	}
	written := writeAndCompare(t, files)
	if !bytes.Contains(files["extended.jpg"], []byte("ns.adobe.com/xmp/extension/")) {
		t.Error("exiftool wrote no extended XMP; the test needs it")
	}

	for i, e := range edits {
		f := written[e.name]
		if f.XMP != Merged {
			t.Errorf("%s: %s, %s", e.name, f.XMP, f.Warnings)
		}
		edits[i].data, edits[i].args = f.Data, []string{"-XMP-xmp:Rating=1", "-api", "compact=Shorthand,OneDesc"}
	}
	again := map[string][]byte{}
	for i, data := range edited(t, edits...) {
		again[edits[i].name] = data
	}
	writtenAgain := writeAndCompare(t, again)
	for name, f := range writtenAgain {
		if n := bytes.Count(f.Data, []byte("imagebatch:Width")); n != 1 {
			t.Errorf("%s: the width is in the file %d times", name, n)
		}
	}
}

// TestExiv2ReadsBack reads with the other common library, which is strict where exiftool is lenient: it would
// drop a packet with a duplicate property or with descriptions of two subjects.
func TestExiv2ReadsBack(t *testing.T) {
	exiv2 := tool(t, "exiv2")
	subject := `<rdf:Description rdf:about="uuid:0a1b" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="here"/>`
	for name, data := range map[string][]byte{
		"new.jpg":     withSegments(plainJPEG(t), jfif, exif),
		"merged.jpg":  withSegments(plainJPEG(t), jfif, exif, xmpSegment(foreign(motionPhoto))),
		"subject.jpg": withSegments(plainJPEG(t), xmpSegment(foreign(subject))),
		"camera.jpg":  withSegments(plainJPEG(t), exifSegment(cameraTIFF(binaryBigEndian)), iptcSegment(iimVersion, set(2, 80, "Someone"))),
		"new.png":     plainPNG(t, testImage()),
		"exif.png":    withChunks(plainPNG(t, testImage()), chunk("eXIf", string(cameraTIFF(binaryBigEndian))), ""),
		"merged.png":  withChunks(plainPNG(t, testImage()), compressedXMPChunk(t, foreign(motionPhoto)), ""),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			values := func(data []byte) []string {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				out, err := exec.CommandContext(t.Context(), exiv2, "-PEXIkv", "pr", path).CombinedOutput()
				if err != nil && len(out) > 0 { // without output it only reports that there is no metadata
					t.Fatalf("exiv2: %v\n%s", err, out)
				}
				var lines []string
				for line := range strings.Lines(string(out)) {
					lines = append(lines, strings.Join(strings.Fields(line), " "))
				}
				return lines
			}
			const key = "Xmp.imagebatch."
			f := write(t, data)
			m := sample()
			want := append(values(data), `Xmp.dc.title lang="x-default" `+m.Title, `Xmp.dc.description lang="x-default" `+m.Description,
				"Xmp.dc.subject "+strings.Join(m.Keywords, ", "))
			if f.EXIF == Filled {
				want = append(want, "Exif.Image.ImageDescription "+m.Description)
			}
			if f.IPTC == Filled {
				want = append(want, "Iptc.Application2.ObjectName "+m.Title, "Iptc.Application2.Caption "+m.Description)
				for _, k := range m.Keywords {
					want = append(want, "Iptc.Application2.Keywords "+k)
				}
			}
			for k, v := range wantTags() {
				value := fmt.Sprint(v)
				switch v := v.(type) {
				case bool:
					value = "True"
				case []any:
					parts := make([]string, len(v))
					for i, part := range v {
						parts[i] = fmt.Sprint(part)
					}
					value = strings.Join(parts, ", ")
				}
				want = append(want, key+k+" "+value)
			}
			got := slices.DeleteFunc(values(f.Data), func(line string) bool { return strings.HasPrefix(line, key+"composed") })
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
