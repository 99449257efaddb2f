package outputs

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/embed"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func encoded(t *testing.T, encode func(*bytes.Buffer, image.Image) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b, image.NewGray(image.Rect(0, 0, 5, 4))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegFile(t *testing.T) []byte {
	return encoded(t, func(b *bytes.Buffer, m image.Image) error { return jpeg.Encode(b, m, nil) })
}

func pngFile(t *testing.T) []byte {
	return encoded(t, func(b *bytes.Buffer, m image.Image) error { return png.Encode(b, m) })
}

func analysis(original []byte) pipeline.Analysis {
	return pipeline.Analysis{
		Upload: pipeline.Upload{
			Envelope:         pipeline.NewEnvelope("a-job", 3, time.Unix(1700000000, 0)),
			OriginalFilename: "Tom & Jerry <1>.jpg", SHA256: hexSHA256(original), Size: int64(len(original)),
		},
		Metadata: pipeline.Metadata{
			AnalyzerVersion: "1.0.0", Format: "jpeg", Width: 5, Height: 4,
			Colors: []pipeline.ColorShare{{Hex: "#000000", Share: 1}}, SHA256: hexSHA256(original),
		},
		Thumbnail: []byte("\xff\xd8thumbnail"),
	}
}

func record(t *testing.T, p Files) Record {
	t.Helper()
	var r Record
	d := json.NewDecoder(bytes.NewReader(p.Record))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("read record: %v\n%s", err, p.Record)
	}
	return r
}

