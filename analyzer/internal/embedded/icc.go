package embedded

import (
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/icc"
)

// profileName returns the name of the file's color profile, or "": its description, or else its name in the PNG.
func profileName(p imagefile.Profile, warned *record.Warnings) string {
	const limit = 128
	name := p.Name
	switch description, ok := icc.Description(p.Data); {
	case p.Odd:
		warned.Add("ICC profile: its chunk cannot be read")
	case p.Data == nil:
	case ok:
		name = description
	default:
		warned.Add("ICC profile: its description cannot be read")
	}
	return record.Clean(name, limit)
}
