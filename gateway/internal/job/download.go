package job

import (
	"errors"
	"time"
)

// Errors of the one-time downloads in the job store.
var (
	ErrNoDownload       = errors.New("download not found") // it never existed, was used, or has expired
	ErrTooManyDownloads = errors.New("too many unused downloads")
)

// Limits of one-time downloads.
const (
	DownloadTime = time.Minute // from its creation to its end
	MaxDownloads = 100         // unused ones of one name of API keys
)

// Download is a request for results of a job that a client without an API key may send once, with
// a token instead of a key.
type Download struct {
	Hash    string // SHA-256 of the token, in hex; the token itself is never stored
	Key     string // hash of the API key that created it; empty without API keys
	Owner   string // name of that key
	JobID   string
	What    string // which results
	Image   int    // index of the image, if the results are those of one image
	Include string // as in the query of the request
	Paths   string // likewise
	Expires time.Time
}
