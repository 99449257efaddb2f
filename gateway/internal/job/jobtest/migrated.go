package jobtest

import (
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// GoesOn holds that a store which the first release has written works: with a job
// "open" of two images, one of them completed, a reservation, both under leases that
// have ended, and a hidden job "swept" without originals.
func GoesOn(t *testing.T, s Store) {
	t.Helper()
	now := time.Unix(10, 0)
	// When its originals went is not known, so it is long ago.
	hidden, err := s.Hidden(t.Context(), now, time.UnixMicro(1), 9)
	if err != nil || len(hidden) != 1 || hidden[0].ID != "swept" || !hidden[0].OriginalsGone {
		t.Errorf("hidden jobs are now %+v, %v", hidden, err)
	}
	claimed, err := s.Claim(t.Context(), "a", now, now.Add(job.LeaseTime), 9)
	if err != nil || len(claimed) != 2 {
		t.Errorf("claimed %+v, %v", claimed, err)
	}
	j, changed, err := s.Cancel(t.Context(), "open", now)
	if err != nil || !changed || j.Status != job.Cancelled || j.Completed != 1 || j.Failed != 1 {
		t.Errorf("cancelled: %t, %+v, %v", changed, j, err)
	}
}
