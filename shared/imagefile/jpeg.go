package imagefile

import (
	"bytes"
	"encoding/binary"
)

// The second bytes of the JPEG markers that need special treatment (ITU-T T.81, table B.1).
const (
	markerSOF0  = 0xc0 // baseline
	markerSOF1  = 0xc1 // extended sequential
	markerSOF2  = 0xc2 // progressive
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerDAC   = 0xcc
	markerSOF15 = 0xcf
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDNL   = 0xdc
	markerDRI   = 0xdd
	markerDHP   = 0xde
	markerEXP   = 0xdf
	markerAPP0  = 0xe0
	markerAPP1  = 0xe1
	markerAPP2  = 0xe2
	markerAPP13 = 0xed
	markerAPP14 = 0xee
	markerAPP15 = 0xef
	markerSOF55 = 0xf7 // JPEG-LS
	markerCOM   = 0xfe
)

// jpegWalk walks over the markers of one JPEG file.
type jpegWalk struct {
	data   []byte
	pos    int
	limits Limits
	header Header

	components [4]jpegComponent
	tables     [4][64]uint16 // current quantization tables
	nComp      int           // number of components; 0 until the frame header
	entropy    int           // bytes of entropy-coded data
	profile    [][]byte      // parts of the color profile

	jfif           bool
	adobe          bool
	adobeTransform byte
}

type jpegComponent struct {
	id      byte
	h, v    int  // sampling factors
	table   byte // number of its quantization table
	scanned bool // some scan contains it
}

// readJPEG walks over the markers of a JPEG file from its start to its end-of-image marker. Like image/jpeg and
// libjpeg, it skips stray bytes between segments.
func readJPEG(data []byte, limits Limits) (Header, error) {
	w := &jpegWalk{
		data: data, pos: 2, limits: limits,
		header: Header{Format: JPEG, BitDepth: 8, Orientation: 1},
	}
	inScan := false
	for {
		start := w.pos
		marker, err := w.nextMarker()
		if err != nil {
			return Header{}, err
		}
		if inScan {
			w.entropy += w.pos - start
		}
		if marker == markerEOI {
			return w.end()
		}
		segment, err := w.segment(marker)
		if err != nil {
			return Header{}, err
		}
		if err := w.visit(marker, segment); err != nil {
			return Header{}, err
		}
		inScan = marker == markerSOS
	}
}

// nextMarker finds the next marker that is neither a restart marker nor a stuffed byte, and moves behind it. It
// skips entropy-coded data, and the few stray bytes that some cameras leave between segments.
func (w *jpegWalk) nextMarker() (byte, error) {
	data, pos := w.data, w.pos
	for {
		// A hostile file has a marker every other byte: checking a few bytes directly saves a call for each of
		// them.
		for near := min(pos+8, len(data)); pos < near && data[pos] != 0xff; {
			pos++
		}
		if pos == len(data) || data[pos] != 0xff {
			i := bytes.IndexByte(data[pos:], 0xff)
			if i < 0 {
				return 0, damagedJPEG("ends before its end-of-image marker")
			}
			pos += i
		}
		pos++
		filled := false
		for pos < len(data) && data[pos] == 0xff {
			pos++
			filled = true
		}
		if pos == len(data) {
			return 0, damagedJPEG("ends before its end-of-image marker")
		}
		marker := data[pos]
		pos++
		switch {
		case marker == 0 && !filled, marker >= markerRST0 && marker <= markerRST7:
			continue
		case marker < markerSOF0:
			return 0, damagedJPEG("unknown marker 0x%02x", marker)
		case marker == markerSOI:
			return 0, damagedJPEG("a second picture begins before the end of the first")
		}
		w.pos = pos
		return marker, nil
	}
}

// segment returns the payload of the segment whose marker was just read, and moves behind it.
func (w *jpegWalk) segment(marker byte) ([]byte, error) {
	rest := w.data[w.pos:]
	if len(rest) < 2 {
		return nil, damagedJPEG("ends before its end-of-image marker")
	}
	n := int(binary.BigEndian.Uint16(rest))
	if n < 2 {
		return nil, damagedJPEG("segment 0x%02x has an impossible length", marker)
	}
	if n > len(rest) {
		return nil, damagedJPEG("ends before its end-of-image marker")
	}
	w.pos += n
	return rest[2:n], nil
}

