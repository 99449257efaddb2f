package s3store

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// sizes are the sizes of an image, and of its thumbnail or record.
var sizes = []int{400_000, 12_000}

func BenchmarkPut(b *testing.B) {
	s := opened(b, configOf(b, "TEST_S3"), standard)
	for _, size := range sizes {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			data := bytes.Repeat([]byte("0123456789"), size/10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := s.Put(b.Context(), fmt.Sprintf("%d/%d", size, i%100), data, "image/jpeg"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadAll(b *testing.B) {
	s := opened(b, configOf(b, "TEST_S3"), standard)
	for _, size := range sizes {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			if err := s.Put(b.Context(), "key", make([]byte, size), "image/jpeg"); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := objectstore.ReadAll(b.Context(), s, "key", int64(size)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
