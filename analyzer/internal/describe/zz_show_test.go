package describe

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestZZShow(t *testing.T) {
	root := os.Getenv("SHOW")
	if root == "" {
		t.Skip()
	}
	filepath.Walk(root, func(p string, i os.FileInfo, err error) error {
		if err != nil || i.IsDir() {
			return nil
		}
		switch filepath.Ext(p) {
		case ".jpg", ".jpeg", ".png":
		default:
			return nil
		}
		data, _ := os.ReadFile(p)
		m, _, err := New(Config{}).Describe(t.Context(), data)
		if err != nil {
			fmt.Println(filepath.Base(p), "ERR", err)
			return nil
		}
		e := m.Exif
		c := ""
		if len(m.Colors) > 0 {
			for _, x := range m.Colors {
				c += fmt.Sprintf(" %s %.2f", x.Name, x.Share)
			}
		}
		_ = e
		var steep int
		fmt.Printf("%s\n  %v q%d icc=%q br %.3f co %.3f sh %.1f sat %.2f cf %.1f w %.2f ent %.2f clip %.3f %.3f steep %d\n  T %q %v\n  D %q\n  K %q\n  own: r%d c=%q by=%q\n  warn %q\n", filepath.Base(p), m.Flags, m.JPEGQuality, m.ICCProfile, m.Brightness, m.Contrast, m.Sharpness, m.Saturation, m.Colorfulness, m.Warmth, m.Entropy, m.ShadowsClipped, m.HighlightsClipped, steep, m.Title, m.Composed, m.Description, m.Keywords, m.Rating, m.Copyright, m.Creators, m.Warnings)
		return nil
	})
}
