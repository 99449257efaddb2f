// Package imagetest makes files that were built to hurt whoever opens them: bombs
// of pixels, scans, chunks, deflate, tags and markup, pictures that are something
// else as well, and pictures cut short. Tests send them; no service links it.
//
// It promises that equal calls give equal bytes, that every file is smaller than
// [MaxBytes], so that it gets past the limit on uploads, and that each says what
// has to become of it.
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
	// Want is the error_code that the image ends with, one of the Code constants
	// of package pipeline; "" when it completes.
	Want string
	// Late says that only decoding shows what is wrong: imagefile takes the file,
	// so that its POST gets an image which then fails.
	Late bool
}

// All makes every bomb, about two hundred of as many megabytes in all.
func All() []Bomb {
	var all []Bomb
	for _, make := range [...]func() []Bomb{
		pixelBombs, scanBombs, markerBombs, cutJPEGs, chunkBombs, deflateBombs, cutPNGs, exifBombs, xmpBombs, iccBombs, polyglots, strangers,
	} {
		all = append(all, make()...)
	}
	return all
}

// picture is a small picture of many colours.
func picture(width, height int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetRGBA(x, y, color.RGBA{byte(x * 3), byte(y * 5), byte(x*y/16 + x), 255})
		}
	}
	return m
}

// JPEG is a whole and harmless JPEG of that size.
func JPEG(width, height int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(width, height), nil); err != nil {
		panic(fmt.Sprintf("encode a JPEG in memory: %v", err))
	}
	return b.Bytes()
}

// PNG is a whole and harmless PNG of that size.
func PNG(width, height int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, picture(width, height)); err != nil {
		panic(fmt.Sprintf("encode a PNG in memory: %v", err))
	}
	return b.Bytes()
}

// pixelBombs are few bytes that claim, or hold, many pixels.
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

// strangers are other files under the name of a picture.
func strangers() []Bomb {
	const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><image href="http://169.254.169.254/"/></svg>`
	const page = `<!DOCTYPE html><html><body><script>alert(1)</script></body></html>`
	gif := append([]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), zeros(100)...)
	return []Bomb{
		{Name: "stranger GIF.jpg", Data: gif, Want: pipeline.CodeUnsupportedFormat},
		{Name: "stranger GIF and JavaScript.png", Data: append([]byte("GIF89a=1;alert(1)//"), zeros(100)...), Want: pipeline.CodeUnsupportedFormat},
		{Name: "stranger SVG.png", Data: []byte(svg), Want: pipeline.CodeUnsupportedFormat},
		{Name: "stranger SVG behind its XML declaration.png", Data: []byte(`<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + svg), Want: pipeline.CodeUnsupportedFormat},
		{Name: "stranger page.jpg", Data: []byte(page), Want: pipeline.CodeNotAnImage},
		{Name: "stranger PDF.jpg", Data: []byte("%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF\n"), Want: pipeline.CodeNotAnImage},
		{Name: "stranger PostScript.jpg", Data: []byte("%!PS\n(/etc/passwd) (r) file\n"), Want: pipeline.CodeNotAnImage},
		{Name: "stranger MVG.png", Data: []byte("push graphic-context\nfill 'url(https://127.0.0.1/|ls)'\npop graphic-context\n"), Want: pipeline.CodeNotAnImage},
		{Name: "stranger ZIP.png", Data: zip(nil), Want: pipeline.CodeNotAnImage},
		{Name: "stranger TIFF of a loop.jpg", Data: loopedTIFF(), Want: pipeline.CodeUnsupportedFormat},
		{Name: "stranger WebP.jpg", Data: []byte("RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\xff\x2f\xff\xff\xff\xff"), Want: pipeline.CodeUnsupportedFormat},
		{Name: "stranger zeros.jpg", Data: zeros(1 << 20), Want: pipeline.CodeNotAnImage},
		{Name: "stranger nothing.jpg", Data: []byte{}, Want: pipeline.CodeNotAnImage},
	}
}

func zeros(n int) []byte { return make([]byte, n) }
