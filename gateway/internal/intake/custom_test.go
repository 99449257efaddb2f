package intake

import (
	"fmt"
	"testing"
)

// TestCustom verifies that a job and its retry keep what the client keeps with them, also with an
// image that has failed at once.
func TestCustom(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	b := in.Begin()
	b.Metadata, b.Warnings = map[string]string{"album": "été"}, []string{"a warning"}
	for i, s := range []Source{{Data: jpegBytes(0)}, {Failure: InvalidBase64()}, {URL: "http://192.0.2.1/"}} {
		s.CustomID = fmt.Sprint("id ", i)
		if err := b.Add(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	j, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	describe := func(id string) string {
		j, text := r.get(id), ""
		for i := range j.Images {
			text += j.Images[i].CustomID + ","
		}
		return fmt.Sprintf("%s %v %q", text, j.Metadata, j.Warnings)
	}
	if got, want := describe(j.ID), `id 0,id 1,id 2, map[album:été] ["a warning"]`; got != want {
		t.Errorf("the job has %s, want %s", got, want)
	}
	r.cancel(in, j.ID)
	again, err := r.retry(in, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := describe(again.ID), `id 0,id 2, map[album:été] []`; got != want {
		t.Errorf("the retry has %s, want %s", got, want)
	}
	r.cancel(in, again.ID)
}
