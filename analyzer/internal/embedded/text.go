package embedded

import (
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// fromTexts interprets the text chunks of a PNG (third edition, 11.3.3.2).
func fromTexts(texts []imagefile.Text) (b block) {
	for _, t := range texts {
		switch t.Keyword {
		case "Title":
			b.title = t.String()
		case "Description":
			b.description = t.String()
		case "Copyright":
			b.copyright = t.String()
		case "Software":
			b.exif.Software = record.Clean(t.String(), record.MaxText)
		case "Author":
			b.creators = []string{t.String()}
		}
	}
	return b
}
