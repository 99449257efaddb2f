package analyzer_test

import (
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// failure waits for the end of an image that fails. An analysis of it would be
// the last that is heard of it.
func (r *rig) failure(t *testing.T) pipeline.Result {
	t.Helper()
	select {
	case got := <-r.results:
		return got
	case a := <-r.analyses:
		t.Fatalf("an image that is to fail was described: %+v", a.Upload)
		return pipeline.Result{}
	}
}
