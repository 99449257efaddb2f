package pipeline_test

import (
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestTraceparent verifies the format of W3C Trace Context, version 00, and that the
// parent is derived from the trace ID.
func TestTraceparent(t *testing.T) {
	id := pipeline.TraceID("c9dd948a8e8bd0e8c0027cdb35d9e496")
	if got, want := pipeline.Traceparent(id), "00-c9dd948a8e8bd0e8c0027cdb35d9e496-821049a58c5b0a0d-00"; got != want {
		t.Errorf("traceparent %s, want %s: spans of other releases would lose their root", got, want)
	}
}

// TestCarried verifies which trace context an outgoing message has.
func TestCarried(t *testing.T) {
	const own = "00-c9dd948a8e8bd0e8c0027cdb35d9e496-0102030405060708-00"
	for _, incoming := range []string{own, "00-c9dd948a8e8bd0e8c0027cdb35d9e496-b7ad6b7169203331-01"} {
		if got := pipeline.Carried(own, incoming); got != incoming {
			t.Errorf("Carried of incoming %s = %s", incoming, got)
		}
	}
	for _, incoming := range []string{
		"", "00-", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "01-c9dd948a8e8bd0e8c0027cdb35d9e496-b7ad6b7169203331-01",
		"00-C9DD948A8E8BD0E8C0027CDB35D9E496-b7ad6b7169203331-01", "00-c9dd948a8e8bd0e8c0027cdb35d9e496-b7ad6b7169203331-01-x",
		"00-c9dd948a8e8bd0e8c0027cdb35d9e496-b7ad6b716920333\n-01", "00-c9dd948a8e8bd0e8c0027cdb35d9e496_b7ad6b7169203331-01", strings.Repeat("0", 55),
	} {
		if got := pipeline.Carried(own, incoming); got != own {
			t.Errorf("Carried of incoming %q = %s, want own", incoming, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = pipeline.Carried(own, own) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
