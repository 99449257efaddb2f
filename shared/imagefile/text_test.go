package imagefile

import (
	"bytes"
	"compress/zlib"
	"strings"
	"testing"
)

// TestLongTexts verifies that the start of a text that is too long is read in its own encoding, and that the
// rest costs nothing.
func TestLongTexts(t *testing.T) {
	long := []byte("x" + strings.Repeat("é", maxText))
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(long); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]Text{
		"as it is": {Value: long},
		"deflated": {Value: b.Bytes(), Deflated: true},
		"Latin-1":  {Value: []byte("x" + strings.Repeat("\xe9", maxText))},
	} {
		if got := text.String(); !strings.HasPrefix(got, "xéé") || len(got) > 2*maxText {
			t.Errorf("%s: %d bytes, %.10q", name, len(got), got)
		}
	}
}
