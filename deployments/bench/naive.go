package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"os/exec"
	"strconv"
	"time"

	"github.com/disintegration/imaging"
)

// naive tells what the pipeline costs that one would write first, in CPU ms an
// image: decode the whole picture, turn it upright, scale it with the best filter,
// encode the thumbnail, and let exiftool write the metadata. It is flattered: it
// computes no statistics, palette or hashes of the picture, and stores nothing.
func naive(ctx context.Context, p picture, size size) (float64, error) {
	var all []float64
	begun := time.Now()
	for len(all) < size.naive && (len(all) == 0 || time.Since(begun) < size.part/5) {
		before := ownTime()
		if err := naiveImage(ctx, p.data); err != nil {
			return 0, err
		}
		all = append(all, ms(ownTime()-before))
	}
	return median(all), nil
}

func naiveImage(ctx context.Context, data []byte) error {
	m, err := imaging.Decode(bytes.NewReader(data), imaging.AutoOrientation(true))
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	thumbnail := imaging.Fit(m, 320, 320, imaging.Lanczos)
	if err := jpeg.Encode(io.Discard, thumbnail, &jpeg.Options{Quality: 80}); err != nil {
		return fmt.Errorf("encode thumbnail: %w", err)
	}
	//nolint:gosec // Nothing of the arguments is a stranger's.
	cmd := exec.CommandContext(ctx, "exiftool", "-q", "-XMP-dc:Description="+strconv.Itoa(m.Bounds().Dx())+" pixels wide",
		fmt.Sprintf("-XMP-dc:Identifier=%x", sha256.Sum256(data)), "-")
	cmd.Stdin = bytes.NewReader(data)
	written, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("exiftool: %w", err)
	}
	if len(written) <= len(data) {
		return errors.New("exiftool wrote nothing")
	}
	return nil
}
