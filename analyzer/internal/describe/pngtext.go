package describe

import (
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// Limits for reading a text of a PNG, deflated or not, in bytes.
const (
	maxPNGText  = 16 << 10
	maxXMPBytes = 1 << 20
)

// readTexts reads the caption from a PNG's own text chunks (third edition, 11.3.3.2), the first of each
// keyword, and finds a deflated XMP packet among them.
func readTexts(texts []imagefile.Text) (b embedded, packet []byte) {
	set := func(to *string, t imagefile.Text) {
		if *to == "" {
			*to = textOf(t)
		}
	}
	for _, t := range texts {
		switch t.Keyword {
		case "Title":
			set(&b.title, t)
		case "Description":
			set(&b.description, t)
		case "Copyright":
			set(&b.copyright, t)
		case "Software":
			set(&b.exif.Software, t)
			b.exif.Software = clean(b.exif.Software, maxTextBytes)
		case "Author":
			if b.creators == nil {
				b.creators = []string{textOf(t)}
			}
		case "XML:com.adobe.xmp":
			if packet == nil && t.Deflated {
				packet = inflate(t.Value, maxXMPBytes+1)
			}
		}
	}
	return b, packet
}

func textOf(t imagefile.Text) string {
	value := t.Value
	if t.Deflated {
		value = inflate(value, maxPNGText)
	}
	if len(value) >= maxPNGText {
		value = wholeRunes(value[:maxPNGText])
	}
	// Some programs write UTF-8 into the chunks of Latin-1.
	return eitherText(value)
}
