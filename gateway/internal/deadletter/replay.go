package deadletter

import (
	"context"
	"errors"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// lookAgain is the pause between two queries for a job that is about to end.
const lookAgain = 200 * time.Millisecond

// Actions on a dead letter.
const (
	Retried   = "retried"   // its job's failed images became a new job
	Published = "published" // its message is on the work queue again
	Finished  = "finished"  // its image has completed
	Dropped   = "dropped"   // it can never be replayed, or an operator removes it
	Left      = "left"      // it stays in its queue
)

// Outcome is the result of handling a dead letter.
type Outcome struct {
	Action string
	NewJob string // set if Action is Retried
	Text   string // detail for the operator
}

// RefusedError is the error of a retry that the gateway permanently rejects.
type RefusedError struct{ Text string }

func (r *RefusedError) Error() string { return r.Text }

// RetryKey is the Idempotency-Key of the retry of a job.
func RetryKey(jobID string) string { return "dead letters of " + jobID }

// gateway is the part of the gateway that a replay needs: that of the API, in the process or
// over HTTP.
type gateway interface {
	// Job returns a job, of which a replay needs the statuses, or nil if it is unknown.
	Job(ctx context.Context, id string) (*job.Job, error)
	// Retry creates the one new job of a job's failed images under [RetryKey], or finds the job
	// that was already created, and returns its ID. It returns a *RefusedError for a retry that is
	// impossible.
	Retry(ctx context.Context, id string) (string, error)
}

// publisher is the part of a broker that a replay needs.
type publisher interface {
	Publish(ctx context.Context, queue string, m broker.Message) error
}

// Replayer replays the dead letters of one run. It is used by one goroutine.
type Replayer struct {
	Broker  publisher
	Gateway gateway
	DryRun  bool
	Drop    bool      // whether to drop dead letters that can never be replayed
	Until   time.Time // end of all waiting for jobs that are about to end

	retries map[string]string // new job by old job
	newJobs map[string]bool   // jobs that this run created
}

// Replay determines the action for the dead letter and, unless it is a dry run, performs it. The
// dead letter may be acked unless the action is Left.
func (r *Replayer) Replay(ctx context.Context, l Letter) (Outcome, error) {
	if l.Fault != "" {
		return r.hopeless(l.Fault), nil
	}
	if r.newJobs[l.Envelope.JobID] {
		return Outcome{Action: Left, Text: "it failed again in the job that this replay created"}, nil
	}
	j, err := r.settled(ctx, l)
	if err != nil {
		return Outcome{}, err
	}
	img := imageOf(j, l)
	if img == nil {
		return r.hopeless("its job is unknown"), nil
	}
	switch {
	case img.Status == job.Completed:
		return Outcome{Action: Finished, Text: "its image has completed"}, nil
	case img.Status != job.Failed:
		return r.publish(ctx, l)
	case img.ErrorCode == pipeline.CodeCancelled:
		return r.hopeless("its job was cancelled"), nil
	case !j.Status.Ended():
		return Outcome{Action: Left, Text: "its job still runs; replay it again after the end of the job"}, nil
	}
	return r.retry(ctx, l.Envelope.JobID)
}

// imageOf returns the image of a dead letter, or nil if the job is unknown or has no such
// image.
func imageOf(j *job.Job, l Letter) *job.Image {
	if j == nil || l.Envelope.Index >= len(j.Images) || j.Images[l.Envelope.Index].TraceID != l.Envelope.TraceID {
		return nil
	}
	return &j.Images[l.Envelope.Index]
}

// hopeless returns the outcome of a dead letter that can never be replayed.
func (r *Replayer) hopeless(why string) Outcome {
	if r.Drop {
		return Outcome{Action: Dropped, Text: why}
	}
	return Outcome{Action: Left, Text: why}
}

// settled returns the job of the dead letter. It waits for a job that is about to end, because
// the gateway may not have settled the death yet.
func (r *Replayer) settled(ctx context.Context, l Letter) (*job.Job, error) {
	for {
		j, err := r.Gateway.Job(ctx, l.Envelope.JobID)
		img := imageOf(j, l)
		if err != nil || img == nil || img.Status == job.Completed || j.Status.Ended() || r.DryRun || time.Now().After(r.Until) {
			return j, err
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// publish publishes the message to its work queue again.
func (r *Replayer) publish(ctx context.Context, l Letter) (Outcome, error) {
	o := Outcome{Action: Published, Text: "its image is still open; returned to " + l.Queue}
	if r.DryRun {
		return o, nil
	}
	m, err := l.renewed(time.Now())
	if err != nil {
		return Outcome{}, err
	}
	// A signal does not interrupt an operation in progress.
	return o, r.Broker.Publish(context.WithoutCancel(ctx), l.Queue, m)
}

// retry creates the new job, or finds the job that was already created.
func (r *Replayer) retry(ctx context.Context, id string) (Outcome, error) {
	if r.DryRun {
		return Outcome{Action: Retried, Text: "its job's failed images become a new job"}, nil
	}
	newJob := r.retries[id]
	if newJob == "" {
		var err error
		newJob, err = r.Gateway.Retry(context.WithoutCancel(ctx), id)
		if refused, ok := errors.AsType[*RefusedError](err); ok {
			return Outcome{Action: Left, Text: refused.Text}, nil
		}
		if err != nil {
			return Outcome{}, err
		}
		if r.retries == nil {
			r.retries, r.newJobs = map[string]string{}, map[string]bool{}
		}
		r.retries[id], r.newJobs[newJob] = newJob, true
	}
	return Outcome{Action: Retried, NewJob: newJob, Text: "its job's failed images are job " + newJob}, nil
}
