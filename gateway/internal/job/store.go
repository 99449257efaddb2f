package job

import (
	"errors"
	"time"
)

// Errors of the job store. Each user declares an interface with the methods that it calls.
var (
	ErrNotFound    = errors.New("job not found")
	ErrUnavailable = errors.New("job store unavailable") // disk full or database unavailable: try again later
	ErrKeyTaken    = errors.New("key taken")             // another job has the client's key
)

// Unsent is an image whose Upload must be published.
type Unsent struct {
	JobID string
	Image Image
}

// Tally is the number of a viewer's jobs of each kind. The store limits how far it counts.
type Tally struct {
	Statuses     map[Status]int
	FailedImages int // jobs with a failed image, whatever their status
	Uncaptioned  int // jobs with a completed image that should have a caption and has none
}

// Counts are statistics over all visible jobs.
type Counts struct {
	Jobs       int       // open and ended jobs
	OpenImages int       // images that have not ended
	OldestOpen time.Time // creation of the oldest open job; zero when none is open
	Unsent     int       // images whose Upload must be published
}
