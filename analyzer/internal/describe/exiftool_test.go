package describe

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestCamerasMatchExiftool compares the records of some sixty files, of as many cameras and programs, with
// exiftool: every value in the record must match.
func TestCamerasMatchExiftool(t *testing.T) {
	judged := cameraTags(t)
	compared := map[string]int{}
	for name, m := range cameraRecords(t) {
		truth := judged[name]
		// text compares a text with the first of the tags that the file has.
		text := func(got string, tags ...string) {
			// IPTC that was edited later than XMP comes first.
			if digest, ok := truth["Photoshop:IPTCDigest"]; ok && digest != truth["File:CurrentIPTCDigest"] && len(tags) > 1 && strings.HasPrefix(tags[1], "IPTC:") {
				tags[0], tags[1] = tags[1], tags[0]
			}
			for _, tag := range tags {
				want, ok := truth[tag]
				if !ok || strings.TrimSpace(asText(want)) == "" {
					continue
				}
				if !same(got, asText(want)) {
					t.Errorf("%s: %q, exiftool has %s %q", name, got, tag, want)
				}
				compared[tag]++
				return
			}
		}
		number := func(got float64, tag string, tolerance float64) {
			want, ok := truth[tag].(float64)
			if ok && got != 0 && math.Abs(got-want) > tolerance {
				t.Errorf("%s: %v, exiftool has %s %v", name, got, tag, want)
			}
			if ok && got != 0 {
				compared[tag]++
			}
		}
		own := func(field string) bool { return !slices.Contains(m.Composed, field) }
		if own("title") {
			text(m.Title, "XMP-dc:Title", "IPTC:ObjectName")
		}
		if own("description") {
			text(m.Description, "XMP-dc:Description", "IPTC:Caption-Abstract", "IFD0:ImageDescription")
		}
		if own("keywords") {
			for _, tag := range []string{"XMP-dc:Subject", "IPTC:Keywords"} {
				if want, ok := truth[tag]; ok {
					list, several := want.([]any)
					if !several {
						list = []any{want}
					}
					var words []string
					for _, v := range list {
						words = append(words, asText(v))
					}
					if words = record.Keywords(words); !slices.Equal(words, m.Keywords) {
						t.Errorf("%s: %q, exiftool has %s %q", name, m.Keywords, tag, words)
					}
					compared[tag]++
					break
				}
			}
		}
		text(m.Copyright, "XMP-dc:Rights", "IPTC:CopyrightNotice", "IFD0:Copyright")
		text(m.ICCProfile, "ICC_Profile:ProfileDescription")
		e := m.Exif
		if e == nil {
			continue
		}
		text(e.CameraMake, "IFD0:Make", "XMP-tiff:Make")
		text(e.CameraModel, "IFD0:Model", "XMP-tiff:Model")
		text(e.LensModel, "ExifIFD:LensModel", "XMP-exifEX:LensModel", "XMP-aux:Lens")
		number(e.FNumber, "ExifIFD:FNumber", 0.0051)
		number(float64(e.ISO), "ExifIFD:ISO", 0)
		number(e.FocalLength, "ExifIFD:FocalLength", 0.0051)
		number(float64(e.FocalLength35), "ExifIFD:FocalLengthIn35mmFormat", 0)
		if e.ExposureBias != nil {
			number(*e.ExposureBias, "ExifIFD:ExposureCompensation", 0.0051)
		}
		if flash, ok := truth["ExifIFD:Flash"].(float64); ok && e.FlashFired != nil && *e.FlashFired != (int(flash)&1 == 1) {
			t.Errorf("%s: flash %v, exiftool has %v", name, *e.FlashFired, flash)
		}
		if e.GPS != nil {
			number(e.GPS.Latitude, "Composite:GPSLatitude", 0.000001)
			number(e.GPS.Longitude, "Composite:GPSLongitude", 0.000001)
		}
		if taken, ok := truth["ExifIFD:DateTimeOriginal"].(string); ok && e.TakenAt != "" {
			digits := strings.NewReplacer(":", "", "-", "", " ", "", "T", "")
			if !strings.HasPrefix(digits.Replace(e.TakenAt), digits.Replace(taken)[:14]) {
				t.Errorf("%s: taken at %s, exiftool has %s", name, e.TakenAt, taken)
			}
			compared["ExifIFD:DateTimeOriginal"]++
		}
	}
	for tag, least := range map[string]int{
		"XMP-dc:Title": 3, "IPTC:ObjectName": 3, "XMP-dc:Subject": 4, "IFD0:Make": 30, "ExifIFD:FNumber": 20,
		"ExifIFD:DateTimeOriginal": 30, "Composite:GPSLatitude": 4, "ICC_Profile:ProfileDescription": 15, "ExifIFD:ExposureCompensation": 5,
	} {
		if compared[tag] < least {
			t.Errorf("only %d values of %s were compared", compared[tag], tag)
		}
	}
	t.Logf("compared %v", compared)
}

// asText returns a value as it is in the file: exiftool writes digits as numbers.
func asText(v any) string {
	if n, ok := v.(float64); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// same compares texts except for white space and truncation.
func same(got, want string) bool {
	got, want = strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(want), " ")
	return got == want || len(want) > record.MaxText && len(got) > record.MaxText/2 && strings.HasPrefix(want, got)
}

// cameraRecords returns the records of those of the files that can be described.
func cameraRecords(t testing.TB) map[string]pipeline.Metadata {
	t.Helper()
	if describedCameraFiles == nil {
		describedCameraFiles = map[string]pipeline.Metadata{}
		for name, data := range fixture.CameraFiles(t) {
			if m, _, err := New(Config{}).Describe(t.Context(), data); err == nil {
				describedCameraFiles[name] = m
			}
		}
	}
	return describedCameraFiles
}

var describedCameraFiles map[string]pipeline.Metadata

// cameraTags returns the tags of the files that tests compare with, as exiftool reads them.
func cameraTags(t testing.TB) map[string]map[string]any {
	t.Helper()
	if judgedCameraFiles == nil {
		judgedCameraFiles = fixture.Judge(t, fixture.CameraFiles(t), "-G1", "-charset", "iptc=Latin", "-IFD0:all", "-ExifIFD:all", "-IPTC:all", "-XMP-dc:all",
			"-XMP-xmp:Rating", "-ICC_Profile:ProfileDescription", "-Composite:GPSLatitude", "-Composite:GPSLongitude", "-XMP-tiff:all",
			"-XMP-aux:Lens", "-XMP-exifEX:LensModel", "-JPEGQualityEstimate",
			"-Photoshop:IPTCDigest", "-File:CurrentIPTCDigest")
	}
	return judgedCameraFiles
}

var judgedCameraFiles map[string]map[string]any
