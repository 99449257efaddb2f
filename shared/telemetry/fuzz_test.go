package telemetry

import (
	"strings"
	"testing"
)

// FuzzTraceparent verifies that parseTraceparent accepts only trace contexts, and that
// what it accepts stays the same when it is written and read again. The SDK tolerates
// a hyphen at the end.
func FuzzTraceparent(f *testing.F) {
	for _, seed := range []string{
		"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "00-00000000000000000000000000000000-0000000000000000-00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c := parseTraceparent(header)
		if !c.IsValid() {
			return
		}
		again := traceparent(c)
		if got := parseTraceparent(again); got.TraceID() != c.TraceID() || got.SpanID() != c.SpanID() || got.IsSampled() != c.IsSampled() {
			t.Errorf("%q is read as %+v and written as %q", header, c, again)
		}
		if !strings.HasPrefix(header[2:], again[2:53]) || strings.HasPrefix(header, "00-") && len(strings.TrimSuffix(header, "-")) != len(again) {
			t.Errorf("%q passes for %q", header, again)
		}
	})
}
