package analyzer_test

import (
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// failure waits for the result of an image that must fail. An analysis fails the test.
func (r *rig) failure(t *testing.T) pipeline.Result {
	t.Helper()
	select {
	case got := <-r.results:
		return got
	case a := <-r.analyses:
		t.Fatalf("got an analysis of an image that must fail: %+v", a.Upload)
		return pipeline.Result{}
	}
}