func TestMake(t *testing.T) {
	for contentType, original := range map[string][]byte{"image/jpeg": jpegFile(t), "image/png": pngFile(t)} {
		t.Run(contentType, func(t *testing.T) {
			a := analysis(original)
			p, err := Make(original, a, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if p.ImageType != contentType || !bytes.Contains(p.Image, []byte(`imagebatch:OriginalSHA256="`+a.SHA256)) {
				t.Errorf("the image is %s, or contains no metadata", p.ImageType)
			}
			if !bytes.Equal(p.Thumbnail, a.Thumbnail) {
				t.Error("the thumbnail changed")
			}
			r := record(t, p)
			if r.OriginalFilename != a.OriginalFilename || r.SHA256 != a.SHA256 || r.Width != 5 {
				t.Errorf("record %+v", r)
			}
			want := Processed{
				ContentType: contentType, FileSize: int64(len(p.Image)), SHA256: hexSHA256(p.Image),
				XMP: embed.Added, EXIF: embed.None, IPTC: embed.None,
			}
			if !reflect.DeepEqual(r.Processed, want) {
				t.Errorf("processed %+v, want %+v", r.Processed, want)
			}
			if p.Sidecar != nil {
				t.Error("unexpected sidecar")
			}
			if r.Thumbnail == nil || *r.Thumbnail != (Thumbnail{"image/jpeg", int64(len(a.Thumbnail))}) {
				t.Errorf("thumbnail %+v", r.Thumbnail)
			}
			if !bytes.Contains(p.Record, []byte(`"Tom & Jerry <1>.jpg"`)) || !bytes.HasSuffix(p.Record, []byte("}\n")) {
				t.Errorf("record\n%s", p.Record)
			}
		})
	}
}

// TestMakeTwice simulates a redelivery: another attempt at another time, even in another job, gives the same
// bytes.
func TestMakeTwice(t *testing.T) {
	original := jpegFile(t)
	first, err := Make(original, analysis(original), Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := analysis(original)
	a.Envelope = pipeline.NewEnvelope("another-job", 7, time.Unix(1800000000, 0))
	a.Attempt = 4
	second, err := Make(original, a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Image, second.Image) || !bytes.Equal(first.Record, second.Record) {
		t.Error("two runs differ")
	}
}

func TestMakeReportsUnchangedFiles(t *testing.T) {
	const afterIHDR = 8 + 25
	file := pngFile(t)
	credentials := binary.BigEndian.AppendUint32([]byte("\x00\x00\x00\x00caBX"), crc32.ChecksumIEEE([]byte("caBX")))
	original := append(append(bytes.Clone(file[:afterIHDR]), credentials...), file[afterIHDR:]...)
	a := analysis(original)
	a.Thumbnail, a.Metadata.Colors = nil, nil
	p, err := Make(original, a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.Image, original) {
		t.Error("the file was changed")
	}
	r := record(t, p)
	if r.Processed.XMP != embed.None || len(r.Processed.Warnings) != 1 || r.Processed.Warnings[0] != embed.Credentials {
		t.Errorf("processed %+v", r.Processed)
	}
	if r.Thumbnail != nil || bytes.Contains(p.Record, []byte("null")) {
		t.Errorf("record\n%s", p.Record)
	}
}

// TestMakeSidecar verifies that a sidecar is created if one is requested, or if the file is signed and stays
// unchanged.
func TestMakeSidecar(t *testing.T) {
	const afterIHDR = 8 + 25
	file := pngFile(t)
	credentials := binary.BigEndian.AppendUint32([]byte("\x00\x00\x00\x00caBX"), crc32.ChecksumIEEE([]byte("caBX")))
	signed := slices.Concat(file[:afterIHDR], credentials, file[afterIHDR:])
	for _, c := range []struct {
		name     string
		original []byte
		o        Options
		sidecar  bool
		embedded bool
	}{
		{"by default", file, Options{}, false, true},
		{"requested", file, Options{Sidecar: true}, true, true},
		{"signed", signed, Options{}, true, false},
		{"signed, embedded", signed, Options{Options: embed.Options{EmbedSigned: true}}, false, true},
		{"signed, embedded, requested", signed, Options{Options: embed.Options{EmbedSigned: true}, Sidecar: true}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Make(c.original, analysis(c.original), c.o)
			if err != nil {
				t.Fatal(err)
			}
			const ours = "imagebatch:OriginalSHA256="
			if (len(p.Sidecar) > 0) != c.sidecar || bytes.Contains(p.Sidecar, []byte(ours)) != c.sidecar {
				t.Errorf("sidecar\n%s", p.Sidecar)
			}
			if bytes.Contains(p.Image, []byte(ours)) != c.embedded || !c.embedded && !bytes.Equal(p.Image, c.original) {
				t.Error("got another file than expected")
			}
			want := embed.Outcome("")
			if c.sidecar {
				want = embed.Added
			}
			if got := record(t, p).Processed.Sidecar; got != want {
				t.Errorf("the record's sidecar outcome is %q, want %q", got, want)
			}
		})
	}
}

// TestMakeWithoutPlace verifies that neither record nor file contains the place if places are stripped, and
// that the analysis, which is not ours, is not changed.
func TestMakeWithoutPlace(t *testing.T) {
	original := jpegFile(t)
	a := analysis(original)
	a.Metadata.Exif = &pipeline.Exif{CameraModel: "Box 1", GPS: &pipeline.GPS{Latitude: 51.008611, Longitude: 13.871389}}
	p, err := Make(original, a, Options{Options: embed.Options{StripPlace: true}, Sidecar: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{p.Record, p.Image, p.Sidecar} {
		if bytes.Contains(data, []byte("51.008611")) {
			t.Errorf("the output contains a place:\n%s", data)
		}
	}
	r := record(t, p)
	if r.Exif == nil || r.Exif.CameraModel != "Box 1" || r.Processed.GPS != embed.None {
		t.Errorf("record\n%s", p.Record)
	}
	if a.Metadata.Exif.GPS == nil {
		t.Error("the analysis changed")
	}
	kept, err := Make(original, a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r := record(t, kept); r.Exif.GPS == nil || r.Processed.GPS != "" {
		t.Errorf("record\n%s", kept.Record)
	}
}

func TestMakeRefuses(t *testing.T) {
	var failure *pipeline.Failure
	a := analysis(jpegFile(t))
	if _, err := Make(pngFile(t), a, Options{}); !errors.Is(err, ErrOtherBytes) || errors.As(err, &failure) {
		t.Errorf("other bytes: %v, want ErrOtherBytes, which is retried", err)
	}
	text := []byte("neither")
	if _, err := Make(text, analysis(text), Options{}); !errors.As(err, &failure) || !errors.Is(err, imagefile.ErrFormat) {
		t.Errorf("text: %v, want a failure", err)
	}
	a.Metadata.Brightness = math.NaN()
	if _, err := Make(jpegFile(t), a, Options{}); !errors.As(err, &failure) {
		t.Errorf("a number that JSON cannot represent: %v, want a failure", err)
	}
}