func (w *jpegWalk) visit(marker byte, segment []byte) error {
	switch marker {
	case markerSOF0, markerSOF1, markerSOF2:
		return w.frame(marker, segment)
	case markerSOS:
		return w.scan(segment)
	case markerAPP0:
		// The decoder uses the last APP0 segment of the usual length, so this does too.
		if len(segment) >= 5 {
			w.jfif = string(segment[:5]) == "JFIF\x00"
		}
	case markerAPP1, markerAPP2, markerAPP13:
		w.metadata(marker, segment)
	case markerAPP14:
		if len(segment) >= 12 && string(segment[:5]) == "Adobe" {
			w.adobe, w.adobeTransform = true, segment[11]
		}
	case markerDHP, markerEXP:
		return unsupportedJPEG("hierarchical coding")
	case markerDNL:
		return unsupportedJPEG("its height is not in its frame header")
	case markerDAC:
		return unsupportedJPEG("arithmetic coding")
	case markerSOF55:
		return unsupportedFormat("JPEG-LS")
	case markerDQT:
		w.quantization(segment)
	case markerDHT, markerDRI, markerCOM:
	default:
		if marker > markerSOF2 && marker <= markerSOF15 && marker != markerJPG {
			return unsupportedJPEG("%s coding", frameCoding(marker))
		}
		if marker < markerAPP0 || marker > markerAPP15 {
			return unsupportedJPEG("unknown marker 0x%02x", marker)
		}
	}
	return nil
}

// frameCoding names the coding processes that are not decoded, by frame header.
func frameCoding(marker byte) string {
	switch {
	case marker == 0xc3:
		return "lossless"
	case marker >= 0xc9:
		return "arithmetic"
	default:
		return "differential"
	}
}

// frame reads a frame header (T.81, B.2.2). It accepts the same headers as image/jpeg.
func (w *jpegWalk) frame(marker byte, segment []byte) error {
	if w.nComp != 0 {
		return unsupportedJPEG("more than one frame")
	}
	if len(segment) < 6 {
		return damagedJPEG("its frame header is too short")
	}
	n := int(segment[5])
	if n != 1 && n != 3 && n != 4 {
		return unsupportedJPEG("%d colour components", n)
	}
	if len(segment) != 6+3*n {
		return damagedJPEG("its frame header has the wrong length")
	}
	if segment[0] != 8 {
		return unsupportedJPEG("%d bits per sample", segment[0])
	}
	w.header.Height = int(binary.BigEndian.Uint16(segment[1:]))
	w.header.Width = int(binary.BigEndian.Uint16(segment[3:]))
	if w.header.Width == 0 {
		return damagedJPEG("it is 0 pixels wide")
	}
	if w.header.Height == 0 {
		return unsupportedJPEG("its height is not in its frame header")
	}
	if err := w.limits.checkSize(w.header.Width, w.header.Height); err != nil {
		return err
	}
	w.nComp = n
	w.header.Progressive = marker == markerSOF2
	for i := range n {
		c := segment[6+3*i:]
		w.components[i] = jpegComponent{id: c[0], h: int(c[1] >> 4), v: int(c[1] & 15), table: c[2]}
		for j := range i {
			if w.components[j].id == c[0] {
				return damagedJPEG("two components have the same number")
			}
		}
		if c[2] > 3 {
			return damagedJPEG("a component has no quantisation table")
		}
	}
	return w.checkSampling()
}

