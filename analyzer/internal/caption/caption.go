// Package caption composes the title, description and keywords of a record that the file lacks.
//
// A composed text is in English, states only what was measured or written by the camera, names no place, and
// does not depend on the file name: equal originals get equal captions.
package caption

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/analyzer/internal/visual"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The fractions of an image that a color must cover to appear in the description and in the keywords.
const (
	describedShare = 0.1
	keywordShare   = 0.05
)

// Compose sets the missing texts of the record, from the rest of the record, and lists them.
func Compose(m *pipeline.Metadata) {
	compose := func(f pipeline.CaptionField) { m.Composed = append(m.Composed, f.String()) }
	if m.Title == "" {
		m.Title = record.Clean(composedTitle(m), record.MaxText)
		compose(pipeline.Title)
	}
	if m.Description == "" {
		m.Description = record.Clean(composedDescription(m), record.MaxDescription)
		compose(pipeline.Description)
	}
	if len(m.Keywords) == 0 {
		m.Keywords = record.Keywords(composedKeywords(m))
		compose(pipeline.Keywords)
	}
}

// composedTitle returns "Photo taken 21 June 2025 with Google Pixel 8", or the known part of it, or "JPEG
// image, 4032×3024".
func composedTitle(m *pipeline.Metadata) string {
	camera, taken := camera(m), takenOn(m)
	switch {
	case flagged(m, visual.Screenshot):
		return fmt.Sprintf("Screenshot, %d×%d", m.Width, m.Height)
	case camera != "" && taken != "":
		return fmt.Sprintf("Photo taken %s with %s", taken, camera)
	case camera != "":
		return "Photo taken with " + camera
	case taken != "" && visual.IsPhoto(m):
		return "Photo taken " + taken
	default:
		return fmt.Sprintf("%s image, %d×%d", strings.ToUpper(m.Format), m.Width, m.Height)
	}
}

// composedDescription returns one sentence about the file and the camera, and one about the visible content, such as
// "Portrait JPEG image, 3024×4032 pixels, taken 21 June 2025 at 19:42 with Google Pixel 8. Mainly light steel
// blue and dark olive green; dark.".
func composedDescription(m *pipeline.Metadata) string {
	var b strings.Builder
	kind := "image"
	if flagged(m, visual.Screenshot) {
		kind = "screenshot"
	}
	if m.Animated {
		kind = "animation"
	}
	fmt.Fprintf(&b, "%s %s %s, %d×%d pixels", capital(m.Shape), strings.ToUpper(m.Format), kind, m.Width, m.Height)
	camera, taken := camera(m), takenOn(m)
	if camera != "" || taken != "" && visual.IsPhoto(m) {
		b.WriteString(", taken")
		if taken != "" {
			fmt.Fprintf(&b, " %s at %s", taken, m.Exif.TakenAt[len("2006-01-02T"):len("2006-01-02T15:04")])
		}
		if camera != "" {
			b.WriteString(" with " + camera)
		}
	}
	b.WriteString(".")

	if seen := appearance(m); seen != "" {
		b.WriteString(" " + capital(seen) + ".")
	}
	return b.String()
}

// appearance returns the second sentence of the description: the main colors and the flags.
func appearance(m *pipeline.Metadata) string {
	var parts []string
	if colors := colorWords(m, describedShare); len(colors) > 0 && !flagged(m, visual.Greyscale) {
		parts = append(parts, "mainly "+enumerated(colors[:min(len(colors), 3)]))
	}
	for _, flag := range m.Flags {
		if flag != visual.Screenshot {
			parts = append(parts, flag)
		}
	}
	return strings.Join(parts, "; ")
}

// composedKeywords returns the format, the shape, the camera, the year, the flags and the colors, in lower
// case.
func composedKeywords(m *pipeline.Metadata) []string {
	keywords := []string{m.Format, m.Shape}
	if m.Animated {
		keywords = append(keywords, "animated")
	}
	if e := m.Exif; e != nil {
		keywords = append(keywords, strings.ToLower(brandOf(e.CameraMake)))
		if takenOn(m) != "" && (camera(m) != "" || visual.IsPhoto(m)) {
			keywords = append(keywords, e.TakenAt[:len("2006")])
		}
	}
	keywords = append(keywords, m.Flags...)
	return append(keywords, colorWords(m, keywordShare)...)
}

// colorWords returns the names of the colors that cover at least a share of the image, each once.
func colorWords(m *pipeline.Metadata, share float64) []string {
	var names []string
	for _, c := range m.Colors {
		if c.Share >= share {
			names = append(names, visual.InWords(c.Name))
		}
	}
	return record.CleanList(names, len(names), record.MaxText, record.MaxText)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// enumerated returns "a, b and c".
func enumerated(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// camera returns the common name of the camera. Most models already start with a word of the make.
func camera(m *pipeline.Metadata) string {
	if m.Exif == nil {
		return ""
	}
	brand, model := brandOf(m.Exif.CameraMake), m.Exif.CameraModel
	first, _, _ := strings.Cut(strings.ToLower(model), " ")
	if model == "" || brand == "" || slices.Contains(strings.Fields(strings.ToLower(brand)), first) {
		return cmp.Or(model, brand)
	}
	return brand + " " + model
}

// brandOf returns the make without words such as "Corporation".
func brandOf(maker string) string {
	words := strings.Fields(strings.ReplaceAll(maker, ",", " "))
	for i, word := range words {
		switch strings.ToLower(strings.TrimSuffix(word, ".")) {
		case "corporation", "corp", "company", "co", "ltd", "limited", "inc", "gmbh", "ag",
			"imaging", "optical", "electric", "electronics", "technologies", "camera", "digital":
			if i > 0 {
				return strings.Join(words[:i], " ")
			}
		}
	}
	return strings.Join(words, " ")
}

// takenOn returns the day on which the image was taken, as "21 June 2025".
func takenOn(m *pipeline.Metadata) string {
	if m.Exif == nil || len(m.Exif.TakenAt) < len("2006-01-02") {
		return ""
	}
	day, err := time.Parse(time.DateOnly, m.Exif.TakenAt[:len(time.DateOnly)])
	if err != nil {
		return ""
	}
	return strconv.Itoa(day.Day()) + " " + day.Month().String() + " " + strconv.Itoa(day.Year())
}

func flagged(m *pipeline.Metadata, flag string) bool { return slices.Contains(m.Flags, flag) }
