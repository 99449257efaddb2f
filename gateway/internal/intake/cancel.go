package intake

import (
	"context"
	"fmt"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Cancel cancels a job and gives up what this gateway is doing for it. Another
// one that fetches its images learns of it with the next of them. What is already
// in the pipeline goes to its end there, and nothing comes of it: its result is
// too late for the job, and retention deletes the objects.
//
// It returns the job as it then is, and whether it was this call that ended it.
// Errors are those of the job store.
func (in *Intake) Cancel(ctx context.Context, id string) (*job.Job, bool, error) {
	// A client that goes away now must not leave the job cancelled and fetched.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	j, changed, err := in.deps.Jobs.Cancel(ctx, id, in.deps.Now())
	if err != nil {
		return nil, false, fmt.Errorf("cancel job %s: %w", id, err)
	}
	// It has ended in any case, if only by an earlier call whose answer was lost.
	in.schedule.stop(id)
	if changed {
		in.activity.Add(1)
		in.changed(ctx, j)
	}
	return j, changed, nil
}
