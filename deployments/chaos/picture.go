package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// invalidBase64 is the error code of an image that cannot have a URL.
const invalidBase64 = "invalid_base64"

// source is an image as a client sends it, with its expected result.
type source struct {
	name string
	data []byte // served at its URL
	url  string // "" for an inline image
	text string // sent inline
	size image.Point
	code string // the error_code of its failure; "" if it must complete
}

// member returns the image's element of the request.
func (s *source) member() map[string]string {
	if s.url != "" {
		return map[string]string{"name": s.name, "url": s.url}
	}
	return map[string]string{"name": s.name, "base64": s.text}
}

// sources draws the images of a plan: good ones of several sizes, and each kind of
// bad one.
func sources(random *rand.Rand) (good, bad []source) {
	for i := range 8 {
		canvas := paint(random, 24+random.IntN(300), 24+random.IntN(300))
		var b bytes.Buffer
		name := fmt.Sprintf("good-%d.jpg", i)
		if i%3 == 2 {
			name = fmt.Sprintf("good-%d.png", i)
			_ = png.Encode(&b, canvas) // A buffer accepts all bytes.
		} else {
			_ = jpeg.Encode(&b, canvas, &jpeg.Options{Quality: 60 + random.IntN(40)})
		}
		good = append(good, source{name: name, data: b.Bytes(), size: canvas.Bounds().Size()})
	}
	photo := good[0].data
	bad = []source{
		{name: "text.jpg", data: []byte("this is no image at all"), code: "not_an_image"},
		{name: "moving.gif", data: []byte("GIF89a" + strings.Repeat("\x00", 100)), code: "unsupported_format"},
		{name: "cut.jpg", data: photo[:len(photo)/2], code: "damaged_image"},
		{name: "rotten.png", data: rotten(), code: "damaged_image"},
		{name: "garbled.jpg", text: "%%%not base64%%%", code: invalidBase64},
	}
	for _, list := range [][]source{good, bad[:4]} {
		for i := range list {
			list[i].text = base64.StdEncoding.EncodeToString(list[i].data)
		}
	}
	return good, bad
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

// rotten returns a PNG whose header announces twice as many lines as it has. Only
// the analyzer, which decodes it, can notice that.
func rotten() []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, image.NewGray(image.Rect(0, 0, 40, 40))) // A buffer accepts all bytes.
	file := b.Bytes()
	binary.BigEndian.PutUint32(file[20:], 80)                              // the height in IHDR
	binary.BigEndian.PutUint32(file[29:], crc32.ChecksumIEEE(file[12:29])) // the checksum of IHDR
	return file
}

// site is the web server of the images' URLs, whose path is /{kind}/{file}.
type site struct {
	*httptest.Server
	files map[string][]byte

	mu    sync.Mutex // guards asked
	asked map[string]bool
}

func newSite(sources []source) *site {
	s := &site{files: map[string][]byte{}, asked: map[string]bool{}}
	for _, img := range sources {
		s.files[img.name] = img.data
	}
	s.Server = serve(s.handle)
	return s
}

// url returns the address of a file. The key makes it unique.
func (s *site) url(kind, file, key string) string {
	return s.URL + "/" + kind + "/" + file + "?" + key
}

// absent returns an image whose URL is a 404.
func (s *site) absent(name string) source {
	return source{name: name, url: s.url("plain", "absent.jpg", ""), code: "download_failed"}
}

// handle serves a file as its kind says: plain; slow; or moody, which fails at the
// first request.
func (s *site) handle(w http.ResponseWriter, r *http.Request) {
	kind, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	data, ok := s.files[file]
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	first := !s.asked[r.URL.String()]
	s.asked[r.URL.String()] = true
	s.mu.Unlock()
	switch {
	case kind == "moody" && first:
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	case kind == "slow":
		pause(r.Context(), 700*time.Millisecond)
	}
	_, _ = w.Write(data) // The client may be gone.
}
