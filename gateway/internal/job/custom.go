package job

import "strings"

// Limits of what clients keep with a job and its images for themselves. They hold for texts
// after JSON is decoded.
const (
	MaxCustomIDBytes = 255 // UTF-8
	MaxMetadata      = 16  // members of Job.Metadata
	MaxMetadataBytes = 512 // UTF-8; for each name and each value
)

// Storable reports whether every job store can keep the text: PostgreSQL has no character for
// zero.
func Storable(text string) bool { return !strings.Contains(text, "\x00") }
