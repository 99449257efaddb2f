package intake

import (
	"fmt"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestRetentionOfCaptions verifies that the answers of models are deleted when they expire, more of
// them than one step deletes, and nothing else with them.
func TestRetentionOfCaptions(t *testing.T) {
	r := setup(t)
	r.config.CaptionRetention = 3 * time.Hour
	in := r.intake("gateway-1", r.broker)
	done, _ := r.ended(in)
	for i := range 2*retainBatch + 50 {
		key := pipeline.CaptionKey(fmt.Sprintf("%064x", i), "request")
		if err := r.processed.Put(t.Context(), key, objectstore.Content{Data: []byte("{}"), Type: "application/json"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		after time.Duration
		left  int
	}{{179 * time.Minute, 2*retainBatch + 50}, {181 * time.Minute, 0}, {182 * time.Minute, 0}} {
		if err := in.sweepCaptions(t.Context(), time.Now().Add(step.after)); err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, err := range r.processed.List(t.Context(), pipeline.CaptionsPrefix) {
			if err != nil {
				t.Fatal(err)
			}
			left++
		}
		if left != step.left {
			t.Errorf("after %s: %d answers are left, want %d", step.after, left, step.left)
		}
	}
	if n := len(r.below(r.processed, done)); n != 4 {
		t.Errorf("%d objects of the job are left, want 4", n)
	}
}
