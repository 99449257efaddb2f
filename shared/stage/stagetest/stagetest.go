// Package stagetest provides helpers for the tests and benchmarks of services that run
// a stage.
package stagetest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Collect sends the messages of a queue to a channel, until ctx ends.
func Collect[M pipeline.Message](ctx context.Context, b broker.Broker, q pipeline.Queue[M], into chan<- M) error {
	return b.Consume(ctx, q.Name, 10, func(_ context.Context, dv broker.Delivery) error {
		var m M
		if err := json.Unmarshal(dv.Body, &m); err != nil {
			return err
		}
		into <- m
		return dv.Ack()
	})
}

// Golden reads a golden message, such as v1/upload.json, and changes it to describe
// data. Unless the store is nil, it stores data as the original of the message.
func Golden(t testing.TB, name string, data []byte, originals objectstore.Store) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "shared", "pipeline", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	m["sha256"], m["size"] = fmt.Sprintf("%x", sha256.Sum256(data)), len(data)
	if originals != nil {
		if err := originals.Put(t.Context(), m["original_path"].(string), objectstore.Content{Data: data, Type: "image/jpeg"}); err != nil { //nolint:errcheck // Our own file.
			t.Fatal(err)
		}
	}
	return m
}

// Bench runs work on each image in the folder BENCH_PICTURES, or by default on the
// photograph of the README. It reports the CPU time of the whole process, including the
// garbage collector, because CPU time is comparable on a loaded machine and wall-clock
// time is not. prepare returns the work for an image.
func Bench(b *testing.B, prepare func(b *testing.B, data []byte) (work func() error)) {
	files := []string{filepath.Join("..", "docs", "sunrise.jpg")}
	if dir := os.Getenv("BENCH_PICTURES"); dir != "" {
		var err error
		if files, err = filepath.Glob(filepath.Join(dir, "*.jpg")); err != nil || len(files) == 0 {
			b.Fatalf("no images in %s: %v", dir, err)
		}
	}
	for _, file := range files {
		b.Run(strings.TrimSuffix(filepath.Base(file), ".jpg"), func(b *testing.B) {
			data, err := os.ReadFile(file) //nolint:gosec // The images in BENCH_PICTURES.
			if err != nil {
				b.Fatal(err)
			}
			work := prepare(b, data)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			start := cpuTime(b)
			for b.Loop() {
				if err := work(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime(b)-start).Seconds()*1e3/float64(b.N), "cpu-ms/op")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
