package processor_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/processor/internal/product"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// BenchmarkMake is what the processor does with the bytes of an image, and nothing
// round it: the processed file, the record and the thumbnail, no message and no
// storage. See BenchmarkDescribe of the analyzer, which looks for its pictures in
// the same places.
func BenchmarkMake(b *testing.B) {
	for name, data := range benchPictures(b) {
		b.Run(name, func(b *testing.B) {
			a := analysisOf(b, data)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			spent := cpuTime(b)
			for b.Loop() {
				if _, err := product.Make(data, a, product.Options{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime(b)-spent).Seconds()*1e3/float64(b.N), "cpu-ms/op")
		})
	}
}

// analysisOf is the analysis of the golden messages, made to be of these bytes.
func analysisOf(b *testing.B, data []byte) pipeline.Analysis {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("..", "shared", "pipeline", "testdata", "v1", "analysis.json"))
	if err != nil {
		b.Fatal(err)
	}
	var a pipeline.Analysis
	if err := json.Unmarshal(text, &a); err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256(data)
	a.Size, a.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
	a.Metadata.FileSize, a.Metadata.SHA256 = a.Size, a.SHA256
	return a
}

// benchPictures are the JPEG files to work on, by their names without the ending.
func benchPictures(b *testing.B) map[string][]byte {
	b.Helper()
	files := []string{filepath.Join("..", "docs", "sunrise.jpg")}
	if dir := os.Getenv("BENCH_PICTURES"); dir != "" {
		var err error
		if files, err = filepath.Glob(filepath.Join(dir, "*.jpg")); err != nil || len(files) == 0 {
			b.Fatalf("no pictures in %s: %v", dir, err)
		}
	}
	pictures := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		pictures[strings.TrimSuffix(filepath.Base(file), ".jpg")] = data
	}
	return pictures
}

// cpuTime is what this process has used so far, of all its threads, the garbage
// collector's included: unlike the clock it means the same on a loaded machine.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
