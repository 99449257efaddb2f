package jobtest

import (
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// testCaptions verifies that the store keeps whether a model may see an image, and whether its words are removed, to the
// Upload of the image, and which images lack the caption that they should have.
func testCaptions(t *testing.T, open func(*testing.T) Store) {
	s := open(t)
	j := inlineJob(4, t0)
	j.Images[0].Captions, j.Images[3].Captions, j.Images[3].RemoveCaptions = job.CaptionsOff, job.CaptionsOff, true
	create(t, s, j)
	unsent, err := s.Unsent(t.Context(), 9)
	ok(t, err)
	for _, u := range unsent {
		message := u.Image.Upload(u.JobID, t0)
		if off := u.Image.Index == 0 || u.Image.Index == 3; message.CaptionsAllowed() == off {
			t.Errorf("the Upload of image %d allows captions: %t", u.Image.Index, !off)
		}
		same(t, "removal in the Upload", message.RemoveCaptions, u.Image.Index == 3)
	}
	same(t, "unsent images", len(unsent), 4)
	for i, r := range []func(job.Ref) job.Transition{
		func(ref job.Ref) job.Transition { return job.Settle(uncaptioned(ref), at(1)) },
		func(ref job.Ref) job.Transition { return job.Settle(uncaptioned(ref), at(1)) },
		func(ref job.Ref) job.Transition { return job.Settle(completed(ref), at(1)) },
		func(ref job.Ref) job.Transition { return job.Settle(failed(ref), at(1)) },
	} {
		ref := job.Ref{JobID: j.ID, Index: i}
		change(t, s, ref, r(ref), at(1))
	}
	got := get(t, s, j.ID)
	for i, want := range []job.Captions{job.CaptionsOff, job.CaptionsMissing, job.CaptionsUsual, job.CaptionsOff} {
		same(t, "captions", got.Images[i].Captions, want)
		same(t, "removal", got.Images[i].RemoveCaptions, i == 3)
	}
	same(t, "images without a caption", got.Uncaptioned, 1)
}
