package analyzer_test

import (
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/describe"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/shared/stage/stagetest"
)

// BenchmarkDescribe measures the analyzer's work on the bytes of an image, without messages and storage.
// Together with the processor's BenchmarkMake it is the lower bound that the whole system is compared with.
func BenchmarkDescribe(b *testing.B) {
	d := describe.New(describe.Config{})
	stagetest.Bench(b, func(b *testing.B, data []byte) func() error {
		return func() error {
			_, _, err := d.Describe(b.Context(), data)
			return err
		}
	})
}

// BenchmarkDecode only decodes the same images at 1/8 scale, for comparison with other decoders.
func BenchmarkDecode(b *testing.B) {
	stagetest.Bench(b, func(b *testing.B, data []byte) func() error {
		return func() error {
			_, _, err := scaledjpeg.Decode(b.Context(), data, 8)
			return err
		}
	})
}
