package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// benchmarks are the analyzer's and the processor's own Go benchmarks, built. What
// they measure lies in internal packages, which are closed to this module, so
// they are asked for it as anybody would: by running them.
type benchmarks struct {
	root, dir string
	pictures  string // the folder that they take their pictures from
}

func buildAlone(ctx context.Context, root, dir string) (*benchmarks, error) {
	b := &benchmarks{root: root, dir: dir, pictures: filepath.Join(dir, "pictures")}
	for _, service := range []string{"analyzer", "processor"} {
		if err := goBuild(ctx, filepath.Join(root, service), "test", "-c", "-o", b.binary(service), "."); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *benchmarks) binary(service string) string {
	return filepath.Join(b.dir, "bin", service+".test")
}

// floor is the least that an image can cost, in CPU ms by the name of the picture.
type floor struct {
	describe, make map[string]float64
	decode         map[string]float64 // only decoding, at an eighth
}

func (b *benchmarks) measure(ctx context.Context, size size) (*floor, error) {
	f := &floor{}
	for _, part := range []struct {
		service, benchmark string
		into               *map[string]float64
	}{
		{"analyzer", "BenchmarkDescribe", &f.describe},
		{"analyzer", "BenchmarkDecode", &f.decode},
		{"processor", "BenchmarkMake", &f.make},
	} {
		cmd := exec.CommandContext(ctx, b.binary(part.service), //nolint:gosec // Built just now.
			"-test.run=^$", "-test.bench=^"+part.benchmark+"$", "-test.count="+strconv.Itoa(size.rounds), "-test.benchtime="+strconv.Itoa(size.alone)+"x")
		cmd.Dir, cmd.Env = filepath.Join(b.root, part.service), append(os.Environ(), "BENCH_PICTURES="+b.pictures)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("run %s: %w\n%s", part.benchmark, err, out)
		}
		if *part.into, err = cpuMedians(string(out), part.benchmark); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// cpuMedians reads what go test prints, lines such as
//
//	BenchmarkDescribe/2MP-2   10   12345 ns/op   11.9 cpu-ms/op   9 allocs/op
//
// and gives the median of cpu-ms/op by the name below the benchmark's.
func cpuMedians(out, benchmark string) (map[string]float64, error) {
	all := map[string][]float64{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], benchmark+"/") {
			continue
		}
		name := strings.TrimPrefix(fields[0], benchmark+"/")
		if before, procs, ok := cutLast(name, "-"); ok { // the number of processors, if more than one
			if _, err := strconv.Atoi(procs); err == nil {
				name = before
			}
		}
		for i := 3; i < len(fields); i += 2 {
			if fields[i] != "cpu-ms/op" {
				continue
			}
			figure, err := strconv.ParseFloat(fields[i-1], 64)
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", line, err)
			}
			all[name] = append(all[name], figure)
		}
	}
	medians := map[string]float64{}
	for name, figures := range all {
		medians[name] = median(figures)
	}
	return medians, nil
}
