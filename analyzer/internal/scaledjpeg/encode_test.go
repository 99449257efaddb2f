package scaledjpeg

import (
	"bytes"
	"image"
	"math"
)

// encoding describes a sequential JPEG that cjpeg cannot write.
type encoding struct {
	ids       []byte   // one for each component; nil for 1, 2, 3, ...
	sampling  []string // "2x1" and the like; one for each component
	scans     [][]int  // components of each scan; nil for one scan of all
	restart   int      // MCUs between restarts
	tables    bool     // write the standard Huffman tables
	head      []byte   // segments after SOI
	height    int      // in the frame header; -1 for the true one
	afterScan []byte   // segments after the first scan
}

// encodePlanes encodes the planes of an image, all of the image's size, with the standard tables.
func encodePlanes(e encoding, full [][]float64, size image.Point) []byte {
	n := len(full)
	ids := e.ids
	if ids == nil {
		ids = []byte{1, 2, 3, 4}[:n]
	}
	h, v := make([]int, n), make([]int, n)
	maxH, maxV := 1, 1
	for i, s := range e.sampling {
		h[i], v[i] = int(s[0]-'0'), int(s[2]-'0')
		maxH, maxV = max(maxH, h[i]), max(maxV, v[i])
	}
	quant := make([]byte, 64)
	for i := range quant {
		quant[i] = byte(3 + i/4)
	}
	out := append([]byte{0xff, markerSOI}, e.head...)
	out = append(out, segment(markerDQT, append([]byte{0}, quant...)...)...)
	height := size.Y
	if e.height >= 0 {
		height = e.height
	}
	sof := []byte{8, byte(height >> 8), byte(height), byte(size.X >> 8), byte(size.X), byte(n)}
	for i := range n {
		sof = append(sof, ids[i], byte(h[i]<<4|v[i]), 0)
	}
	out = append(out, segment(markerSOF1, sof...)...)
	if e.tables {
		out = append(out, segment(markerDHT, append([]byte{0}, standardLumaDC...)...)...)
		out = append(out, segment(markerDHT, append([]byte{0x10}, standardLumaAC...)...)...)
		out = append(out, segment(markerDHT, append([]byte{1}, standardChromaDC...)...)...)
		out = append(out, segment(markerDHT, append([]byte{0x11}, standardChromaAC...)...)...)
	}
	if e.restart > 0 {
		out = append(out, segment(markerDRI, byte(e.restart>>8), byte(e.restart))...)
	}
	scans := e.scans
	if scans == nil {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		scans = [][]int{all}
	}
	for number, parts := range scans {
		sos := []byte{byte(len(parts))}
		for _, i := range parts {
			sos = append(sos, ids[i], 0x11*tableNumber(i))
		}
		out = append(out, segment(markerSOS, append(sos, 0, 63, 0)...)...)
		w := &bitWriter{}
		columns, rows := over(size.X, 8*maxH), over(size.Y, 8*maxV)
		if len(parts) == 1 {
			i := parts[0]
			columns, rows = over(over(size.X*h[i], maxH), 8), over(over(size.Y*v[i], maxV), 8)
		}
		last := make([]int, n)
		for mcu := range columns * rows {
			if e.restart > 0 && mcu > 0 && mcu%e.restart == 0 {
				w.flush()
				w.out = append(w.out, 0xff, markerRST0|byte(mcu/e.restart-1)&7)
				clear(last)
			}
			for _, i := range parts {
				across, down := h[i], v[i]
				if len(parts) == 1 {
					across, down = 1, 1
				}
				for b := range across * down {
					x, y := mcu%columns*across+b%across, mcu/columns*down+b/across
					last[i] = w.block(blockOf(full[i], size, x, y, maxH/h[i], maxV/v[i]), quant, last[i], tableNumber(i))
				}
			}
		}
		w.flush()
		out = append(out, w.out...)
		if number == 0 {
			out = append(out, e.afterScan...)
		}
	}
	return append(out, 0xff, markerEOI)
}

func tableNumber(component int) byte { return byte(min(component, 1)) }

// blockOf returns the coefficients of a block of a plane that is reduced by the factors.
func blockOf(full []float64, size image.Point, bx, by, across, down int) (c [64]float64) {
	var s [64]float64
	for i := range s {
		for n := range across * down {
			x, y := (bx*8+i%8)*across+n%across, (by*8+i/8)*down+n/across
			s[i] += full[min(y, size.Y-1)*size.X+min(x, size.X-1)] / float64(across*down)
		}
	}
	var rows [64]float64
	for y := range 8 {
		for u := range 8 {
			for x := range 8 {
				rows[8*y+u] += (s[8*y+x] - 128) * basis(u, x)
			}
		}
	}
	for u := range 8 {
		for k := range 8 {
			for y := range 8 {
				c[8*k+u] += rows[8*y+u] * basis(k, y)
			}
		}
	}
	return c
}

