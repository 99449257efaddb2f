package describe

import (
	"bufio"
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	scale "golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/imagebatch/imagebatch/analyzer/internal/scaledpng"
)

// BenchmarkPNG measures the times of decoding a PNG of 2 megapixels to a working copy of 320 pixels, and of describing
// it as a whole. It reports their ratios to the times in which image/png and Pillow decode the whole image. All four run
// alternately; the times are medians of CPU times, user and system. -benchtime=5x takes those of five.
func BenchmarkPNG(b *testing.B) {
	photograph, screen := photograph(b), screenshot(b)
	for _, c := range []struct {
		name string
		m    image.Image
	}{
		{"photograph", photograph},
		{"photograph RGBA", withAlpha(photograph)},
		{"photograph gray", drawn(photograph, image.NewGray(photograph.Bounds()))},
		{"screenshot", screen},
		{"screenshot RGBA", withAlpha(screen)},
	} {
		b.Run(c.name, func(b *testing.B) {
			data := compressedPNG(b, c.m)
			pillow := startPillow(b, data)
			size := c.m.Bounds().Size()
			d := New(Config{})
			var whole, scaled, described, others []time.Duration
			for b.Loop() {
				whole = append(whole, cpuTime(b, func() error {
					_, err := png.Decode(bytes.NewReader(data))
					return err
				}))
				runtime.GC() // the garbage of image/png; pools survive one collection
				scaled = append(scaled, cpuTime(b, func() error {
					_, err := scaledpng.Decode(b.Context(), data, 320, 320*size.Y/size.X)
					return err
				}))
				described = append(described, cpuTime(b, func() error {
					_, _, err := d.Describe(b.Context(), data)
					return err
				}))
				if pillow != nil {
					others = append(others, pillow())
				}
			}
			for _, work := range []struct {
				name  string
				times []time.Duration
			}{{"decode", scaled}, {"describe", described}} {
				b.ReportMetric(median(work.times).Seconds()*1e3, work.name+"-ms")
				b.ReportMetric(float64(median(work.times))/float64(median(whole)), work.name+"÷image/png")
				if pillow != nil {
					b.ReportMetric(float64(median(work.times))/float64(median(others)), work.name+"÷Pillow")
				}
			}
			b.ReportMetric(float64(len(data))/1e6, "MB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpuTime returns the CPU time that this process needs for some work.
func cpuTime(b *testing.B, work func() error) time.Duration {
	b.Helper()
	spent := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	start := spent()
	if err := work(); err != nil {
		b.Fatal(err)
	}
	return spent() - start
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// photograph returns a photo of a phone, scaled to 2 megapixels, that the module imagemeta contains.
func photograph(b *testing.B) image.Image {
	b.Helper()
	dir, err := exec.CommandContext(b.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bep/imagemeta").Output()
	if err != nil {
		b.Skip("the module github.com/bep/imagemeta is not there")
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "testdata/images/hugo-issue-12669.jpg"))
	if err != nil {
		b.Skip(err)
	}
	defer f.Close() //nolint:errcheck // A file that was only read.
	m, err := jpeg.Decode(f)
	if err != nil {
		b.Fatal(err)
	}
	scaled := image.NewRGBA(image.Rect(0, 0, 1888, 1062))
	scale.CatmullRom.Scale(scaled, scaled.Bounds(), m, m.Bounds(), scale.Src, nil)
	return scaled
}

// drawn returns a copy of an image in another memory layout.
func drawn(m image.Image, to draw.Image) image.Image {
	draw.Draw(to, to.Bounds(), m, image.Point{}, draw.Src)
	return to
}

// withAlpha returns a copy of an image that is stored with alpha, because one corner is translucent.
func withAlpha(m image.Image) image.Image {
	out := image.NewNRGBA(m.Bounds())
	drawn(m, out)
	out.Pix[3] = 128
	return out
}

// screenshot returns an image like those of screens: text, lines and plain surfaces in 1920×1080.
func screenshot(b *testing.B) image.Image {
	b.Helper()
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		b.Fatal(err)
	}
	m := image.NewRGBA(image.Rect(0, 0, 1920, 1080))
	fill := func(x0, y0, x1, y1 int, c color.Color) {
		draw.Draw(m, image.Rect(x0, y0, x1, y1), image.NewUniform(c), image.Point{}, draw.Src)
	}
	fill(0, 0, 1920, 1080, color.White)
	fill(0, 0, 1920, 56, color.RGBA{32, 40, 64, 255})
	fill(0, 56, 260, 1080, color.RGBA{238, 240, 250, 255})
	write := func(x, y, size int, c color.Color, text string) {
		face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: float64(size), DPI: 72})
		if err != nil {
			b.Fatal(err)
		}
		d := font.Drawer{Dst: m, Src: image.NewUniform(c), Face: face, Dot: fixed.P(x, y)}
		d.DrawString(text)
	}
	write(20, 38, 24, color.White, "Batches, images and webhooks")
	for i := range 40 {
		y := 90 + 24*i
		write(20, y, 15, color.RGBA{20, 20, 60, 255}, fmt.Sprintf("Batch %d of today", 7919*i%1000))
		fill(280, y+6, 1900, y+7, color.RGBA{210, 210, 210, 255})
		fill(300, y-14, 312, y-2, color.RGBA{uint8(40 * (i % 5)), 160, 90, 255})
		write(330, y, 14, color.Black, fmt.Sprintf("image-%04d.jpg was completed after %d ms; its thumbnail has %d bytes, and its record lists %d colors and %d warnings", i*37, i*i%97, 7919*i%9000, i%6, i%3))
		write(1320, y, 14, color.RGBA{90, 90, 90, 255}, fmt.Sprintf("from the gateway at 10:%02d:%02d, retried %d times, %x", i, 59-i, i%4, 104729*i))
	}
	return m
}

// startPillow starts Python with Pillow and returns a function that decodes the file once and returns how long
// that took, or nil if Pillow is not there.
func startPillow(b *testing.B, data []byte) func() time.Duration {
	b.Helper()
	const script = `
import io, sys, time
from PIL import Image
data = open(sys.argv[1], 'rb').read()
print('ready', flush=True)
for line in sys.stdin:
    start = time.process_time()
    Image.open(io.BytesIO(data)).load()
    print(time.process_time() - start, flush=True)
`
	file := filepath.Join(b.TempDir(), "image.png")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		b.Fatal(err)
	}
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		cmd := exec.CommandContext(b.Context(), python, "-c", script, file)
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if cmd.Start() != nil {
			continue
		}
		if !lines.Scan() || lines.Text() != "ready" {
			_ = cmd.Wait()
			continue
		}
		b.Cleanup(func() {
			_ = in.Close()
			_ = cmd.Wait()
		})
		return func() time.Duration {
			_, _ = io.WriteString(in, "\n")
			lines.Scan()
			took, err := time.ParseDuration(lines.Text() + "s")
			if err != nil {
				b.Fatal(err)
			}
			return took
		}
	}
	b.Log("Pillow is not installed")
	return nil
}
