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
	// roundTime bounds how long letters are held at one time. RabbitMQ takes them
	// back after 30 minutes and ends the channel.
	roundTime = 10 * time.Minute
	// lookAgain is the pause between two questions after a job that is about to end.
	lookAgain = 200 * time.Millisecond
)

// errRound ends a round; the next one goes on.
var errRound = errors.New("letters held for long enough")

// Actions on a letter.
const (
	retried   = "retried"   // its job's failed images are a new job
	published = "published" // it is on its work queue again
	finished  = "finished"  // its image has completed meanwhile
	dropped   = "dropped"   // it can never be replayed, and the operator wants it away
	left      = "left"
)

// outcome is what is done with a letter.
type outcome struct {
	action string
	newJob string // when retried
	text   string // for people
}

// replay is one run over the letters.
type replay struct {
	*tool
	round   int                       // counted from 1
	began   time.Time                 // of the round
	until   time.Time                 // of all waiting for jobs
	next    time.Time                 // when the next letter may be replayed
	retries map[string]string         // new job by old job
	made    map[string]bool           // the new jobs
	told    map[[sha256.Size]byte]int // the round of letters that stay, by their bytes
	counts  map[string]int            // letters by action, so far
}

func newReplay(t *tool) *replay {
	return &replay{tool: t, retries: map[string]string{}, made: map[string]bool{}, told: map[[sha256.Size]byte]int{}, counts: map[string]int{}}
}

// run goes over the letters, in rounds, and tells what became of each.
func (r *replay) run(ctx context.Context) (int, error) {
	r.until = time.Now().Add(r.wait)
	err := errRound
	for errors.Is(err, errRound) {
		r.round++
		r.began = time.Now()
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

// handle replays one letter.
func (r *replay) handle(ctx context.Context, l letter) error {
	if time.Since(r.began) > roundTime {
		return errRound
	}
	seen := sha256.Sum256(l.Body)
	if round := r.told[seen]; round > 0 && round < r.round {
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
		r.told[seen] = r.round
	}
	if !r.dryRun && o.action != left {
		failpoint.Reach("dead letter replayed", o.action)
		if err := l.Ack(); err != nil {
			return fmt.Errorf("take letter of job %s away, which was replayed (run this again): %w", cell(l.envelope.JobID), err)
		}
	}
	return r.tell(l, o)
}

// decide finds out what the letter asks for and, unless it is a dry run, does it.
// The letter may be acked when the action is not left.
func (r *replay) decide(ctx context.Context, l letter) (outcome, error) {
	if l.fault != "" {
		return r.hopeless(l.fault), nil
	}
	if r.made[l.envelope.JobID] {
		return outcome{action: left, text: "it died again in the job that this replay has made"}, nil
	}
	j, err := r.settled(ctx, l)
	if err != nil {
		return outcome{}, err
	}
	img := j.image(l.envelope)
	if img == nil {
		return r.hopeless("its job is not known"), nil
	}
	switch {
	case img.Status == "completed":
		return outcome{action: finished, text: "its image has completed"}, nil
	case img.Status != "failed":
		return r.publish(ctx, l)
	case img.ErrorCode == "cancelled":
		return r.hopeless("its job was cancelled"), nil
	case !j.ended():
		return outcome{action: left, text: "its job still runs, a retry must wait for its end"}, nil
	}
	return r.retry(ctx, l)
}

// hopeless is the outcome of a letter that can never be replayed.
func (r *replay) hopeless(why string) outcome {
	if r.drop {
		return outcome{action: dropped, text: why}
	}
	return outcome{action: left, text: why}
}

// settled gives the job of the letter. It waits, as long as the operator allows,
// for one that is about to end: the gateway may not have settled the death yet.
func (r *replay) settled(ctx context.Context, l letter) (*jobState, error) {
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

// publish puts the message on its work queue again.
func (r *replay) publish(ctx context.Context, l letter) (outcome, error) {
	o := outcome{action: published, text: "its image is open, put on " + l.queue + " again"}
	if r.dryRun {
		return o, nil
	}
	m, err := l.renewed(time.Now())
	if err != nil {
		return outcome{}, err
	}
	// What a signal finds begun is finished.
	return o, r.letters.Publish(context.WithoutCancel(ctx), l.queue, m)
}

// retry makes the new job, or finds the one that was made before.
func (r *replay) retry(ctx context.Context, l letter) (outcome, error) {
	if r.dryRun {
		return outcome{action: retried, text: "its job's failed images become a new job"}, nil
	}
	id := l.envelope.JobID
	if r.retries[id] == "" {
		made, err := r.gateway.retry(context.WithoutCancel(ctx), id)
		if refused, ok := errors.AsType[*refusal](err); ok && slices.Contains(final, refused.Status) {
			return outcome{action: left, text: refused.Text}, nil
		}
		if err != nil {
			return outcome{}, err
		}
		r.retries[id], r.made[made] = made, true
	}
	return outcome{action: retried, newJob: r.retries[id], text: "its job's failed images are job " + r.retries[id]}, nil
}

// final are the answers to a retry by which the gateway says that there is none to
// be had from this job.
var final = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity}

// tell prints what became of a letter.
func (r *replay) tell(l letter, o outcome) error {
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

// sum prints the closing count. A letter whose image has completed is replayed.
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
