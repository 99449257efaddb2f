package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/disintegration/imaging"
)

// photograph is where the pictures come from: a photograph of 4032×2268 pixels
// as a Samsung phone wrote it. The module bep/imagemeta, on which the analyzer
// depends, ships it under the MIT licence.
const photograph = "testdata/images/hugo-issue-12669.jpg"

// picture is one of the JPEG files that are sent.
type picture struct {
	name          string
	data          []byte
	width, height int
}

// wanted are the pictures to make of the photograph.
var wanted = []struct {
	name  string
	width int
	bytes int
}{
	{"2MP", 1888, 400e3},
	{"12MP", 4620, 3000e3},
}

// The picture for fleets of analyzers is one whose description is next to no work.
const (
	smallWidth = 480
	smallBytes = 16e3
)

// makeSmall makes the small picture.
func makeSmall(ctx context.Context, root string) (picture, error) {
	whole, exif, err := readPhotograph(ctx, root)
	if err != nil {
		return picture{}, err
	}
	return scaledCopy(whole, exif, "small", smallWidth, smallBytes)
}

// readPhotograph decodes the photograph and gives its EXIF.
func readPhotograph(ctx context.Context, root string) (image.Image, []byte, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bep/imagemeta")
	cmd.Dir, cmd.Env = filepath.Join(root, "analyzer"), append(os.Environ(), "GOWORK=off")
	folder, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("find the photograph's module: %w", err)
	}
	original, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), photograph))
	if err != nil {
		return nil, nil, fmt.Errorf("read the photograph: %w", err)
	}
	whole, err := jpeg.Decode(bytes.NewReader(original))
	if err != nil {
		return nil, nil, fmt.Errorf("decode the photograph: %w", err)
	}
	exif, err := exifSegment(original)
	return whole, exif, err
}

// scaledCopy is the photograph in another width, and about so many bytes.
func scaledCopy(whole image.Image, exif []byte, name string, width, size int) (picture, error) {
	scaled := imaging.Resize(whole, width, 0, imaging.CatmullRom)
	p := picture{name: name, width: scaled.Rect.Dx(), height: scaled.Rect.Dy()}
	var err error
	p.data, err = encodeNear(scaled, exif, size)
	return p, err
}

// makePictures writes scaled copies of the photograph into dir, in the quality
// that comes nearest to their size in bytes, with the EXIF of the original; and, where
// jpegtran is installed, the largest as a progressive file besides, for the decoders only.
func makePictures(ctx context.Context, root, dir string) ([]picture, error) {
	whole, exif, err := readPhotograph(ctx, root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make folder of the pictures: %w", err)
	}
	var made []picture
	for _, w := range wanted {
		p, err := scaledCopy(whole, exif, w.name, w.width, w.bytes)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, w.name+".jpg")
		if err := os.WriteFile(file, p.data, 0o600); err != nil {
			return nil, fmt.Errorf("write picture: %w", err)
		}
		made = append(made, p)
	}
	if _, err := exec.LookPath("jpegtran"); err == nil {
		largest := filepath.Join(dir, wanted[len(wanted)-1].name)
		//nolint:gosec // Our own files.
		out, err := exec.CommandContext(ctx, "jpegtran", "-progressive", "-copy", "all", "-outfile", largest+"-progressive.jpg", largest+".jpg").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("jpegtran: %w: %s", err, out)
		}
	}
	return made, nil
}

// encodeNear encodes the picture, 4:2:0 as photographs are, in the quality whose
// size in bytes is nearest to the wanted one.
func encodeNear(m image.Image, exif []byte, size int) ([]byte, error) {
	var best []byte
	for low, high := 1, 100; low <= high; {
		quality := (low + high) / 2
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
			return nil, fmt.Errorf("encode picture: %w", err)
		}
		const start = 2 // bytes of the SOI marker, behind which EXIF belongs
		data := append(append(bytes.Clone(b.Bytes()[:start]), exif...), b.Bytes()[start:]...)
		if best == nil || abs(len(data)-size) < abs(len(best)-size) {
			best = data
		}
		if len(data) > size {
			high = quality - 1
		} else {
			low = quality + 1
		}
	}
	return best, nil
}

func abs(n int) int { return max(n, -n) }

// exifSegment is the APP1 segment of EXIF, marker included.
func exifSegment(file []byte) ([]byte, error) {
	for at := 2; at+10 < len(file) && file[at] == 0xff; {
		next := at + 2 + int(file[at+2])<<8 + int(file[at+3])
		if next > len(file) {
			break
		}
		if file[at+1] == 0xe1 && bytes.HasPrefix(file[at+4:], []byte("Exif\x00")) {
			return file[at:next], nil
		}
		at = next
	}
	return nil, errors.New("the photograph has no EXIF")
}

// element is the picture as an element of a batch.
func (p picture) element() []byte {
	text := append([]byte(`{"name":"`+p.name+`.jpg","base64":"`), base64.StdEncoding.AppendEncode(nil, p.data)...)
	return append(text, `"}`...)
}
