package intake

import (
	"context"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// claimBatch limits the jobs taken over in one step, and so the memory for their images.
const claimBatch = 16

// renewLeases renews the leases of this gateway until ctx is done. It does nothing else, so
// that no blocked operation can cost a lease.
func (in *Intake) renewLeases(ctx context.Context) {
	every(ctx, job.LeaseRenew, func(ctx context.Context) {
		if in.batches.Load() == 0 && in.schedule.empty() && in.leftovers.empty() {
			return
		}
		if err := in.renew(ctx); err != nil && ctx.Err() == nil {
			in.deps.Log.WarnContext(ctx, "leases not renewed", "error", err)
		}
	})
}

func (in *Intake) renew(ctx context.Context) error {
	return in.deps.Jobs.Renew(ctx, in.deps.Owner, in.deps.Now().Add(job.LeaseTime))
}

// takeOver takes over the jobs of stopped gateways, immediately and then periodically until
// ctx is done. It schedules images to fetch and deletes batches that never became a job,
// this gateway's own leftovers included.
func (in *Intake) takeOver(ctx context.Context) {
	every(ctx, job.LeaseRenew, func(ctx context.Context) {
		for ctx.Err() == nil {
			n, err := in.claim(ctx)
			if err != nil && ctx.Err() == nil {
				in.deps.Log.WarnContext(ctx, "jobs not taken over", "error", err)
			}
			if err != nil || n < claimBatch {
				break
			}
		}
		in.clearLeftovers(ctx, in.deps.Now())
	})
}

func (in *Intake) claim(ctx context.Context) (int, error) {
	// Renew our own leases first: after a jump of the clock they look as expired as those of
	// a stopped gateway.
	if err := in.renew(ctx); err != nil {
		return 0, err
	}
	now := in.deps.Now()
	jobs, err := in.deps.Jobs.Claim(ctx, in.deps.Owner, now, now.Add(job.LeaseTime), claimBatch)
	if err != nil {
		return 0, err
	}
	for _, j := range jobs {
		if j.Status == job.Receiving {
			in.keep(leftover{id: j.ID, lease: j.Lease, listed: true})
			continue
		}
		in.deps.Log.InfoContext(ctx, "job taken over", "job_id", j.ID)
		in.schedule.add(j)
	}
	return len(jobs), nil
}
