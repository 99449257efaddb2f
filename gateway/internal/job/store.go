package job

import (
	"context"
	"errors"
	"time"
)

// Errors of a Store.
var (
	ErrNotFound    = errors.New("job not found")
	ErrUnavailable = errors.New("job store unavailable") // disk full, database away: try again later
	ErrKeyTaken    = errors.New("key taken")             // another job has the client's key
)

// Store keeps the jobs. It is the only writer of their state; a method that
// returns nil has made its change durable. The suite that every Store passes is
// in the package jobtest.
//
// A write that fails with ErrUnavailable may have been made all the same (the
// database went away with its answer); one that fails with anything else, the
// end of its context included, was not made. Times are kept to the microsecond.
//
// Unless said otherwise a method does not see jobs that are still received or
// that retention has hidden. All methods may be called from many goroutines;
// writes are committed in groups. Reads are short: none is open while its caller
// works on what it gave.
type Store interface {
	// ID is the random name that this store got when it was made. It names the
	// broker's epoch queue.
	ID() string

	// Reserve stores a job that is being received under a lease, whose epoch is
	// 1, before the first of its objects is stored. With a key it fails with
	// ErrKeyTaken when another job has it that is received or in answers; of
	// several that reserve at the same time one gets it. The key is free again when
	// the reservation is released or the job is hidden.
	Reserve(ctx context.Context, id string, l Lease, k Key) error
	// Keyed returns the job that has the key, without its images; one that is still
	// received has the status Receiving. It fails with ErrNotFound when none has it.
	Keyed(ctx context.Context, k Key) (*Job, error)
	// Create stores the whole job with its images in one transaction, and ends its
	// reservation. j.Lease is the lease of the reservation, or has epoch 0 when
	// there is none. It fails with ErrLeaseLost when the reservation is held by
	// another or gone: whoever claimed it has deleted the objects.
	Create(ctx context.Context, j *Job) error
	// Release forgets a reserved job, whose objects its owner has deleted. It
	// fails with ErrLeaseLost when another holds it; one that is gone is no error.
	Release(ctx context.Context, id string, l Lease) error

	// Renew moves the end of every lease of the owner to until.
	Renew(ctx context.Context, owner string, until time.Time) error
	// Claim gives the owner the lease of up to limit jobs that are received or have
	// images to fetch and whose lease has ended before now, and returns them whole.
	// Those whose lease was never held or ended first come first, then the oldest.
	// A received one has the status Receiving and no images.
	Claim(ctx context.Context, owner string, now, until time.Time, limit int) ([]*Job, error)

	// Change applies the transition to one image and its job in one transaction.
	// It returns the job without its images, as it is after that, and whether
	// anything was changed. Errors: ErrNotFound, ErrUnavailable, the transition's.
	Change(ctx context.Context, ref Ref, t Transition, now time.Time) (*Job, bool, error)

	// Cancel cancels the job by [Job.Cancel] in one transaction. It returns the job
	// with all its images, as it is after that, and whether anything was changed:
	// one that has ended stays as it is.
	Cancel(ctx context.Context, id string, now time.Time) (*Job, bool, error)

	// Unsent returns up to limit images whose Upload is to be published, those of
	// the oldest job first, each with the id of its job.
	Unsent(ctx context.Context, limit int) ([]Unsent, error)
	// MarkSent notes that these were published. One that was marked unsent again
	// since (its Send has grown) stays unsent.
	MarkSent(ctx context.Context, sent []Unsent) error
	// Resend marks every open image that has its original and has started before
	// the time unsent again, and returns how many. Those still unsent are among
	// them: a publish of theirs that is under way no longer counts.
	Resend(ctx context.Context, startedBefore time.Time) (int, error)

	// Get returns the job with all its images in order.
	Get(ctx context.Context, id string) (*Job, error)
	// Changes returns the job with the images whose revision is above after, in
	// order of revision and then index, from one consistent read.
	Changes(ctx context.Context, id string, after int64) (*Job, error)
	// List returns up to limit of the viewer's jobs with all their images, newest
	// first, beginning after the given one (the zero Cursor: with the newest).
	List(ctx context.Context, v Viewer, after Cursor, limit int) ([]*Job, error)
	// Owned returns how many jobs of the owner are in answers. It counts them, unlike
	// Count, so it costs the more the more there are. Nobody owns what was made
	// without keys.
	Owned(ctx context.Context, owner string) (int, error)
	// OpenImages returns how many images of the owner have not ended.
	OpenImages(ctx context.Context, owner string) (int, error)
	// Count returns figures over all jobs.
	Count(ctx context.Context) (Counts, error)

	// Hide takes up to limit jobs that ended before the time out of every answer,
	// the first step of their deletion.
	Hide(ctx context.Context, endedBefore time.Time, limit int) (int, error)
	// Hidden returns up to limit hidden jobs that ended before the time, whole:
	// first those whose originals are not yet gone, then those whose originals went
	// before goneBefore.
	Hidden(ctx context.Context, endedBefore, goneBefore time.Time, limit int) ([]*Job, error)
	// ForgetOriginals notes that the originals of a hidden job are deleted, and when.
	// It fails with ErrNotFound when no hidden job has that id.
	ForgetOriginals(ctx context.Context, id string, at time.Time) error
	// Delete removes a hidden job for good. It fails with ErrNotFound when no
	// hidden job has that id, so that a job in answers is never deleted.
	Delete(ctx context.Context, id string) error

	// Ready is nil when the store can write, else it says what is missing.
	Ready(ctx context.Context) error
	// Close ends the store after the writes that were begun.
	Close() error
}

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
