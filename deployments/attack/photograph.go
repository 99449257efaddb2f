package main

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
)

// photograph is an honest JPEG, and drawing an honest PNG.
var photograph, drawing = draw()

func draw() (photograph, drawing []byte) {
	m := image.NewNRGBA(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			m.Set(x, y, color.NRGBA{uint8(x * 4), uint8(y * 5), uint8(x ^ y), 255})
		}
	}
	var j, p bytes.Buffer
	// A buffer takes everything, and the picture is sound.
	_ = jpeg.Encode(&j, m, nil)
	_ = png.Encode(&p, m)
	return j.Bytes(), p.Bytes()
}
