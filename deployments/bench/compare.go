package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/disintegration/imaging"
)

// buildBenchmarks builds the Go benchmarks of the analyzer and the processor. They
// measure internal packages, which this module cannot import.
func (s *system) buildBenchmarks(ctx context.Context) error {
	progress("building the benchmarks of the analyzer and the processor")
	for _, service := range []string{"analyzer", "processor"} {
		if err := s.goBuild(ctx, service, "test", "-c", "-o", filepath.Join(s.dir, "bin", service+".test"), "."); err != nil {
			return err
		}
	}
	return nil
}

// compare adds the results that are measured without the system.
func (s *system) compare(ctx context.Context, r *report, size size) error {
	describe, err1 := s.benchmark(ctx, "analyzer", "BenchmarkDescribe", size)
	decode, err2 := s.benchmark(ctx, "analyzer", "BenchmarkDecode", size)
	embed, err3 := s.benchmark(ctx, "processor", "BenchmarkMake", size)
	err := errors.Join(err1, err2, err3)
	if err != nil {
		return err
	}
	for _, c := range r.columns {
		c.describe, c.embed = describe[c.photo.name], embed[c.photo.name]
		if c.naive, err = cpuOf(size.rounds, 1, size.part/5, func() error { return naive(ctx, c.photo.data) }); err != nil {
			return err
		}
	}
	r.decoders, err = s.compareDecoders(ctx, decode, size)
	return err
}

// benchmark returns the CPU ms per operation of a benchmark, by the name of the photo.
func (s *system) benchmark(ctx context.Context, service, name string, size size) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "bin", service+".test"), //nolint:gosec // This program built it.
		"-test.run=^$", "-test.bench=^"+name+"$", "-test.count="+strconv.Itoa(size.rounds), "-test.benchtime="+strconv.Itoa(size.alone)+"x")
	cmd.Dir, cmd.Env = filepath.Join(s.root, service), append(os.Environ(), "BENCH_PICTURES="+filepath.Join(s.dir, "pictures"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w\n%s", name, err, out)
	}
	return cpuMedians(string(out), name)
}

// cpuMedians parses the output of go test, with lines such as
//
//	BenchmarkDescribe/2MP-2   10   12345 ns/op   11.9 cpu-ms/op   9 allocs/op
//
// and returns the median of cpu-ms/op for each sub-benchmark.
func cpuMedians(out, benchmark string) (map[string]float64, error) {
	all, medians := map[string][]float64{}, map[string]float64{}
	line := regexp.MustCompile(`(?m)^` + benchmark + `/(\S+?)(?:-\d+)?\s.*?(\S+) cpu-ms/op`) // -2 is the number of processors, if more than one
	for _, m := range line.FindAllStringSubmatch(out, -1) {
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", m[0], err)
		}
		all[m[1]] = append(all[m[1]], value)
		medians[m[1]] = median(all[m[1]])
	}
	return medians, nil
}

// naive is a straightforward first version of the pipeline: it decodes the whole photo,
// rotates it upright, scales it with the best filter, encodes the thumbnail, and lets
// exiftool write the metadata. It has an advantage: it computes no statistics, palette
// or hashes of the image, and stores nothing.
func naive(ctx context.Context, data []byte) error {
	m, err := imaging.Decode(bytes.NewReader(data), imaging.AutoOrientation(true))
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	thumbnail := imaging.Fit(m, 320, 320, imaging.Lanczos)
	if err := jpeg.Encode(io.Discard, thumbnail, &jpeg.Options{Quality: 80}); err != nil {
		return fmt.Errorf("encode thumbnail: %w", err)
	}
	//nolint:gosec // No argument comes from a client.
	cmd := exec.CommandContext(ctx, "exiftool", "-q", "-XMP-dc:Description="+strconv.Itoa(m.Bounds().Dx())+" pixels wide",
		fmt.Sprintf("-XMP-dc:Identifier=%x", sha256.Sum256(data)), "-")
	cmd.Stdin = bytes.NewReader(data)
	written, err := cmd.Output()
	if err == nil && len(written) <= len(data) {
		err = errors.New("the metadata is missing")
	}
	if err != nil {
		return fmt.Errorf("exiftool: %w", err)
	}
	return nil
}

// decoding compares ways to decode a photo at an eighth of its size, in CPU ms; 0 if the
// program is not installed.
type decoding struct {
	photo      string
	kilobytes  float64
	standard   float64 // image/jpeg, which decodes the full size
	ours       float64
	turbo      float64 // libjpeg-turbo's djpeg at 1/8, without its startup time
	turboWhole float64
}

// compareDecoders decodes every photo of the folder. The results of our decoder are passed in.
func (s *system) compareDecoders(ctx context.Context, ours map[string]float64, size size) ([]decoding, error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "pictures", "*.jpg"))
	if err != nil {
		return nil, fmt.Errorf("list photos: %w", err)
	}
	var all []decoding
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read photo: %w", err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".jpg")
		standard, err1 := cpuOf(size.rounds, size.alone, size.part/10, func() error {
			_, err := jpeg.Decode(bytes.NewReader(data))
			return err
		})
		turbo, err2 := djpeg(ctx, data, size, "-scale", "1/8")
		turboWhole, err3 := djpeg(ctx, data, size)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("decode %s: %w", file, err)
		}
		all = append(all, decoding{name, float64(len(data)) / 1e3, standard, ours[name], turbo, turboWhole})
	}
	return all, nil
}

// djpeg returns the CPU ms of libjpeg-turbo's program for a photo, minus those for an
// image of 8×8 pixels, which are its startup time. Writing the decoded photo to /dev/null
// is included and takes almost no time. It returns 0 if djpeg is not installed.
func djpeg(ctx context.Context, data []byte, size size, args ...string) (float64, error) {
	if _, err := exec.LookPath("djpeg"); err != nil {
		return 0, nil //nolint:nilerr // The table contains a dash then.
	}
	var dot bytes.Buffer
	if err := jpeg.Encode(&dot, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		return 0, fmt.Errorf("encode the 8×8 image: %w", err)
	}
	run := func(data []byte) (float64, error) {
		return cpuOf(size.rounds, size.alone, size.part/10, func() error {
			cmd := exec.CommandContext(ctx, "djpeg", append(args, "-outfile", os.DevNull)...) //nolint:gosec // The options are ours.
			cmd.Stdin = bytes.NewReader(data)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("djpeg: %w: %s", err, out)
			}
			return nil
		})
	}
	start, err := run(dot.Bytes())
	if err != nil {
		return 0, err
	}
	whole, err := run(data)
	return max(whole-start, 0), err
}

// cpuOf returns the CPU ms per call of do: the median of several rounds of n calls each.
// It runs fewer rounds if they exceed the limit.
func cpuOf(rounds, n int, limit time.Duration, do func() error) (float64, error) {
	var all []float64
	for started := time.Now(); len(all) < rounds && (len(all) == 0 || time.Since(started) < limit); {
		before := ownTime()
		for range n {
			if err := do(); err != nil {
				return 0, err
			}
		}
		all = append(all, ms(ownTime()-before)/float64(n))
	}
	return median(all), nil
}
