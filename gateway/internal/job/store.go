package job

import (
	"errors"
	"time"
)

// Errors of the job store. Its users declare the part of it that they use.
var (
	ErrNotFound    = errors.New("job not found")
	ErrUnavailable = errors.New("job store unavailable") // disk full, database unavailable: try again later
	ErrKeyTaken    = errors.New("key taken")             // another job has the client's key
)

// Unsent is an image whose Upload is to be published.
type Unsent struct {
	JobID string
	Image Image
}

// Cursor is a place in the list: the job after which to go on.
type Cursor struct {
	CreatedAt time.Time
	ID        string
}

// Counts are figures over all jobs that are in answers.
type Counts struct {
	Jobs       int       // open and ended
	OpenImages int       // images that have not ended
	OldestOpen time.Time // creation of the oldest open job; zero when none is open
	Unsent     int       // images whose Upload is to be published
}
