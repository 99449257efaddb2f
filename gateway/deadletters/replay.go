package deadletters

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
	"github.com/imagebatch/imagebatch/shared/failpoint"
)

// roundTime limits how long dead letters are held unacked. RabbitMQ takes them back
// after 30 minutes and closes the channel.
const roundTime = 10 * time.Minute

// errRound ends a round; the next round continues.
var errRound = errors.New("round time exceeded")

// replay is one run over the dead letters.
type replay struct {
	*tool
	replayer   deadletter.Replayer
	round      int                       // number of the round, from 1
	roundStart time.Time                 // start of the round
	next       time.Time                 // time at which the next dead letter may be replayed
	reported   map[[sha256.Size]byte]int // round in which a dead letter that stays was reported, by the hash of its body
	counts     map[string]int            // number of dead letters by action
}

func newReplay(t *tool) *replay {
	return &replay{
		tool: t, replayer: deadletter.Replayer{Broker: t.broker, Gateway: t.gateway, DryRun: t.dryRun, Drop: t.drop},
		reported: map[[sha256.Size]byte]int{}, counts: map[string]int{},
	}
}

// run handles the dead letters in rounds and reports the outcome of each.
func (r *replay) run(ctx context.Context) (int, error) {
	r.replayer.Until = time.Now().Add(r.wait)
	err := errRound
	for errors.Is(err, errRound) {
		r.round++
		r.roundStart = time.Now()
		err = r.browse(ctx, r.handle)
	}
	if err := errors.Join(err, r.sum()); err != nil {
		return exitError, err
	}
	if r.counts[deadletter.Left] > 0 && !r.dryRun {
		return exitLeft, nil
	}
	return exitDone, nil
}

// handle replays one dead letter.
func (r *replay) handle(ctx context.Context, l deadletter.Letter) error {
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
	o, err := r.replayer.Replay(ctx, l)
	if err != nil {
		return err
	}
	r.counts[o.Action]++
	if o.Action == deadletter.Left || r.dryRun {
		r.reported[seen] = r.round
	}
	if !r.dryRun && o.Action != deadletter.Left {
		failpoint.Reach("dead letter replayed", o.Action)
		if err := l.Ack(); err != nil {
			return fmt.Errorf("remove the replayed dead letter of job %s (run this again): %w", cell(l.Envelope.JobID), err)
		}
	}
	return r.report(l, o)
}

// report prints the outcome of a dead letter.
func (r *replay) report(l deadletter.Letter, o deadletter.Outcome) error {
	if r.json {
		return r.object(struct {
			deadletter.Entry
			Action string `json:"action"`
			NewJob string `json:"new_job_id,omitempty"`
			Detail string `json:"detail"`
			DryRun bool   `json:"dry_run,omitempty"`
		}{l.Entry(), o.Action, o.NewJob, o.Text, r.dryRun})
	}
	verb := o.Action
	if r.dryRun {
		verb = "would be " + verb
	}
	return r.line("%s  %s  image %d  %s  %s: %s", l.Queue, cell(l.Envelope.JobID), l.Envelope.Index, cell(l.Filename), verb, plain(o.Text, maxLine))
}

// sum prints the closing count. A dead letter whose image has completed counts as replayed.
func (r *replay) sum() error {
	replayed := r.counts[deadletter.Retried] + r.counts[deadletter.Published] + r.counts[deadletter.Finished]
	letters := replayed + r.counts[deadletter.Dropped] + r.counts[deadletter.Left]
	if r.json {
		return r.object(struct {
			Letters  int  `json:"letters"`
			Replayed int  `json:"replayed"`
			Dropped  int  `json:"dropped"`
			Left     int  `json:"left"`
			DryRun   bool `json:"dry_run,omitempty"`
		}{letters, replayed, r.counts[deadletter.Dropped], r.counts[deadletter.Left], r.dryRun})
	}
	text := fmt.Sprintf("%s: %d replayed, %d dropped, %d left", counted(letters, "dead letter"), replayed, r.counts[deadletter.Dropped], r.counts[deadletter.Left])
	if r.dryRun {
		text += "; this was a dry run, nothing has changed"
	}
	return r.line("%s", text)
}
