package pipeline_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

var update = flag.Bool("update", false, "write the golden messages of this version")

// TestGoldenMessages compares messages with those of every release: a consumer that
// cannot read a message of the previous version would lose images in an upgrade.
func TestGoldenMessages(t *testing.T) {
	now := time.Date(2026, 11, 23, 18, 0, 0, 123_000_000, time.UTC)
	e := pipeline.NewEnvelope("550e8400-e29b-41d4-a716-446655440000", 7, now)
	altitude := 408.5
	upload := pipeline.Upload{
		Envelope: e, OriginalFilename: "Zürich \"ä\" 写真.jpg", OriginalPath: pipeline.OriginalKey(e.TraceID, "Zürich _ä_ 写真.jpg"),
		Size: 281_000, ContentType: "image/jpeg", SHA256: strings.Repeat("0f", 32),
	}
	bias, fired := -0.33, false
	found := pipeline.Metadata{
		AnalyzerVersion: "2.0.0",
		Title:           "Zürichsee", Description: "Portrait JPEG image of 1200×1600 pixels.", Keywords: []string{"lake", "写真"},
		Composed: []string{pipeline.Description.String()},
		Rating:   -1, Copyright: "© 2025 A. Muster", Creators: []string{"A. Muster", "B. Beispiel"},
		Format: "jpeg", Width: 1200, Height: 1600, Shape: "portrait", Orientation: 6, BitDepth: 8,
		ColorModel: "ycbcr", ICCProfile: "Display P3", Progressive: true, JPEGQuality: 92, EntropyChecked: "full",
		FileSize: 281_000, SHA256: upload.SHA256,
		Exif: &pipeline.Exif{
			CameraMake: "Apple", CameraModel: "iPhone 15", LensModel: "back camera", Software: "17.5",
			TakenAt: "2025-06-01T12:00:00+02:00", ExposureTime: "1/250", FNumber: 1.78, ISO: 64,
			ExposureBias: &bias, FocalLength: 6.86, FocalLength35: 26, FlashFired: &fired,
			GPS: &pipeline.GPS{Latitude: 47.376887, Longitude: 8.541694, Altitude: &altitude},
		},
		MeanColor: "#7a8b9c", Colors: []pipeline.ColorShare{
			{Hex: "#102030", Share: .5, Name: "black", Lab: [3]float64{11.66, -0.8, -12.65}},
			{Hex: "#f0f0f0", Share: .25, Name: "whitesmoke", Lab: [3]float64{94.8, 0, 0}},
		},
		Saturation: .2179, Colorfulness: 31.2, Warmth: -.1333,
		Brightness: .4321, Contrast: .2, Entropy: 7.125, ShadowsClipped: .0125, HighlightsClipped: .5, Sharpness: 123.45,
		Flags:    []string{"overexposed"},
		BlurHash: "LEHV6nWB2yk8pyo0adR*.7kCMdnj", ThumbHash: "3OcRJYB4d3h/iIeHeEh3eIhw+j3A",
		DHash: "3c3e1e1c9c9e8f07", PHash: "d1c4f0e0a1b2c3d4",
		Warnings: []string{"EXIF tag Foo could not be read"},
	}
	compared := pipeline.Ended(e, pipeline.ProcessedKey(e.TraceID, upload.OriginalPath), now)
	compared.Appearance = pipeline.AppearanceOf(found)
	captioned := found // with every member about captions
	captioned.Description, captioned.AltText = "A lake between mountains.", "A lake. 写真"
	captioned.Composed, captioned.Captioned = nil, []string{pipeline.Description.String(), pipeline.AltText.String()}
	captioned.Caption = &pipeline.Caption{
		Model: "qwen3-vl:8b", Language: "en", Title: "A lake", Description: captioned.Description, Keywords: []string{"lake", "写真"}, AltText: captioned.AltText,
		DurationMS: 2310, PromptTokens: 922, CompletionTokens: 150,
	}
	uncaptioned := pipeline.Ended(e, pipeline.ProcessedKey(e.TraceID, upload.OriginalPath), now)
	uncaptioned.Uncaptioned = true
	removed := upload // a model's words in the original are removed
	removed.Captions, removed.RemoveCaptions = new(bool), true
	messages := map[string]any{
		"upload.json":         upload,
		"removed_upload.json": removed,
		"analysis.json":       pipeline.Analysis{Upload: upload, Metadata: found, Thumbnail: []byte{0xff, 0xd8, 0xff, 0xd9}},
		"captioned_analysis.json": pipeline.Analysis{
			Upload: upload, Metadata: captioned, Thumbnail: []byte{0xff, 0xd8, 0xff, 0xd9},
			Wait: pipeline.CaptionWait{Counted: 61_500, Since: now, Tried: pipeline.CaptionTried{Model: "qwen3-vl:8b", Unusable: true}}, Uncaptioned: true,
		},
		"uncaptioned.json": uncaptioned,
		"completed.json":   pipeline.Ended(e, pipeline.ProcessedKey(e.TraceID, upload.OriginalPath), now),
		"appearance.json":  compared,
		"failed.json":      (&pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged JPEG", Err: errors.New("secret")}).Result(e, now),
	}
	for name, m := range messages {
		text, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
		golden := filepath.Join("testdata", "v1", name)
		if *update {
			if err := os.WriteFile(golden, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, want) {
			t.Errorf("%s differs from version 1 (raise Version if this breaks consumers, otherwise run with -update):\n%s", name, cmp.Diff(string(want), string(text)))
		}
	}
}

// TestGoldensAreRead decodes the golden messages of all versions into the current types
// and verifies that no member is lost.
func TestGoldensAreRead(t *testing.T) {
	files, err := fs.Glob(os.DirFS("testdata"), "v*/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("golden messages: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		var m pipeline.Message
		switch {
		case strings.HasSuffix(file, "upload.json"):
			m = reread[pipeline.Upload](t, text)
		case strings.HasSuffix(file, "analysis.json"):
			m = reread[pipeline.Analysis](t, text)
		default:
			m = reread[pipeline.Result](t, text)
		}
		if h := m.Header(); !h.Valid() || h.Index != 7 || h.TraceID != pipeline.NewTraceID(h.JobID, h.Index) {
			t.Errorf("%s: envelope %+v", file, h)
		}
	}
}

func reread[M pipeline.Message](t *testing.T, text []byte) M {
	t.Helper()
	var m M
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return m
}

// TestAppearance verifies which images can be compared.
func TestAppearance(t *testing.T) {
	m := pipeline.Metadata{PHash: "fedcba9876543210", Width: 2, Height: 1, Flags: []string{"dark"}}
	if hash, ok := pipeline.AppearanceOf(m).Hash(); !ok || hash != 0xfedcba9876543210 {
		t.Errorf("got %x, %t", hash, ok)
	}
	m.Flags = []string{"screenshot", "blank"}
	for _, a := range []pipeline.Appearance{
		pipeline.AppearanceOf(m),
		{},
		{"fedcba987654321", 2, 1},
		{"fedcba98765432100", 2, 1},
		{"+edcba9876543210", 2, 1},
		{"0x00000000000000", 2, 1},
		{"fedcba9876543210", 0, 1},
		{"fedcba9876543210", 2, -1},
	} {
		if hash, ok := a.Hash(); ok {
			t.Errorf("%+v has the hash %x", a, hash)
		}
	}
}

func TestTraceID(t *testing.T) {
	const jobID = "550e8400-e29b-41d4-a716-446655440000"
	seen := map[pipeline.TraceID]int{}
	for i := range 100 {
		id := pipeline.NewTraceID(jobID, i)
		if !id.Valid() {
			t.Errorf("%q is not a valid trace ID", id)
		}
		if j, ok := seen[id]; ok {
			t.Errorf("images %d and %d have the same trace ID", i, j)
		}
		seen[id] = i
	}
	for _, bad := range []pipeline.TraceID{"", "xyz", "0123456789ABCDEF0123456789ABCDEF", "../../../../../../../../etc/pass"} {
		if bad.Valid() {
			t.Errorf("%q is a valid trace ID", bad)
		}
	}
}

// TestFailureHidesCause verifies that clients do not see the cause of a failure.
func TestFailureHidesCause(t *testing.T) {
	cause := errors.New("dial 10.0.0.7:5432")
	f := &pipeline.Failure{Code: pipeline.CodeDownloadFailed, Text: "Failed to download image: connection failed", Err: cause}
	text, err := json.Marshal(f.Result(pipeline.NewEnvelope("j", 0, time.Now()), time.Now()))
	if err != nil || strings.Contains(string(text), "10.0.0.7") {
		t.Errorf("result %s, %v, want it without the cause", text, err)
	}
	if !errors.Is(f, cause) || !strings.Contains(f.Error(), "10.0.0.7") {
		t.Error("the error does not contain the cause")
	}
}

// TestVersionsArePreserved verifies that the sender of a message can read the messages
// that it causes, also while services of two releases run.
func TestVersionsArePreserved(t *testing.T) {
	e := pipeline.NewEnvelope("j", 0, time.Now())
	for version := range 3 {
		e.Version = version
		if next := e.Next(time.Now()); next.Version != version {
			t.Errorf("Next of version %d has version %d", version, next.Version)
		}
		if end := pipeline.Ended(e, "path", time.Now()); end.Version != version {
			t.Errorf("Ended of version %d has version %d", version, end.Version)
		}
	}
	for body, want := range map[string]int{`{"version":3,"index":"x"}`: 3, `{"index":0}`: 0, `[]`: 0, ``: 0, `{"version":"3"}`: 0} {
		if got := pipeline.VersionOf([]byte(body)); got != want {
			t.Errorf("version of %s is %d, want %d", body, got, want)
		}
	}
}

// TestCaptionWait verifies that a pause counts once, also if the image is tried again earlier or much later.
func TestCaptionWait(t *testing.T) {
	start := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	w := pipeline.CaptionWait{}.Start(start).Pause(start.Add(10*time.Second), time.Minute)
	for after, want := range map[time.Duration]time.Duration{25 * time.Second: 25 * time.Second, 70 * time.Second: 70 * time.Second, time.Hour: time.Hour} {
		if got := w.Elapsed(start.Add(after)); got != want {
			t.Errorf("%s have counted after %s, want %s", got, after, want)
		}
	}
	if stopped := w.Stop(start.Add(25 * time.Second)); stopped.Elapsed(start.Add(time.Hour)) != 25*time.Second {
		t.Errorf("%+v, want the clock to stand after 25 s", stopped)
	}
	if w.Since != start.Add(70*time.Second) {
		t.Errorf("%+v, want the time in the queue to start at the end of the pause", w)
	}
}
