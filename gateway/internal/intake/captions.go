package intake

import (
	"context"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The answers of vision models belong to no job: the same picture in another job uses them. Each is
// deleted CaptionRetention after it was stored.

// sweepEvery returns the time between two sweeps of the answers. A sweep lists all of them.
func sweepEvery(retention time.Duration) time.Duration {
	return min(max(retention/4, 250*time.Millisecond), 6*time.Hour)
}

// sweepCaptions deletes the expired answers.
func (in *Intake) sweepCaptions(ctx context.Context, now time.Time) error {
	due := now.Add(-in.config.CaptionRetention)
	var keys []string
	for info, err := range in.deps.Processed.List(ctx, pipeline.CaptionsPrefix) {
		if err != nil {
			return fmt.Errorf("list captions: %w", err)
		}
		if info.Modified.Before(due) {
			keys = append(keys, info.Key)
		}
		if len(keys) < retainBatch {
			continue
		}
		if err := in.deleteObjects(ctx, in.deps.Processed, "caption", keys); err != nil {
			return err
		}
		keys = nil
	}
	return in.deleteObjects(ctx, in.deps.Processed, "caption", keys)
}
