package main

import (
	"bytes"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlowModel verifies that the stand-in answers after its time, and that requests which it has kept are answered one
// after the other.
func TestSlowModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowModel{wait: time.Second}
		start := time.Now()
		ask := func() time.Duration {
			w := httptest.NewRecorder()
			m.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader("{}")))
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "alt_text") {
				t.Errorf("answer %d %s", w.Code, w.Body)
			}
			return time.Since(start)
		}
		if took := ask(); took != time.Second {
			t.Errorf("the answer took %s, want 1 s", took)
		}
		m.hold()
		times := make(chan time.Duration, 4)
		for range cap(times) {
			go func() { times <- ask() }()
		}
		time.Sleep(time.Minute)
		if m.holding() != cap(times) || len(m.answered()) != 0 {
			t.Errorf("%d requests are kept, %d are answered; want %d, 0", m.holding(), len(m.answered()), cap(times))
		}
		start = time.Now()
		m.release()
		var all []time.Duration
		for range cap(times) {
			all = append(all, <-times)
		}
		const q = time.Second / 4
		if want := []time.Duration{q, 2 * q, 3 * q, 4 * q}; !slices.Equal(all, want) {
			t.Errorf("answers after %v, want %v", all, want)
		}
		if answers := m.answered(); len(answers) != cap(times) || answers[0].Sub(start) != q {
			t.Errorf("answers at %v", answers)
		}
	})
}

// TestVariedPhotos verifies that each image is another file of the same size that can be decoded.
func TestVariedPhotos(t *testing.T) {
	exif := []byte("\xff\xe1\x00\x08Exif\x00\x00")
	p, err := newPhoto(scaled{name: "gray", quality: 53}, image.NewGray(image.Rect(0, 0, 32, 16)), exif)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.next(), p.data) {
		t.Error("an image differs although images do not vary")
	}
	p.varied = new(atomic.Int64)
	seen := map[string]bool{}
	for n := range 1000 {
		data := p.next()
		seen[string(data)] = true
		if n%100 == 0 {
			if m, err := jpeg.Decode(bytes.NewReader(data)); err != nil || m.Bounds() != image.Rect(0, 0, p.width, p.height) || len(data) != len(p.data) {
				t.Errorf("image %d cannot be decoded or has another size: %v", n, err)
			}
		}
	}
	if len(seen) != 1000 {
		t.Errorf("1000 images have %d contents", len(seen))
	}
}
