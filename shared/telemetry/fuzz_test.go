package telemetry

import (
	"strings"
	"testing"
)

// FuzzTraceparent holds that what is taken for a trace context is one, as far as it
// goes: read, written and read again it is the same.
func FuzzTraceparent(f *testing.F) {
	for _, seed := range []string{
		"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "00-00000000000000000000000000000000-0000000000000000-00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, traceparent string) {
		c := parse(traceparent)
		if !c.IsValid() {
			return
		}
		again := write(c)
		if !parse(again).Equal(c) {
			t.Errorf("%q is read as %+v and written as %q", traceparent, c, again)
		}
		if !strings.HasPrefix(traceparent[2:], again[2:53]) || strings.HasPrefix(traceparent, "00-") && len(traceparent) != len(again) {
			t.Errorf("%q passes for %q", traceparent, again)
		}
	})
}
