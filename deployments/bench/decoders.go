package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// decoding compares ways to a picture of an eighth of the size, in CPU ms; 0
// stands for one that is not there.
type decoding struct {
	picture    string
	kilobytes  float64
	standard   float64 // image/jpeg, which decodes the whole
	ours       float64
	turbo      float64 // libjpeg-turbo's djpeg at 1/8, its start subtracted
	turboWhole float64
}

// compareDecoders decodes every picture of the folder. ours was measured already.
func compareDecoders(ctx context.Context, dir string, ours map[string]float64, size size) ([]decoding, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil {
		return nil, fmt.Errorf("list pictures: %w", err)
	}
	_, missing := exec.LookPath("djpeg")
	var all []decoding
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read picture: %w", err)
		}
		d := decoding{picture: strings.TrimSuffix(filepath.Base(file), ".jpg"), kilobytes: float64(len(data)) / 1e3}
		d.ours = ours[d.picture]
		if d.standard, err = cpuOf(size, func() error {
			_, err := jpeg.Decode(bytes.NewReader(data))
			return err
		}); err != nil {
			return nil, fmt.Errorf("decode %s: %w", file, err)
		}
		if missing == nil {
			if d.turbo, err = djpeg(ctx, data, size, "-scale", "1/8"); err != nil {
				return nil, err
			}
			if d.turboWhole, err = djpeg(ctx, data, size); err != nil {
				return nil, err
			}
		}
		all = append(all, d)
	}
	return all, nil
}

// djpeg tells what libjpeg-turbo's program spends on a picture less what it spends
// on one of eight pixels, which is its start. That leaves the writing of the
// decoded picture in, to nowhere: next to nothing.
func djpeg(ctx context.Context, data []byte, size size, args ...string) (float64, error) {
	var dot bytes.Buffer
	if err := jpeg.Encode(&dot, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		return 0, fmt.Errorf("encode a dot: %w", err)
	}
	run := func(data []byte) func() error {
		return func() error {
			cmd := exec.CommandContext(ctx, "djpeg", append(args, "-outfile", os.DevNull)...) //nolint:gosec // Options of ours.
			cmd.Stdin = bytes.NewReader(data)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("djpeg: %w: %s", err, out)
			}
			return nil
		}
	}
	start, err := cpuOf(size, run(dot.Bytes()))
	if err != nil {
		return 0, err
	}
	whole, err := cpuOf(size, run(data))
	return max(whole-start, 0), err
}

// cpuOf is the median over the rounds of what one call of do spends.
func cpuOf(size size, do func() error) (float64, error) {
	var all []float64
	begun := time.Now()
	for len(all) < size.rounds && (len(all) == 0 || time.Since(begun) < size.part/10) {
		before := ownTime()
		for range size.alone {
			if err := do(); err != nil {
				return 0, err
			}
		}
		all = append(all, ms(ownTime()-before)/float64(size.alone))
	}
	return median(all), nil
}
