package processor_test

import (
	"encoding/json"
	"testing"

	"github.com/imagebatch/imagebatch/processor/internal/outputs"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage/stagetest"
)

// BenchmarkMake measures the processor's work on the bytes of an image: the processed file, the record and the
// thumbnail, without messages and storage. See BenchmarkDescribe of the analyzer.
func BenchmarkMake(b *testing.B) {
	stagetest.Bench(b, func(b *testing.B, data []byte) func() error {
		text, err := json.Marshal(stagetest.Golden(b, "v1/analysis.json", data, nil))
		if err != nil {
			b.Fatal(err)
		}
		var a pipeline.Analysis
		if err := json.Unmarshal(text, &a); err != nil {
			b.Fatal(err)
		}
		a.Metadata.FileSize, a.Metadata.SHA256 = a.Size, a.SHA256
		return func() error {
			_, err := outputs.Make(data, a, outputs.Options{})
			return err
		}
	})
}
