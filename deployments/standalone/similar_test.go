package main

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"net/http"
	"reflect"
	"testing"
)

// TestSimilar sends a photograph with copies, other images and blank ones through the whole
// system, and verifies which ones it groups.
func TestSimilar(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t)
	original, err := jpeg.Decode(bytes.NewReader(photo(t)))
	if err != nil {
		t.Fatal(err)
	}
	half := image.NewRGBA(image.Rect(0, 0, original.Bounds().Dx()/2, original.Bounds().Dy()/2))
	mirrored, brighter := image.NewRGBA(original.Bounds()), image.NewRGBA(original.Bounds())
	draw.Draw(brighter, brighter.Rect, original, image.Point{}, draw.Src)
	for i, v := range brighter.Pix {
		brighter.Pix[i] = uint8(min(255, int(v)*6/5)) //nolint:gosec // it is at most 255
	}
	for y := range original.Bounds().Dy() {
		for x := range original.Bounds().Dx() {
			half.Set(x/2, y/2, original.At(x, y))
			mirrored.Set(original.Bounds().Dx()-1-x, y, original.At(x, y))
		}
	}
	blank := func(gray uint8) []byte {
		m := image.NewGray(image.Rect(0, 0, 64, 48))
		draw.Draw(m, m.Rect, image.NewUniform(color.Gray{gray}), image.Point{}, draw.Src)
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	encoded := func(m image.Image, quality int) []byte {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	id := s.submit(t,
		inline("half.jpg", encoded(half, 85)), inline("photo.jpg", photo(t)), inline("low.jpg", encoded(original, 30)),
		inline("brighter.jpg", encoded(brighter, 85)), inline("copy.jpg", photo(t)), inline("mirrored.jpg", encoded(mirrored, 85)),
		inline("other.png", readFile(t, "../../analyzer/internal/colorprofile/testdata/vips/srgb.png")), inline("broken.jpg", []byte("no image")),
		inline("white.png", blank(250)), inline("white too.png", blank(250)), inline("gray.png", blank(128)),
	)
	s.ended(t, id)
	type member struct {
		Index     int  `json:"index"`
		Suggested bool `json:"suggested"`
	}
	type group struct {
		Kind     string   `json:"kind"`
		Distance int      `json:"distance"`
		Images   []member `json:"images"`
	}
	var got struct {
		Compared int     `json:"compared"`
		Groups   []group `json:"groups"`
	}
	status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+id+"/similar", nil, &got)
	if status != http.StatusOK || got.Compared != 7 || len(got.Groups) != 2 {
		t.Fatalf("got %d %+v", status, got)
	}
	if d := got.Groups[0].Distance; d < 1 || d > 10 {
		t.Errorf("the distance of the copies is %d", d)
	}
	got.Groups[0].Distance = 0
	want := []group{
		{Kind: "similar", Images: []member{{0, false}, {1, true}, {2, false}, {3, false}}}, // the photo is the largest file
		{Kind: "exact", Images: []member{{1, true}, {4, false}}},
	}
	if !reflect.DeepEqual(got.Groups, want) {
		t.Errorf("got the groups %+v, want %+v", got.Groups, want)
	}
}
