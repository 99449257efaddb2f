package jobtest

import (
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// testOrigin verifies that every read of a job returns its Origin, for the trace of its images.
func testOrigin(t *testing.T, open func(*testing.T) Store) {
	s := open(t)
	const origin = "1764064192000000 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	l := lease("a", at(15))
	reserved, whole := leased(fetchJob(2, t0), l), inlineJob(2, t0)
	reserved.Origin, whole.Origin = origin, origin
	ok(t, s.Reserve(t.Context(), reserved.ID, l, job.Key{}))
	for _, j := range []*job.Job{create(t, s, reserved), create(t, s, whole)} {
		same(t, "get", get(t, s, j.ID).Origin, origin)
		ref := job.Ref{JobID: j.ID, Index: 0}
		changed := change(t, s, ref, job.Settle(failed(ref), at(1)), at(1))
		same(t, "change", changed.Origin, origin)
		cancelled, _, err := s.Cancel(t.Context(), j.ID, at(2))
		ok(t, err)
		same(t, "cancel", cancelled.Origin, origin)
	}
	taken := leased(fetchJob(1, t0), job.Lease{})
	taken.Origin = origin
	create(t, s, taken)
	claimed, err := s.Claim(t.Context(), "b", at(100), at(115), 9)
	ok(t, err)
	same(t, "claimed", len(claimed), 1)
	same(t, "claim", claimed[0].Origin, origin)
	same(t, "without one", get(t, s, create(t, s, inlineJob(1, t0)).ID).Origin, "")
}