var cosines = func() (t [64]float64) {
	for u := range 8 {
		for x := range 8 {
			t[8*u+x] = math.Cos((2*float64(x)+1)*float64(u)*math.Pi/16) / 2
			if u == 0 {
				t[8*u+x] /= math.Sqrt2
			}
		}
	}
	return t
}()

func basis(u, x int) float64 { return cosines[8*u+x] }

// codes are the codes of the standard tables by class, number and symbol.
var codes = func() (all [2][2][256]struct{ code, length int }) {
	for class := range 2 {
		for th := range 2 {
			t := standard(byte(class), byte(th))
			for length := 1; length <= 16; length++ {
				for i := range t.count[length] {
					c := &all[class][th][t.symbols[t.index[length]+i]]
					c.code, c.length = t.start[length]+i, length
				}
			}
		}
	}
	return all
}()

// bitWriter writes entropy-coded data.
type bitWriter struct {
	out []byte
	acc uint32
	n   int
}

func (w *bitWriter) bits(v, n int) {
	for i := n - 1; i >= 0; i-- {
		w.acc = w.acc<<1 | uint32(v>>i&1)
		if w.n++; w.n == 8 {
			w.out = append(w.out, byte(w.acc))
			if byte(w.acc) == 0xff {
				w.out = append(w.out, 0)
			}
			w.acc, w.n = 0, 0
		}
	}
}

func (w *bitWriter) flush() {
	for w.n > 0 {
		w.bits(1, 1)
	}
}

func (w *bitWriter) symbol(class int, th byte, symbol int) {
	c := codes[class][th][symbol]
	w.bits(c.code, c.length)
}

// value writes a value after its code.
func (w *bitWriter) value(v, size int) {
	if v < 0 {
		v += 1<<size - 1
	}
	w.bits(v, size)
}

func (w *bitWriter) block(c [64]float64, quant []byte, last int, th byte) (dc int) {
	value := func(k int) int { return int(math.Round(c[zigZag[k]] / float64(quant[k]))) }
	dc = value(0)
	size := bitLength(dc - last)
	w.symbol(0, th, size)
	w.value(dc-last, size)
	run := 0
	for k := 1; k < 64; k++ {
		v := value(k)
		if v == 0 {
			run++
			continue
		}
		for ; run > 15; run -= 16 {
			w.symbol(1, th, 0xf0)
		}
		size := bitLength(v)
		w.symbol(1, th, run<<4|size)
		w.value(v, size)
		run = 0
	}
	if run > 0 {
		w.symbol(1, th, 0)
	}
	return dc
}

func bitLength(v int) (n int) {
	for v = max(v, -v); v > 0; v >>= 1 {
		n++
	}
	return n
}

// planesOf returns the planes of an image in a color model: "gray", "ycbcr", "rgb", "cmyk" or "ycck", the last
// two inverted as in Adobe's files.
func planesOf(m *image.RGBA, model string) [][]float64 {
	size := m.Rect.Size()
	n := map[string]int{"gray": 1, "ycbcr": 3, "rgb": 3, "cmyk": 4, "ycck": 4}[model]
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, size.X*size.Y)
	}
	for i := range size.X * size.Y {
		r, g, b := float64(m.Pix[4*i]), float64(m.Pix[4*i+1]), float64(m.Pix[4*i+2])
		if n == 4 {
			// The samples are the complements of the inks, so black divides the others.
			k := 128 + 127*max(r, g, b)/255
			out[3][i] = k
			r, g, b = min(255, 255*r/k), min(255, 255*g/k), min(255, 255*b/k)
		}
		first := []float64{r, g, b}
		switch model {
		case "gray":
			first = []float64{0.299*r + 0.587*g + 0.114*b}
		case "ycbcr", "ycck":
			if model == "ycck" { // the inks, not their complements
				r, g, b = 255-r, 255-g, 255-b
			}
			y := 0.299*r + 0.587*g + 0.114*b
			first = []float64{y, 128 + (b-y)/1.772, 128 + (r-y)/1.402}
		}
		for j, s := range first {
			out[j][i] = s
		}
	}
	return out
}

func adobe(transform byte) []byte {
	return segment(markerAPP14, append([]byte("Adobe\x00\x64\x00\x00\x00\x00"), transform)...)
}

func jfif() []byte {
	return segment(markerAPP0, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")...)
}

// withoutTables removes the Huffman tables of a file.
func withoutTables(data []byte) []byte {
	out := bytes.Clone(data[:2])
	for pos := 2; ; {
		n := 2 + int(data[pos+2])<<8 + int(data[pos+3])
		if data[pos+1] == markerSOS {
			return append(out, data[pos:]...)
		}
		if data[pos+1] != markerDHT {
			out = append(out, data[pos:pos+n]...)
		}
		pos += n
	}
}
