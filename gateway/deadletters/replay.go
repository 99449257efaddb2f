package deadletters

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/shared/failpoint"
)

const (
	// roundTime limits how long dead letters are held unacked. RabbitMQ takes them back
	// after 30 minutes and closes the channel.
	roundTime = 10 * time.Minute
	// lookAgain is the pause between two queries for a job that is about to end.
	lookAgain = 200 * time.Millisecond
)

// errRound ends a round; the next round continues.
var errRound = errors.New("round time exceeded")

// Actions on a dead letter.
const (
	retried   = "retried"   // its job's failed images became a new job
	published = "published" // its message is on the work queue again
	finished  = "finished"  // its image has completed
	dropped   = "dropped"   // it can never be replayed, and -drop is set
	left      = "left"      // it stays in its queue
)

// outcome is the result of handling a dead letter.
type outcome struct {
	action string
	newJob string // set if action is retried
	text   string // detail for the operator
}

// replay is one run over the dead letters.
type replay struct {
	*tool
	round      int                       // number of the round, from 1
	roundStart time.Time                 // start of the round
	until      time.Time                 // end of all waiting for jobs
	next       time.Time                 // time at which the next dead letter may be replayed
	retries    map[string]string         // new job by old job
	newJobs    map[string]bool           // jobs that this run created
	reported   map[[sha256.Size]byte]int // round in which a dead letter that stays was reported, by the hash of its body
	counts     map[string]int            // number of dead letters by action
}

func newReplay(t *tool) *replay {
	return &replay{tool: t, retries: map[string]string{}, newJobs: map[string]bool{}, reported: map[[sha256.Size]byte]int{}, counts: map[string]int{}}
}

// run handles the dead letters in rounds and reports the outcome of each.
func (r *replay) run(ctx context.Context) (int, error) {
	r.until = time.Now().Add(r.wait)
	err := errRound
	for errors.Is(err, errRound) {
		r.round++
		r.roundStart = time.Now()
		err = r.browse(ctx, r.handle)
	}
	if err := errors.Join(err, r.sum()); err != nil {
		return exitError, err
	}
	if r.counts[left] > 0 && !r.dryRun {
		return exitLeft, nil
	}
	return exitDone, nil
}

// handle replays one dead letter.
func (r *replay) handle(ctx context.Context, l deadLetter) error {
	if time.Since(r.roundStart) > roundTime {
		return errRound
	}
	seen := sha256.Sum256(l.Body)
	if round := r.reported[seen]; round > 0 && round < r.round {
		return nil
	}
	if !r.dryRun {
		select {
		case <-time.After(time.Until(r.next)):
		case <-ctx.Done():
			return ctx.Err()
		}
		r.next = time.Now().Add(r.pause)
	}
	o, err := r.decide(ctx, l)
	if err != nil {
		return err
	}
	r.counts[o.action]++
	if o.action == left || r.dryRun {
		r.reported[seen] = r.round
	}
	if !r.dryRun && o.action != left {
		failpoint.Reach("dead letter replayed", o.action)
		if err := l.Ack(); err != nil {
			return fmt.Errorf("remove the replayed dead letter of job %s (run this again): %w", cell(l.envelope.JobID), err)
		}
	}
	return r.report(l, o)
}

// decide determines the action for the dead letter and, unless it is a dry run, performs
// it. The dead letter may be acked unless the action is left.
func (r *replay) decide(ctx context.Context, l deadLetter) (outcome, error) {
	if l.fault != "" {
		return r.hopeless(l.fault), nil
	}
	if r.newJobs[l.envelope.JobID] {
		return outcome{action: left, text: "it failed again in the job that this replay created"}, nil
	}
	j, err := r.settled(ctx, l)
	if err != nil {
		return outcome{}, err
	}
	img := j.image(l.envelope)
	if img == nil {
		return r.hopeless("its job is unknown"), nil
	}
	switch {
	case img.Status == "completed":
		return outcome{action: finished, text: "its image has completed"}, nil
	case img.Status != "failed":
		return r.publish(ctx, l)
	case img.ErrorCode == "cancelled":
		return r.hopeless("its job was cancelled"), nil
	case !j.ended():
		return outcome{action: left, text: "its job still runs; replay it again after the end of the job"}, nil
	}
	return r.retry(ctx, l)
}

