package stage_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestStageMetrics verifies that a stage reports its concurrency and its messages in
// flight, and reports every outcome from the start, as 0.
func TestStageMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		d, release := r.deps(), make(chan struct{})
		r.run(ctx, work, d, func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
			<-release
			return analysis(u)
		})
		settle(time.Second)
		telemetrytest.Expect(t, d.Metrics,
			`stage_concurrency{queue="image_upload"} 4`, `stage_in_hand{queue="image_upload"} 0`,
			`stage_messages_total{outcome="dead",queue="image_upload"} 0`, `stage_messages_total{outcome="retried",queue="image_upload"} 0`,
			`stage_messages_total{outcome="suspected",queue="image_upload"} 0`, `stage_messages_total{outcome="malformed",queue="image_upload"} 0`)
		for i := range 6 {
			r.publish(upload(i))
		}
		settle(time.Second)
		telemetrytest.Expect(t, d.Metrics, `stage_in_hand{queue="image_upload"} 4`)
		close(release)
		settle(time.Second)
		telemetrytest.Expect(t, d.Metrics, `stage_in_hand{queue="image_upload"} 0`, `stage_messages_total{outcome="done",queue="image_upload"} 6`)
	})
}
