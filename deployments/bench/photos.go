package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/disintegration/imaging"
)

// photograph is the source of the test photos: an original file of a Samsung phone,
// 4032×2268 pixels. The module bep/imagemeta, on which the analyzer depends, ships it
// under the MIT license.
const photograph = "testdata/images/hugo-issue-12669.jpg"

// photo is a JPEG file that the benchmark sends.
type photo struct {
	name          string
	data          []byte
	width, height int
}

// scaled is a copy of the photograph. The JPEG quality is chosen for the file size that
// is usual for its number of pixels.
type scaled struct {
	name           string
	width, quality int
}

var (
	wanted = []scaled{{"2MP", 1888, 53}, {"12MP", 4620, 77}}
	// wantedSmall is for fleets of analyzers: describing it takes almost no CPU time.
	wantedSmall = scaled{"small", 480, 1}
)

// draw writes scaled copies of the photograph with its EXIF into the folder pictures.
// If jpegtran is installed, it also writes a progressive version of the last one.
func (s *system) draw(ctx context.Context, all ...scaled) ([]photo, error) {
	progress("creating the test photos")
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bep/imagemeta")
	cmd.Dir, cmd.Env = filepath.Join(s.root, "analyzer"), append(os.Environ(), "GOWORK=off")
	folder, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find the photograph's module: %w", err)
	}
	original, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), photograph))
	if err != nil {
		return nil, fmt.Errorf("read the photograph: %w", err)
	}
	whole, err := jpeg.Decode(bytes.NewReader(original))
	if err != nil {
		return nil, fmt.Errorf("decode the photograph: %w", err)
	}
	// EXIF is the first segment: SOI, the marker of APP1, a length that counts itself.
	soi, exif := original[:2], original[2:4+int(binary.BigEndian.Uint16(original[4:]))]
	if !bytes.HasPrefix(exif[4:], []byte("Exif\x00")) {
		return nil, errors.New("the photograph has no EXIF")
	}
	var drawn []photo
	file := ""
	for _, w := range all {
		m := imaging.Resize(whole, w.width, 0, imaging.CatmullRom)
		var encoded bytes.Buffer
		if err := jpeg.Encode(&encoded, m, &jpeg.Options{Quality: w.quality}); err != nil {
			return nil, fmt.Errorf("encode photo: %w", err)
		}
		p := photo{name: w.name, data: bytes.Join([][]byte{soi, exif, encoded.Bytes()[len(soi):]}, nil), width: m.Rect.Dx(), height: m.Rect.Dy()}
		file = filepath.Join(s.dir, "pictures", p.name+".jpg")
		if err := os.WriteFile(file, p.data, 0o600); err != nil {
			return nil, fmt.Errorf("write photo: %w", err)
		}
		drawn = append(drawn, p)
	}
	if _, err := exec.LookPath("jpegtran"); err == nil {
		progressive := strings.TrimSuffix(file, ".jpg") + "-progressive.jpg"
		out, err := exec.CommandContext(ctx, "jpegtran", "-progressive", "-copy", "all", "-outfile", progressive, file).CombinedOutput() //nolint:gosec // The files are ours.
		if err != nil {
			return nil, fmt.Errorf("jpegtran: %w: %s", err, out)
		}
	}
	return drawn, nil
}
