package jobtest

import (
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// testHeaders verifies that the headers for a URL stay until their image is completed, or until
// the originals of its job are deleted, and no longer.
func testHeaders(t *testing.T, open func(*testing.T) Store) {
	s := open(t)
	headersOf := func(j *job.Job) []job.Headers {
		var list []job.Headers
		for i := range j.Images {
			list = append(list, j.Images[i].Headers)
		}
		return list
	}
	check := func(when string, j *job.Job, want ...job.Headers) {
		t.Helper()
		if got := headersOf(j); len(got) != len(want) {
			t.Fatalf("%s: %d images, want %d", when, len(got), len(want))
		}
		for i, got := range headersOf(j) {
			if string(got) != string(want[i]) {
				t.Errorf("%s: the headers of image %d are %q, want %q", when, i, string(got), string(want[i]))
			}
		}
	}
	l := lease("a", at(15))
	j := leased(fetchJob(4, t0), l)
	j.Images[3].Headers = ""
	h := headersOf(j)
	ok(t, s.Reserve(t.Context(), j.ID, l, job.Key{}))
	create(t, s, j)
	check("created", get(t, s, j.ID), h[0], h[1], h[2], "")
	claimed, err := s.Claim(t.Context(), "b", at(100), at(115), 9)
	ok(t, err)
	check("claimed", claimed[0], h[0], h[1], h[2], "")

	refs := make([]job.Ref, 4)
	for i := range refs {
		refs[i] = job.Ref{JobID: j.ID, Index: i}
	}
	change(t, s, refs[0], job.Fetched(claimed[0].Lease, original(j.ID, 0)), at(100))
	check("fetched", get(t, s, j.ID), h[0], h[1], h[2], "")
	change(t, s, refs[0], job.Settle(completed(refs[0]), at(101)), at(101))
	change(t, s, refs[1], job.Settle(failed(refs[1]), at(101)), at(101))
	change(t, s, refs[3], job.Settle(completed(refs[3]), at(101)), at(101))
	check("settled", get(t, s, j.ID), "", h[1], h[2], "")
	cancelled, _, err := s.Cancel(t.Context(), j.ID, at(102))
	ok(t, err)
	check("cancelled", cancelled, "", h[1], h[2], "")

	other := create(t, s, leased(fetchJob(1, t0), job.Lease{Owner: "a", Until: at(15)}))
	gives(t, "hidden", 1)(s.Hide(t.Context(), at(103), 9))
	hidden := func() *job.Job {
		t.Helper()
		jobs, err := s.Hidden(t.Context(), at(200), at(200), 9)
		ok(t, err)
		givesIDs(t, "hidden", []string{j.ID})(jobs, nil)
		return jobs[0]
	}
	check("hidden", hidden(), "", h[1], h[2], "")
	wantErr(t, s.ForgetOriginals(t.Context(), other.ID, at(104)), job.ErrNotFound)
	ok(t, s.ForgetOriginals(t.Context(), j.ID, at(104)))
	check("without originals", hidden(), "", "", "", "")
	check("another job", get(t, s, other.ID), other.Images[0].Headers)
}