// hopeless returns the outcome of a dead letter that can never be replayed.
func (r *replay) hopeless(why string) outcome {
	if r.drop {
		return outcome{action: dropped, text: why}
	}
	return outcome{action: left, text: why}
}

// settled returns the job of the dead letter. It waits, up to the -wait time, for a job
// that is about to end, because the gateway may not have settled the death yet.
func (r *replay) settled(ctx context.Context, l deadLetter) (*jobState, error) {
	for {
		j, err := r.gateway.job(ctx, l.envelope.JobID)
		img := j.image(l.envelope)
		if err != nil || img == nil || img.Status == "completed" || j.ended() || r.dryRun || time.Now().After(r.until) {
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
func (r *replay) publish(ctx context.Context, l deadLetter) (outcome, error) {
	o := outcome{action: published, text: "its image is still open; returned to " + l.queue}
	if r.dryRun {
		return o, nil
	}
	m, err := l.renewed(time.Now())
	if err != nil {
		return outcome{}, err
	}
	// A signal does not interrupt an operation in progress.
	return o, r.broker.Publish(context.WithoutCancel(ctx), l.queue, m)
}

// retry creates the new job, or finds the job that was already created.
func (r *replay) retry(ctx context.Context, l deadLetter) (outcome, error) {
	if r.dryRun {
		return outcome{action: retried, text: "its job's failed images become a new job"}, nil
	}
	id := l.envelope.JobID
	if r.retries[id] == "" {
		newJob, err := r.gateway.retry(context.WithoutCancel(ctx), id)
		if refused, ok := errors.AsType[*refusal](err); ok && slices.Contains(final, refused.Status) {
			return outcome{action: left, text: refused.Text}, nil
		}
		if err != nil {
			return outcome{}, err
		}
		r.retries[id], r.newJobs[newJob] = newJob, true
	}
	return outcome{action: retried, newJob: r.retries[id], text: "its job's failed images are job " + r.retries[id]}, nil
}

// final lists the statuses with which the gateway permanently rejects a retry of a job.
var final = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity}

// report prints the outcome of a dead letter.
func (r *replay) report(l deadLetter, o outcome) error {
	if r.json {
		return r.object(struct {
			entry
			Action string `json:"action"`
			NewJob string `json:"new_job_id,omitempty"`
			Detail string `json:"detail"`
			DryRun bool   `json:"dry_run,omitempty"`
		}{l.entry(), o.action, o.newJob, o.text, r.dryRun})
	}
	verb := o.action
	if r.dryRun {
		verb = "would be " + verb
	}
	return r.line("%s  %s  image %d  %s  %s: %s", l.queue, cell(l.envelope.JobID), l.envelope.Index, cell(l.filename), verb, plain(o.text, maxLine))
}

// sum prints the closing count. A dead letter whose image has completed counts as replayed.
func (r *replay) sum() error {
	replayed := r.counts[retried] + r.counts[published] + r.counts[finished]
	letters := replayed + r.counts[dropped] + r.counts[left]
	if r.json {
		return r.object(struct {
			Letters  int  `json:"letters"`
			Replayed int  `json:"replayed"`
			Dropped  int  `json:"dropped"`
			Left     int  `json:"left"`
			DryRun   bool `json:"dry_run,omitempty"`
		}{letters, replayed, r.counts[dropped], r.counts[left], r.dryRun})
	}
	text := fmt.Sprintf("%s: %d replayed, %d dropped, %d left", counted(letters, "dead letter"), replayed, r.counts[dropped], r.counts[left])
	if r.dryRun {
		text += "; this was a dry run, nothing has changed"
	}
	return r.line("%s", text)
}
