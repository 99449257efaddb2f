package jobtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// testCustom verifies that every read returns what the client keeps with the job, at its limits and
// with every character that a store can keep.
func testCustom(t *testing.T, open func(*testing.T) Store) {
	s := open(t)
	var controls strings.Builder
	for c := rune(1); c < 0x20; c++ {
		controls.WriteRune(c)
	}
	text := controls.String() + "\"'\\$1%?\x7f\u0085\u2028\ufffd\U0010ffff"
	text += strings.Repeat("é", (job.MaxCustomIDBytes-len(text))/2)
	j := inlineJob(3, t0)
	j.Owner = "anna"
	j.Images[0].CustomID, j.Images[2].CustomID = text, "x"
	j.Metadata, j.Warnings = map[string]string{}, []string{text, ""}
	for i := range job.MaxMetadata {
		key := fmt.Sprint(i) + text
		j.Metadata[key+strings.Repeat("k", job.MaxMetadataBytes-len(key))] = text + strings.Repeat("v", job.MaxMetadataBytes-len(text))
	}
	k := job.Key{Name: "custom"}
	l := lease("a", at(15))
	ok(t, s.Reserve(t.Context(), j.ID, l, k))
	create(t, s, leased(j, l))
	plain := create(t, s, inlineJob(1, at(-1)))

	check := func(when string, got *job.Job, err error, images bool) {
		t.Helper()
		ok(t, err)
		same(t, when+": metadata", got.Metadata, j.Metadata)
		same(t, when+": warnings", got.Warnings, j.Warnings)
		for i := range got.Images {
			same(t, when+": custom ID", got.Images[i].CustomID, j.Images[got.Images[i].Index].CustomID)
		}
		if images && len(got.Images) == 0 {
			t.Errorf("%s: no images", when)
		}
	}
	check("Get", get(t, s, j.ID), nil, true)
	keyed, err := s.Keyed(t.Context(), k)
	check("Keyed", keyed, err, false)
	check("List", list(t, s, job.Everybody, job.Cursor{}, 9)[0], nil, true)
	changed := change(t, s, job.Ref{JobID: j.ID, Index: 1}, job.Settle(completed(job.Ref{JobID: j.ID, Index: 1}), at(1)), at(1))
	check("Change", changed, nil, false)
	changes, err := s.Changes(t.Context(), j.ID, 1)
	check("Changes", changes, err, true)
	cancelled, _, err := s.Cancel(t.Context(), j.ID, at(2))
	check("Cancel", cancelled, err, true)

	none := get(t, s, plain.ID)
	if none.Metadata != nil || none.Warnings != nil || none.Images[0].CustomID != "" {
		t.Errorf("a job without any has %q, %q and %q", none.Metadata, none.Warnings, none.Images[0].CustomID)
	}
}
