// Package imagetest generates hostile files: bombs of pixels, scans, chunks, deflate, tags and markup, images
// that are also another file type, and truncated images. Tests send them; no service links this package.
//
// Equal calls give equal bytes. Every file is smaller than [MaxBytes], so that it passes the limit on uploads,
// and states its expected result.
package imagetest

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// MaxBytes is the default of MAX_IMAGE_BYTES.
const MaxBytes = 10 << 20

// Bomb is one hostile file.
type Bomb struct {
	Name string // lower case, in words, with its usual extension
	Data []byte
	// Want is the error_code that the image must end with, one of the Code constants of package pipeline; "" if
	// it must complete.
	Want string
	// Late means that only decoding finds the fault: imagefile accepts the file, so that the POST creates an
	// image that fails later.
	Late bool
}

// All generates every bomb: about two hundred, of as many megabytes in total.
func All() []Bomb {
	var all []Bomb
	for _, make := range [...]func() []Bomb{
		pixelBombs, scanBombs, markerBombs, cutJPEGs, chunkBombs, deflateBombs, cutPNGs, exifBombs, xmpBombs, iccBombs, polyglots, otherFormats,
	} {
		all = append(all, make()...)
	}
	return all
}

// gradient returns a small image of many colors.
func gradient(width, height int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetRGBA(x, y, color.RGBA{byte(x * 3), byte(y * 5), byte(x*y/16 + x), 255})
		}
	}
	return m
}

// JPEG returns a valid and harmless JPEG.
func JPEG(width, height int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, gradient(width, height), nil); err != nil {
		panic(fmt.Sprintf("encode a JPEG in memory: %v", err))
	}
	return b.Bytes()
}

// PNG returns a valid and harmless PNG.
func PNG(width, height int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, gradient(width, height)); err != nil {
		panic(fmt.Sprintf("encode a PNG in memory: %v", err))
	}
	return b.Bytes()
}

// pixelBombs are small files that claim, or contain, many pixels.
func pixelBombs() []Bomb {
	deflated := chunk("IDAT", make([]byte, 11))
	end := chunk("IEND", nil)
	few := []byte("few bytes")
	return []Bomb{
		{Name: "pixels of 600 MP in 68 bytes.png", Data: pngOf(ihdr(20_000, 30_000, 16, 6, 0), deflated, end), Want: pipeline.CodeTooManyPixels},
		{Name: "pixels beyond 2^61.png", Data: pngOf(ihdr(1<<31-1, 1<<31-1, 16, 6, 1), deflated, end), Want: pipeline.CodeTooManyPixels},
		{Name: "pixels beyond 2^32 a side.png", Data: pngOf(ihdr(1<<32-1, 1<<32-1, 8, 2, 0), deflated, end), Want: pipeline.CodeDamaged},
		{Name: "pixels in one long line.png", Data: pngOf(ihdr(20_001, 1, 1, 0, 0), deflated, end), Want: pipeline.CodeTooManyPixels},
		{Name: "pixels of 49 MP without data.png", Data: pngOf(ihdr(7000, 7000, 16, 6, 0), deflated, end), Want: pipeline.CodeDamaged},
		{Name: "pixels of 49 MP in 6 kB.png", Data: pngOf(ihdr(7000, 7000, 1, 0, 0), chunk("IDAT", zlibZeros(7000*876)), end)},
		{Name: "pixels of 0.png", Data: pngOf(ihdr(0, 7000, 8, 2, 0), deflated, end), Want: pipeline.CodeDamaged},
		{Name: "pixels of 4 GP.jpg", Data: jpegOf(sof(sofBaseline, 65535, 65535), sos, few), Want: pipeline.CodeTooManyPixels},
		{Name: "pixels of 4 GP, progressive.jpg", Data: jpegOf(sof(sofProgressive, 65535, 65535), sos, few), Want: pipeline.CodeTooManyPixels},
		{Name: "pixels of 49 MP without data.jpg", Data: jpegOf(sof(sofBaseline, 7000, 7000), sos, few), Want: pipeline.CodeDamaged},
		{Name: "pixels of 0.jpg", Data: jpegOf(sof(sofBaseline, 0, 7000), sos, few), Want: pipeline.CodeDamaged},
	}
}

// otherFormats are other files with the name of an image.
func otherFormats() []Bomb {
	const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><image href="http://169.254.169.254/"/></svg>`
	const page = `<!DOCTYPE html><html><body><script>alert(1)</script></body></html>`
	gif := append([]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), zeros(100)...)
	return []Bomb{
		{Name: "foreign GIF.jpg", Data: gif, Want: pipeline.CodeUnsupportedFormat},
		{Name: "foreign GIF and JavaScript.png", Data: append([]byte("GIF89a=1;alert(1)//"), zeros(100)...), Want: pipeline.CodeUnsupportedFormat},
		{Name: "foreign SVG.png", Data: []byte(svg), Want: pipeline.CodeUnsupportedFormat},
		{Name: "foreign SVG behind its XML declaration.png", Data: []byte(`<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + svg), Want: pipeline.CodeUnsupportedFormat},
		{Name: "foreign page.jpg", Data: []byte(page), Want: pipeline.CodeNotAnImage},
		{Name: "foreign PDF.jpg", Data: []byte("%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF\n"), Want: pipeline.CodeNotAnImage},
		{Name: "foreign PostScript.jpg", Data: []byte("%!PS\n(/etc/passwd) (r) file\n"), Want: pipeline.CodeNotAnImage},
		{Name: "foreign MVG.png", Data: []byte("push graphic-context\nfill 'url(https://127.0.0.1/|ls)'\npop graphic-context\n"), Want: pipeline.CodeNotAnImage},
		{Name: "foreign ZIP.png", Data: zip(nil), Want: pipeline.CodeNotAnImage},
		{Name: "foreign TIFF of a loop.jpg", Data: loopedTIFF(), Want: pipeline.CodeUnsupportedFormat},
		{Name: "foreign WebP.jpg", Data: []byte("RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\xff\x2f\xff\xff\xff\xff"), Want: pipeline.CodeUnsupportedFormat},
		{Name: "foreign zeros.jpg", Data: zeros(1 << 20), Want: pipeline.CodeNotAnImage},
		{Name: "foreign nothing.jpg", Data: []byte{}, Want: pipeline.CodeNotAnImage},
	}
}

func zeros(n int) []byte { return make([]byte, n) }
