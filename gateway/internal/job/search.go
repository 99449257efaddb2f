package job

import (
	"regexp"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// MaxSearchBytes is the maximum length of a Search, in UTF-8.
const MaxSearchBytes = 255

// Search is a text that a client searches for, without regard to case: the start of a job's ID, or
// a part of the name or of the custom ID of one of its images. The empty Search finds all jobs.
type Search string

// folded returns the text in a form that is the same for texts that differ only in case, or in the
// way in which their accents are encoded: macOS decomposes them in file names.
func folded(text string) string { return strings.ToLower(norm.NFC.String(text)) }

// Matcher returns a function that reports whether an image with the name and the custom ID is found.
func (s Search) Matcher() func(name, customID string) bool {
	part := folded(string(s))
	return func(name, customID string) bool {
		return strings.Contains(folded(name), part) || strings.Contains(folded(customID), part)
	}
}

// StartsID reports whether the job's ID starts with the text.
func (s Search) StartsID(id string) bool { return strings.HasPrefix(id, strings.ToLower(string(s))) }

// idStart matches the starts of IDs, from their first part on, which is long enough to be no word.
var idStart = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f-]{0,27})?$`)

// IDs returns the range of the IDs that start with the text, without its end, if the text has the
// form of an ID of which at least 8 characters are known.
func (s Search) IDs() (from, to string, ok bool) {
	from = strings.ToLower(string(s))
	return from, from + "g", idStart.MatchString(from) // g is behind every character of an ID
}
