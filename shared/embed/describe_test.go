package embed

import (
	"math"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestDescribeOmitsUnknownValues(t *testing.T) {
	packet := string(xmp.New(describe(pipeline.Metadata{
		AnalyzerVersion: "a\x00b\ufffe\u0001<&>\"'\n\t\xff\U0001f600", Brightness: math.NaN(), Contrast: math.Inf(1), Sharpness: 1e21,
	})))
	if err := xmp.Parse([]byte(packet)).Editable(); err != nil {
		t.Fatalf("%v\n%s", err, packet)
	}
	for _, absent := range []string{"Format", "SHA256", "MeanColor", "DominantColor", "Brightness", "Contrast", "BlurHash", "PHash"} {
		if strings.Contains(packet, absent) {
			t.Errorf("%s is in the packet", absent)
		}
	}
	for _, there := range []string{
		`AnalyzerVersion="ab&lt;&amp;&gt;&quot;'&#xA;&#x9;` + "\U0001f600\"",
		`Sharpness="1000000000000000000000"`, `HasAlpha="False"`,
	} {
		if !strings.Contains(packet, there) {
			t.Errorf("%s is not in the packet:\n%s", there, packet)
		}
	}
}
