package analyzer_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/describe"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
)

// BenchmarkDescribe is what the analyzer does with the bytes of an image, and
// nothing round it: no message, no storage. Together with the processor's
// BenchmarkMake it is the floor that the whole system is measured against.
//
// The pictures are those of the folder BENCH_PICTURES; without it, the photograph
// of the README.
func BenchmarkDescribe(b *testing.B) {
	for name, data := range benchPictures(b) {
		b.Run(name, func(b *testing.B) {
			d := describe.New(describe.Config{})
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			spent := cpuTime(b)
			for b.Loop() {
				if _, _, err := d.Describe(b.Context(), data); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime(b)-spent).Seconds()*1e3/float64(b.N), "cpu-ms/op")
		})
	}
}

// BenchmarkDecode decodes the same pictures at an eighth and does no more, to be
// compared with other decoders.
func BenchmarkDecode(b *testing.B) {
	for name, data := range benchPictures(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			spent := cpuTime(b)
			for b.Loop() {
				if _, _, err := scaledjpeg.Decode(b.Context(), data, 8); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime(b)-spent).Seconds()*1e3/float64(b.N), "cpu-ms/op")
		})
	}
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
