package main

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
)

// source is an image as a client sends it, and what must become of it.
type source struct {
	name  string
	data  []byte // what its URL gives, or what is sent inline
	url   string // "" for an inline one
	text  string // sent as base64 instead of data, when set
	whole image.Rectangle
	code  string // the error_code it must fail with; "" for one that must complete
}

// member is the image's element of the request.
func (s *source) member() map[string]string {
	switch {
	case s.url != "":
		return map[string]string{"name": s.name, "url": s.url}
	case s.text != "":
		return map[string]string{"name": s.name, "base64": s.text}
	}
	return map[string]string{"name": s.name, "base64": base64.StdEncoding.EncodeToString(s.data)}
}

// pictures draws the images of a seed: most of them good, of several sizes, and
// each kind of bad one.
func pictures(random *rand.Rand) (good, bad []source, err error) {
	for i := range 8 {
		canvas := paint(random, 24+random.IntN(300), 24+random.IntN(300))
		var b bytes.Buffer
		name := fmt.Sprintf("good-%d.jpg", i)
		if i%3 == 2 {
			name = fmt.Sprintf("good-%d.png", i)
			err = png.Encode(&b, canvas)
		} else {
			err = jpeg.Encode(&b, canvas, &jpeg.Options{Quality: 60 + random.IntN(40)})
		}
		if err != nil {
			return nil, nil, fmt.Errorf("draw %s: %w", name, err)
		}
		good = append(good, source{name: name, data: b.Bytes(), whole: canvas.Bounds()})
	}
	var moving bytes.Buffer
	if err := gif.Encode(&moving, paint(random, 20, 20), nil); err != nil {
		return nil, nil, fmt.Errorf("draw a GIF: %w", err)
	}
	photo := good[0].data
	bad = []source{
		{name: "text.jpg", data: []byte("this is no image at all"), code: "not_an_image"},
		{name: "moving.gif", data: moving.Bytes(), code: "unsupported_format"},
		{name: "cut.jpg", data: photo[:len(photo)/2], code: "damaged_image"},
		{name: "rotten.png", data: rotten(), code: "damaged_image"},
		{name: "garbled.jpg", text: "%%%not base64%%%", code: "invalid_base64"},
	}
	return good, bad, nil
}

func paint(random *rand.Rand, width, height int) image.Image {
	canvas := image.NewRGBA(image.Rect(0, 0, width, height))
	base := color.RGBA{uint8(random.IntN(256)), uint8(random.IntN(256)), uint8(random.IntN(256)), 255}
	for y := range height {
		for x := range width {
			c := base
			c.R += uint8(x)
			c.G += uint8(y * 2)
			if random.IntN(8) == 0 {
				c.B += uint8(random.IntN(64))
			}
			canvas.SetRGBA(x, y, c)
		}
	}
	return canvas
}

// rotten is a PNG that is sound from the outside and has too few pixels inside:
// only who decodes it finds out, which is the analyzer.
func rotten() []byte {
	var b, pixels bytes.Buffer
	z := zlib.NewWriter(&pixels)
	_, _ = z.Write(make([]byte, 10)) // into memory
	_ = z.Close()
	b.WriteString("\x89PNG\r\n\x1a\n")
	header := binary.BigEndian.AppendUint32(nil, 40)
	header = append(binary.BigEndian.AppendUint32(header, 40), 8, 2, 0, 0, 0)
	for _, chunk := range []struct {
		kind string
		data []byte
	}{{"IHDR", header}, {"IDAT", pixels.Bytes()}, {"IEND", nil}} {
		typed := append([]byte(chunk.kind), chunk.data...)
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(chunk.data))))
		b.Write(typed)
		b.Write(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(typed)))
	}
	return b.Bytes()
}
