package intake

import (
	"context"
	"fmt"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Cancel cancels a job and its fetches on this gateway. Another gateway that fetches its
// images notices with the next one that it starts. Images already in the pipeline are processed there without
// effect: their results are too late for the job, and retention deletes the objects.
//
// It returns the job after the call, and whether this call ended it. It returns the errors of
// the job store.
func (in *Intake) Cancel(ctx context.Context, id string) (*job.Job, bool, error) {
	// If the client disconnects now, the job must not be cancelled while its fetches continue.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	j, changed, err := in.deps.Jobs.Cancel(ctx, id, in.deps.Now())
	if err != nil {
		return nil, false, fmt.Errorf("cancel job %s: %w", id, err)
	}
	// The job has ended in any case, if only by an earlier call whose response was lost.
	in.schedule.stop(id)
	if changed {
		in.activity.Add(1)
		in.changed(ctx, j)
	}
	return j, changed, nil
}
