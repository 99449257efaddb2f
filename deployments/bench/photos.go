package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

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
	table         int           // offset of the values of the first quantization table
	options       string        // further members of a batch, each followed by a comma
	varied        *atomic.Int64 // number of the last image; nil: all images are equal
}

// next returns the file of the next image. If images vary, it is another picture of the same size: the stored answers of
// vision models do not apply to it. It differs in what the finest details of the picture are multiplied with.
func (p photo) next() []byte {
	if p.varied == nil {
		return p.data
	}
	n := int(p.varied.Add(1))
	data := bytes.Clone(p.data)
	data[p.table+62], data[p.table+63] = byte(1+n/255%255), byte(1+n%255) // 0 is not valid
	return data
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

// newPhoto encodes an image and inserts the segment with the EXIF.
func newPhoto(w scaled, m image.Image, exif []byte) (photo, error) {
	var encoded bytes.Buffer
	if err := jpeg.Encode(&encoded, m, &jpeg.Options{Quality: w.quality}); err != nil {
		return photo{}, fmt.Errorf("encode photo: %w", err)
	}
	soi, rest := encoded.Bytes()[:2], encoded.Bytes()[2:]
	return photo{
		name: w.name, data: bytes.Join([][]byte{soi, exif, rest}, nil), width: m.Bounds().Dx(), height: m.Bounds().Dy(),
		// image/jpeg writes the tables first: a marker, a length, the number of the table, and its values.
		table: len(soi) + len(exif) + 2 + 2 + 1,
	}, nil
}

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
	exif := original[2 : 4+int(binary.BigEndian.Uint16(original[4:]))]
	if !bytes.HasPrefix(exif[4:], []byte("Exif\x00")) {
		return nil, errors.New("the photograph has no EXIF")
	}
	var drawn []photo
	file := ""
	for _, w := range all {
		p, err := newPhoto(w, imaging.Resize(whole, w.width, 0, imaging.CatmullRom), exif)
		if err != nil {
			return nil, err
		}
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
