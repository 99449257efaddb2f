package analyzer_test

import (
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/describe"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/shared/stage/stagetest"
)

// BenchmarkDescribe measures what the analyzer does with the bytes of an image,
// without messages and storage. Together with the processor's BenchmarkMake it is
// the floor that the whole system is measured against.
func BenchmarkDescribe(b *testing.B) {
	d := describe.New(describe.Config{})
	stagetest.Bench(b, func(b *testing.B, data []byte) func() error {
		return func() error {
			_, _, err := d.Describe(b.Context(), data)
			return err
		}
	})
}

// BenchmarkDecode decodes the same images at an eighth and does no more, to be
// compared with other decoders.
func BenchmarkDecode(b *testing.B) {
	stagetest.Bench(b, func(b *testing.B, data []byte) func() error {
		return func() error {
			_, _, err := scaledjpeg.Decode(b.Context(), data, 8)
			return err
		}
	})
}
