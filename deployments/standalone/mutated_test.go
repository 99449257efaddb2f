package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// TestMutatedFiles sends images with random damage through a running analyzer and
// processor. It verifies that each image either fails with its own error or completes as a
// valid image, that none kills or blocks a stage or makes a decoder panic, and that memory
// stays bounded. Every run uses the same files; PROVE=1 tests 10,000 of them.
func TestMutatedFiles(t *testing.T) {
	files := 500
	if os.Getenv("PROVE") != "" {
		files = 10_000
	}
	const pixelBytes, bound = 64 << 20, 256 << 20
	originals, processed := openDir(t), openDir(t)
	queue := membroker.New(pipeline.WorkQueues()...)
	started := time.Now()

	ctx, stop := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	results := make(chan pipeline.Result)
	g.Go(func() error { return runAnalyzer(ctx, queue, originals, pixelBytes) })
	g.Go(func() error { return runProcessor(ctx, queue, originals, processed) })
	g.Go(func() error {
		return queue.Consume(ctx, pipeline.ImageProcessed.Name, 10, func(ctx context.Context, dv broker.Delivery) error {
			var r pipeline.Result
			if err := json.Unmarshal(dv.Body, &r); err != nil {
				return err
			}
			select {
			case results <- r:
			case <-ctx.Done():
			}
			return dv.Ack()
		})
	})
	sources := sourceImages(t)
	runtime.GC() // frees the garbage from creating them
	// The number of images in a batch.
	const concurrent = 100
	sent, ended, codes, peak := 0, map[int]bool{}, map[string]int{}, uint64(0)
	for len(ended) < files {
		for ; sent < files && sent-len(ended) < concurrent; sent++ {
			send(t, queue, originals, sent, mutated(sources, sent))
		}
		select {
		case r := <-results:
			if ended[r.Index] {
				t.Errorf("file %d ended twice", r.Index)
			}
			ended[r.Index] = true
			codes[r.ErrorCode]++
			check(t, processed, r)
		case <-ctx.Done():
			t.Fatalf("a stage ended: %v", g.Wait())
		}
		peak = max(peak, liveBytes())
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if err := queue.Close(); err != nil {
		t.Error(err)
	}
	if peak > bound {
		t.Errorf("%d MiB on the heap, want at most %d", peak>>20, bound>>20)
	}
	if codes[""] < files/10 || codes[pipeline.CodeDamaged] < files/10 {
		t.Errorf("the damage is too heavy or too light: %v", codes)
	}
	t.Logf("%d files, %d completed, failed by code: %v; at most %d MiB on the heap, %s",
		files, codes[""], codes, peak>>20, time.Since(started).Round(time.Second))
}

// check verifies that the stored file of a completed image is a valid image.
func check(t *testing.T, processed objectstore.Store, r pipeline.Result) {
	t.Helper()
	switch r.ErrorCode {
	case pipeline.CodeDamaged, pipeline.CodeUnsupportedFormat, pipeline.CodeNotAnImage, pipeline.CodeTooManyPixels:
	case "":
		data, err := objectstore.ReadAll(t.Context(), processed, r.ProcessedPath, imagetest.MaxBytes)
		if err != nil {
			t.Errorf("file %d completed: %v", r.Index, err)
			return
		}
		if _, err := imagefile.Read(data, imagefile.Limits{}); err != nil {
			t.Errorf("file %d completed, but the stored file is not a valid image: %v", r.Index, err)
		}
	default:
		t.Errorf("file %d ended as %s: %s", r.Index, r.ErrorCode, r.Error)
	}
}

func openDir(t *testing.T) *dirstore.Store {
	t.Helper()
	s, err := dirstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func runAnalyzer(ctx context.Context, b broker.Broker, originals objectstore.Store, pixelBytes int64) error {
	c, err := analyzer.Config{MaxPixelBytes: pixelBytes}.Complete()
	if err != nil {
		return err
	}
	s, err := analyzer.New(ctx, c, analyzer.Deps{
		Broker: b, Originals: originals, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(),
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func runProcessor(ctx context.Context, b broker.Broker, originals, processed objectstore.Store) error {
	c, err := processor.Config{}.Complete()
	if err != nil {
		return err
	}
	s, err := processor.New(ctx, c, processor.Deps{
		Broker: b, Originals: originals, Processed: processed, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(),
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func send(t *testing.T, b broker.Broker, originals objectstore.Store, index int, data []byte) {
	t.Helper()
	sum := sha256.Sum256(data)
	u := pipeline.Upload{
		Envelope: pipeline.NewEnvelope("mutated", index, time.Now()), OriginalFilename: fmt.Sprintf("%d.jpg", index),
		Size: int64(len(data)), ContentType: "image/jpeg", SHA256: hex.EncodeToString(sum[:]),
	}
	u.OriginalPath = pipeline.OriginalKey(u.TraceID, u.OriginalFilename)
	if err := originals.Put(t.Context(), u.OriginalPath, objectstore.Content{Data: data, Type: u.ContentType}); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), pipeline.ImageUpload.Name, broker.Message{Body: body}); err != nil {
		t.Fatal(err)
	}
}

// liveBytes returns the bytes of heap objects, including dead ones that are not yet collected.
func liveBytes() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// sourceImages returns the images to damage: every encoding among the test images of the Go
// distribution, small generated ones, a photo with metadata of every kind, and the small
// bombs that are valid images.
func sourceImages(t *testing.T) [][]byte {
	t.Helper()
	var list [][]byte
	for _, pattern := range []string{"testdata/*.jpeg", "testdata/*.png", "png/testdata/pngsuite/*.png"} {
		names, err := filepath.Glob(filepath.Join(runtime.GOROOT(), "src", "image", pattern)) //nolint:staticcheck // The tests run where they were built.
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			list = append(list, readFile(t, name))
		}
	}
	for _, b := range imagetest.All() {
		if b.Want == "" && len(b.Data) < 20_000 {
			list = append(list, b.Data)
		}
	}
	return append(list, photo(t), imagetest.JPEG(960, 640), imagetest.PNG(300, 200))
}

// mutated returns file number n: one of the images with a few bytes changed, removed,
// duplicated or moved, mostly near the start, where headers and metadata are. In most PNGs
// the checksums are fixed, because otherwise no damage behind them would be reached.
func mutated(images [][]byte, number int) []byte {
	random := rand.New(rand.NewPCG(17, uint64(number))) //nolint:gosec // Repeatable.
	data := bytes.Clone(images[random.IntN(len(images))])
	for range 1 + random.IntN(3) {
		if len(data) < 16 {
			break
		}
		reach := len(data)
		if random.IntN(3) > 0 {
			reach = min(reach, 2000)
		}
		at := random.IntN(reach)
		n := min(1+random.IntN(64), len(data)-at)
		switch random.IntN(15) {
		default:
			data[at] ^= 1 << random.IntN(8)
		case 2:
			data[at] = []byte{0, 0x7f, 0x80, 0xff}[random.IntN(4)]
		case 3: // a length
			if at+4 <= len(data) {
				binary.BigEndian.PutUint32(data[at:], []uint32{0, 1, 0x7fffffff, 0xffffffff, 0xffff0000, random.Uint32()}[random.IntN(6)])
			}
		case 4:
			data = append(data[:at:at], data[at+n:]...)
		case 5:
			data = append(data[:at+n:at+n], data[at:]...)
		case 6:
			copy(data[at:at+n], data[random.IntN(len(data)):])
		case 7:
			data = data[:len(data)-random.IntN(len(data)/4+1)]
		}
	}
	if random.IntN(4) > 0 {
		fixChecksums(data)
	}
	return data
}

// fixChecksums sets the checksums of a PNG as far as its chunks can be parsed.
func fixChecksums(data []byte) {
	if !bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")) {
		return
	}
	for rest := data[8:]; len(rest) >= 12; {
		n := int64(binary.BigEndian.Uint32(rest))
		if n > int64(len(rest)-12) {
			return
		}
		binary.BigEndian.PutUint32(rest[8+n:], crc32.ChecksumIEEE(rest[4:8+n]))
		rest = rest[12+n:]
	}
}