// checkSampling accepts the sampling factors that image/jpeg accepts. It sets the only component of a gray
// image to 1×1, according to T.81 A.2.2.
func (w *jpegWalk) checkSampling() error {
	c := &w.components
	for i := range w.nComp {
		if c[i].h < 1 || c[i].h > 4 || c[i].v < 1 || c[i].v > 4 {
			return damagedJPEG("impossible sampling factors")
		}
		if c[i].h == 3 || c[i].v == 3 {
			return unsupportedJPEG("its subsampling")
		}
	}
	supported := true
	switch w.nComp {
	case 1:
		c[0].h, c[0].v = 1, 1
	case 3:
		supported = c[0].v != 4 && c[0].h%c[1].h == 0 && c[0].v%c[1].v == 0 &&
			c[1].h == c[2].h && c[1].v == c[2].v
	case 4:
		supported = c[0].h == c[0].v && c[0].h <= 2 && c[1].h*c[1].v*c[2].h*c[2].v == 1 &&
			c[3].h == c[0].h && c[3].v == c[0].v
	}
	if !supported {
		return unsupportedJPEG("its subsampling")
	}
	return nil
}

// scan reads a scan header (T.81, B.2.3) and counts the scan.
func (w *jpegWalk) scan(segment []byte) error {
	if w.nComp == 0 {
		return damagedJPEG("a scan comes before the frame header")
	}
	if len(segment) < 6 || len(segment) != 4+2*int(segment[0]) || int(segment[0]) > w.nComp {
		return damagedJPEG("a scan header has the wrong length")
	}
	for i := range int(segment[0]) {
		known := false
		for j := range w.nComp {
			if w.components[j].id == segment[1+2*i] {
				w.components[j].scanned, known = true, true
			}
		}
		if !known {
			return damagedJPEG("a scan is of an unknown component")
		}
	}
	if w.header.Scans == 0 {
		// Tables that are defined later are for other scans, or unused.
		w.header.Luma = w.tables[w.components[0].table]
		if w.nComp > 1 {
			w.header.Chroma = w.tables[w.components[1].table]
		}
	}
	w.header.Scans++
	return w.limits.checkWork(w.header.Width, w.header.Height, w.header.Scans)
}

// end checks the file as a whole after the end-of-image marker and completes the header.
func (w *jpegWalk) end() (Header, error) {
	if w.header.Scans == 0 {
		return Header{}, damagedJPEG("holds no picture")
	}
	for i := range w.nComp {
		if !w.components[i].scanned {
			return Header{}, damagedJPEG("a part of its colours is missing")
		}
	}
	// Every block of the first component takes at least one bit. A file with less data was truncated and closed
	// again, and would make the decoder allocate an image for nothing.
	blocks := ((w.header.Width + 7) / 8) * ((w.header.Height + 7) / 8)
	if w.entropy*8 < blocks {
		return Header{}, damagedJPEG("holds too little data for its size")
	}
	switch w.nComp {
	case 1:
		w.header.ColorModel = Gray
	case 3:
		w.header.ColorModel = YCbCr
		if w.isRGB() {
			w.header.ColorModel = RGB
		}
	case 4:
		if !w.adobe {
			return Header{}, unsupportedJPEG("four colour components without an Adobe marker")
		}
		w.header.ColorModel = CMYK
	}
	w.header.decodedBytes = w.decodedBytes()
	w.header.ICC = w.wholeProfile()
	w.header.Trailing = len(w.data) - w.pos
	return w.header, nil
}

// isRGB follows image/jpeg: no JFIF, and either Adobe's transform 0 or the components R, G and B.
func (w *jpegWalk) isRGB() bool {
	if w.jfif {
		return false
	}
	if w.adobe && w.adobeTransform == 0 {
		return true
	}
	return w.components[0].id == 'R' && w.components[1].id == 'G' && w.components[2].id == 'B'
}

// decodedBytes adds up the allocations of image/jpeg: one byte for each sample, four for its coefficient in a
// progressive image, and four per pixel if it converts to RGB or CMYK at the end.
func (w *jpegWalk) decodedBytes() int64 {
	c0 := w.components[0]
	mcus := int64((w.header.Width+8*c0.h-1)/(8*c0.h)) * int64((w.header.Height+8*c0.v-1)/(8*c0.v))
	perMCU := 0
	for _, c := range w.components[:w.nComp] {
		perMCU += 64 * c.h * c.v
	}
	total := mcus * int64(perMCU)
	if w.header.Progressive {
		total *= 5
	}
	if w.header.ColorModel == RGB || w.header.ColorModel == CMYK {
		total += 4 * int64(w.header.Width) * int64(w.header.Height)
	}
	return total
}
