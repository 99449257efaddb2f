package body_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
)

// repeat is a reader of n copies of the text.
type repeat struct {
	text string
	left int // remaining bytes
	at   int
}

func newRepeat(text string, n int) *repeat { return &repeat{text: text, left: n * len(text)} }

func (r *repeat) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.left)], r.text[r.at:])
	r.at, r.left = (r.at+n)%len(r.text), r.left-n
	return n, nil
}

// TestMemory verifies that the memory of a request is one image and one window, whatever the
// number of images and the length of a string. With TEST_FULL_SIZE the request is the
// largest that the API accepts, otherwise one tenth of it, which is still far above the
// limit.
func TestMemory(t *testing.T) {
	images, long := 10, 100<<20
	if os.Getenv("TEST_FULL_SIZE") != "" {
		images, long = 100, 400<<20
	}
	block := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("0123456789abcdef", 3<<10))) // 48 KiB of data
	var parts []io.Reader
	part := func(r io.Reader) { parts = append(parts, r) }
	part(strings.NewReader(`{"metadata":{"long":"`))
	part(newRepeat(block, long/len(block)))
	part(strings.NewReader(`"},"images":[`))
	for i := range images {
		if i > 0 {
			part(strings.NewReader(","))
		}
		part(strings.NewReader(fmt.Sprintf(`{"name":"%d","base64":"data:image/png;base64,`, i)))
		if i == images/2 {
			part(newRepeat(block, long/len(block)))
		} else {
			part(newRepeat(block, 213)) // 9.98 MiB decoded
		}
		part(strings.NewReader(`"}`))
	}
	part(strings.NewReader(`]}`))

	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	before, peak := stats.HeapAlloc, uint64(0)
	measure := func() {
		runtime.ReadMemStats(&stats)
		peak = max(peak, stats.HeapAlloc)
	}
	in := body.NewReader(&probe{r: io.MultiReader(parts...), each: 8 << 20, do: measure}, limits)
	good := 0
	for {
		img, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(img.Data) == 213*48<<10 {
			good++
		}
		measure()
	}
	if good != images-1 {
		t.Errorf("%d images are complete, want %d", good, images-1)
	}
	if peak-before > 64<<20 {
		t.Errorf("the heap grew by %d MiB", (peak-before)>>20)
	}
	t.Logf("the heap grew by %d MiB at most", (peak-before)>>20)
}

// TestGrowth verifies that Grow is called before the buffer grows, that the calls add up to at
// most one image, and that an error of Grow ends the request.
func TestGrowth(t *testing.T) {
	const most = 300 << 10
	text := `{"images":[`
	for _, size := range []int{3, 90_000, 3, most, 1 << 20} {
		text += `{"base64":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `"},`
	}
	text = strings.TrimSuffix(text, ",") + `]}`
	var asked []int64
	l := body.Limits{Images: 5, ImageBytes: most, Grow: func(n int64) error {
		asked = append(asked, n)
		return nil
	}}
	if got, err := read(strings.NewReader(text), l); err != nil || len(got) != 5 || got[4].Failure == nil {
		t.Fatalf("%d images, %v", len(got), err)
	}
	if want := []int64{64 << 10, 192 << 10, 44 << 10}; !slices.Equal(asked, want) {
		t.Errorf("Grow was called with %v, want %v", asked, want)
	}

	full := errors.New("full")
	for granted, images := range []int{0, 1, 3, 5} {
		left := granted
		l.Grow = func(int64) error {
			if left--; left < 0 {
				return full
			}
			return nil
		}
		got, err := read(strings.NewReader(text), l)
		if len(got) != images || errors.Is(err, full) != (images < 5) {
			t.Errorf("with %d steps: %d images, %v; want %d", granted, len(got), err, images)
		}
	}
	// The rest of the body is not waited for.
	l.Grow = func(int64) error { return full }
	start := `{"images":[{"base64":"AAAA`
	if _, err := read(io.MultiReader(strings.NewReader(start), iotest.ErrReader(errors.New("read on"))), l); !errors.Is(err, full) {
		t.Errorf("refused with %v", err)
	}
	// Also character by character, and at the end of the text.
	for _, text := range []string{"A A A A", "AA==", "AAA"} {
		if got, err := read(strings.NewReader(`{"images":[{"base64":"`+text+`"}]}`), l); !errors.Is(err, full) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// probe calls a function each time that many bytes have been read.
type probe struct {
	r    io.Reader
	each int
	left int
	do   func()
}

func (p *probe) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.left -= n; p.left <= 0 {
		p.left = p.each
		p.do()
	}
	return n, err
}

func BenchmarkReader(b *testing.B) {
	block := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("0123456789abcdef", 3<<10)))
	for name, block := range map[string]string{
		"plain": block, "lines": strings.Join(split(block, 76), `\r\n`), "escapes": strings.Repeat(`\/`, 1<<15),
	} {
		b.Run(name, func(b *testing.B) {
			text := `{"images":[{"base64":"` + strings.Repeat(block, 10) + `"}]}`
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := body.NewReader(strings.NewReader(text), limits).Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
