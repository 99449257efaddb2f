package caption

import (
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestComposedCaption(t *testing.T) {
	colors := []pipeline.ColorShare{
		{Name: "lightsteelblue", Share: 0.41}, {Name: "darkolivegreen", Share: 0.33}, {Name: "silver", Share: 0.11}, {Name: "tan", Share: 0.1}, {Name: "black", Share: 0.04},
	}
	pixel := &pipeline.Exif{CameraMake: "Google", CameraModel: "Pixel 8", TakenAt: "2025-06-21T19:42:07+02:00"}
	for _, c := range []struct {
		name               string
		m                  pipeline.Metadata
		title, description string
		keywords           []string
	}{
		{
			"photo of a phone",
			pipeline.Metadata{Format: "jpeg", Shape: "portrait", Width: 3024, Height: 4032, Exif: pixel, Colors: colors, Flags: []string{"dark"}},
			"Photo taken 21 June 2025 with Google Pixel 8",
			"Portrait JPEG image, 3024×4032 pixels, taken 21 June 2025 at 19:42 with Google Pixel 8. Mainly light steel blue, dark olive green and silver; dark.",
			[]string{"jpeg", "portrait", "google", "2025", "dark", "light steel blue", "dark olive green", "silver", "tan"},
		},
		{
			"camera without a time",
			pipeline.Metadata{Format: "jpeg", Shape: "landscape", Width: 40, Height: 30, Exif: &pipeline.Exif{CameraMake: "NIKON CORPORATION", CameraModel: "NIKON D5600"}, Colors: colors[:1]},
			"Photo taken with NIKON D5600", "Landscape JPEG image, 40×30 pixels, taken with NIKON D5600. Mainly light steel blue.",
			[]string{"jpeg", "landscape", "nikon", "light steel blue"},
		},
		{
			"time without a camera",
			pipeline.Metadata{Format: "jpeg", Shape: "square", Width: 8, Height: 8, Exif: &pipeline.Exif{TakenAt: "2020-01-02T03:04:05"}},
			"JPEG image, 8×8", "Square JPEG image, 8×8 pixels.",
			[]string{"jpeg", "square"},
		},
		{
			"exposure without a camera name",
			pipeline.Metadata{Format: "jpeg", Shape: "square", Width: 8, Height: 8, Exif: &pipeline.Exif{TakenAt: "2020-01-02T03:04:05", ISO: 100}},
			"Photo taken 2 January 2020", "Square JPEG image, 8×8 pixels, taken 2 January 2020 at 03:04.",
			[]string{"jpeg", "square", "2020"},
		},
		{
			"screenshot",
			pipeline.Metadata{Format: "png", Shape: "portrait", Width: 1170, Height: 2532, Colors: colors[:2], Flags: []string{"screenshot"}},
			"Screenshot, 1170×2532", "Portrait PNG screenshot, 1170×2532 pixels. Mainly light steel blue and dark olive green.",
			[]string{"png", "portrait", "screenshot", "light steel blue", "dark olive green"},
		},
		{
			"gray animation",
			pipeline.Metadata{Format: "png", Shape: "landscape", Width: 20, Height: 10, Animated: true, Colors: []pipeline.ColorShare{{Name: "gray", Share: 1}}, Flags: []string{"greyscale"}},
			"PNG image, 20×10", "Landscape PNG animation, 20×10 pixels. Greyscale.",
			[]string{"png", "landscape", "animated", "greyscale", "gray"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			Compose(&c.m)
			if c.m.Title != c.title || c.m.Description != c.description || !slices.Equal(c.m.Keywords, c.keywords) {
				t.Errorf("got  %q\n     %q\n     %q\nwant %q\n     %q\n     %q", c.m.Title, c.m.Description, c.m.Keywords, c.title, c.description, c.keywords)
			}
			if !slices.Equal(c.m.Composed, []string{"title", "description", "keywords"}) {
				t.Errorf("composed %q", c.m.Composed)
			}
		})
	}
}

func TestComposedCaptionIsBounded(t *testing.T) {
	long := strings.Repeat("Ω", record.MaxText/2)
	m := pipeline.Metadata{Format: "jpeg", Shape: "portrait", Width: 1, Height: 2, Exif: &pipeline.Exif{CameraMake: long, CameraModel: "x" + long[2:]}}
	Compose(&m)
	if len(m.Title) > record.MaxText || len(m.Description) > record.MaxDescription || strings.ContainsRune(m.Title, '\ufffd') {
		t.Errorf("%d bytes of title, %d of description", len(m.Title), len(m.Description))
	}
}

func TestCameraNames(t *testing.T) {
	for _, c := range [][3]string{
		{"Canon", "Canon EOS R5", "Canon EOS R5"},
		{"NIKON CORPORATION", "NIKON Z 8", "NIKON Z 8"},
		{"RICOH IMAGING COMPANY, LTD.", "PENTAX K-3 II", "RICOH PENTAX K-3 II"},
		{"EASTMAN KODAK COMPANY", "KODAK DX4530", "KODAK DX4530"},
		{"OLYMPUS IMAGING CORP.", "E-M1", "OLYMPUS E-M1"},
		{"LEICA CAMERA AG", "LEICA Q2", "LEICA Q2"},
		{"Apple", "iPhone 15", "Apple iPhone 15"},
		{"", "DC-1", "DC-1"},
		{"Sony", "", "Sony"},
		{"", "", ""},
		{"Digital", "X1", "Digital X1"},
	} {
		m := pipeline.Metadata{Exif: &pipeline.Exif{CameraMake: c[0], CameraModel: c[1]}}
		if got := camera(&m); got != c[2] {
			t.Errorf("%q and %q are %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
