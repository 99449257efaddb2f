package scaledpng

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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// BenchmarkDecode measures the time of decoding an image of 2 megapixels to a working copy of 320 pixels, and its
// ratio to the time in which image/png and Pillow decode the whole image, which run alternately. All are medians
// of CPU times, user and system; -benchtime=5x takes those of five.
func BenchmarkDecode(b *testing.B) {
	photograph, screen := photograph(b), screenshot(b)
	for _, c := range []struct {
		name string
		m    image.Image
	}{
		{"photograph", photograph},
		{"photograph RGBA", translucent(photograph)},
		{"photograph gray", drawn(photograph, image.NewGray(photograph.Bounds()))},
		{"screenshot", screen},
		{"screenshot RGBA", translucent(screen)},
	} {
		b.Run(c.name, func(b *testing.B) {
			data := encode(b, c.m)
			pillow := startPillow(b, data)
			size := c.m.Bounds().Size()
			var whole, scaled, others []time.Duration
			for b.Loop() {
				start := cpuTime(b)
				if _, err := png.Decode(bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
				decoded := cpuTime(b)
				if _, err := Decode(b.Context(), data, 320, 320*size.Y/size.X); err != nil {
					b.Fatal(err)
				}
				whole, scaled = append(whole, decoded-start), append(scaled, cpuTime(b)-decoded)
				if pillow != nil {
					others = append(others, pillow())
				}
			}
			b.ReportMetric(median(scaled).Seconds()*1e3, "ms/image")
			b.ReportMetric(float64(median(scaled))/float64(median(whole)), "×image/png")
			if pillow != nil {
				b.ReportMetric(float64(median(scaled))/float64(median(others)), "×Pillow")
			}
			b.ReportMetric(float64(len(data))/float64(size.X*size.Y), "B/pixel")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpuTime returns the CPU time of this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
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
	return reduced(drawn(m, image.NewRGBA(m.Bounds())), 1888, 1062)
}

// drawn returns a copy of an image in another memory layout.
func drawn(m image.Image, to draw.Image) image.Image {
	draw.Draw(to, to.Bounds(), m, image.Point{}, draw.Src)
	return to
}

// translucent returns a copy of an image that is stored with alpha, because one corner is translucent.
func translucent(m image.Image) image.Image {
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
