package imagefile

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// jpegWalk checks one JPEG file.
type jpegWalk struct {
	jpegMarkers

	limits Limits
	header Header

	components [4]jpegComponent
	tables     [4][64]uint16 // current quantization tables
	nComp      int           // number of components; 0 until the frame header
	maxH, maxV int           // largest sampling factors
	entropy    int           // bytes of entropy-coded data
	inScan     bool          // entropy-coded data follows

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

// readJPEG walks over the markers of a JPEG file from its start to its end-of-image marker. If every component has
// been in a scan, the rest may be anything: some cameras write other data in place of the end-of-image marker.
func readJPEG(data []byte, limits Limits) (Header, error) {
	w := &jpegWalk{jpegMarkers: jpegMarkers{data: data, pos: 2}, limits: limits, header: Header{BitDepth: 8}}
	for {
		ended, err := w.step()
		if ended {
			return w.end()
		}
		if err == nil {
			continue
		}
		if f := new(pipeline.Failure); !w.allScanned() || errors.As(err, &f) && f.Code == pipeline.CodeTooManyPixels {
			return Header{}, err
		}
		w.header.Unterminated = true
		w.pos = len(data)
		return w.end()
	}
}

// step reads the next segment. It reports whether it is the end of the image.
func (w *jpegWalk) step() (ended bool, err error) {
	start := w.pos
	marker, err := w.next()
	if w.inScan {
		w.entropy += w.pos - start
	}
	if err != nil || marker == markerEOI {
		return err == nil, err
	}
	w.inScan = marker == markerSOS
	segment, err := w.segment(marker)
	if err != nil {
		return false, err
	}
	if err := w.visit(marker, segment.Of(w.data)); err != nil {
		return false, err
	}
	w.header.noteSegment(w.data, marker, segment)
	return false, nil
}

// allScanned reports whether every component has been in a scan.
func (w *jpegWalk) allScanned() bool {
	for i := range w.nComp {
		if !w.components[i].scanned {
			return false
		}
	}
	return w.nComp > 0
}

func (w *jpegWalk) visit(marker byte, segment []byte) error {
	switch marker {
	case markerSOF0, markerSOF1, markerSOF2:
		return w.frame(marker, segment)
	case markerSOS:
		return w.scan(segment)
	case markerAPP0:
		// Only a whole JFIF segment before the first scan counts for the decoder. The same is true of Adobe's.
		if w.header.Scans == 0 && len(segment) >= 14 && string(segment[:5]) == "JFIF\x00" {
			w.jfif = true
		}
	case markerAPP14:
		if w.header.Scans == 0 && len(segment) >= 12 && string(segment[:5]) == "Adobe" {
			w.adobe, w.adobeTransform = true, segment[11]
		}
	case markerDHP, markerEXP:
		return unsupportedJPEG("hierarchical coding")
	case markerSOF55:
		return unsupportedFormat("JPEG-LS")
	case markerDQT:
		w.quantization(segment)
	case markerDHT, markerDRI, markerCOM, markerDNL, markerDAC:
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

// quantization records the tables of a DQT segment (T.81, B.2.4.1). It ignores damaged tables; the decoder
// rejects them.
func (w *jpegWalk) quantization(segment []byte) {
	for len(segment) > 0 {
		wide, id := segment[0]>>4, segment[0]&15
		size := 64 * (1 + int(wide))
		if wide > 1 || id > 3 || len(segment) < 1+size {
			return
		}
		values := segment[1 : 1+size]
		for i := range w.tables[id] {
			if wide == 1 {
				w.tables[id][i] = binary.BigEndian.Uint16(values[2*i:])
			} else {
				w.tables[id][i] = uint16(values[i])
			}
		}
		segment = segment[1+size:]
	}
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

// frame reads a frame header (T.81, B.2.2). It accepts the same headers as the decoder.
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
		w.header.Height = w.laterHeight()
	}
	if w.header.Height == 0 {
		return damagedJPEG("it is 0 pixels high")
	}
	if err := w.limits.checkSize(w.header.Width, w.header.Height); err != nil {
		return err
	}
	w.nComp = n
	w.header.Progressive = marker == markerSOF2
	for i := range n {
		c := segment[6+3*i:]
		w.components[i] = jpegComponent{id: c[0], h: int(c[1] >> 4), v: int(c[1] & 15), table: c[2]}
		if c[2] > 3 {
			return damagedJPEG("a component has no quantisation table")
		}
	}
	return w.checkSampling()
}

// laterHeight returns the height that follows the first scan (T.81, B.2.5), or 0.
func (w *jpegWalk) laterHeight() int {
	ahead := jpegMarkers{data: w.data, pos: w.pos}
	for inScan := false; ; {
		marker, err := ahead.next()
		if err != nil || marker == markerEOI {
			return 0
		}
		segment, err := ahead.segment(marker)
		switch {
		case err != nil:
			return 0
		case inScan && marker == markerDNL && segment.End-segment.Start == 2:
			return int(binary.BigEndian.Uint16(segment.Of(w.data)))
		case inScan:
			return 0
		}
		inScan = marker == markerSOS
	}
}

// checkSampling accepts the sampling factors that divide the largest ones. It sets the only component of a gray
// image to 1×1, according to T.81 A.2.2.
func (w *jpegWalk) checkSampling() error {
	components := w.components[:w.nComp]
	for _, c := range components {
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return damagedJPEG("impossible sampling factors")
		}
		w.maxH, w.maxV = max(w.maxH, c.h), max(w.maxV, c.v)
	}
	if w.nComp == 1 {
		components[0].h, components[0].v = 1, 1
		w.maxH, w.maxV = 1, 1
	}
	for _, c := range components {
		if w.maxH%c.h != 0 || w.maxV%c.v != 0 {
			return unsupportedJPEG("its subsampling")
		}
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
	var scanned [4]bool // in this scan
	for i := range int(segment[0]) {
		// Some encoders give several components the same number: the first one that is not yet in the scan counts.
		j := 0
		for j < w.nComp && (scanned[j] || w.components[j].id != segment[1+2*i]) {
			j++
		}
		if j == w.nComp {
			return damagedJPEG("a scan is of an unknown component")
		}
		scanned[j], w.components[j].scanned = true, true
	}
	if w.header.Scans == 0 {
		// Tables that are defined later are for other scans, or unused.
		w.header.Luma = w.tables[w.components[0].table]
		if w.nComp > 1 {
			w.header.Chroma = w.tables[w.components[1].table]
		}
	}
	w.header.Scans++
	w.header.lastScan = w.pos
	return w.limits.checkWork(w.header.Width, w.header.Height, w.header.Scans)
}

// end checks the file as a whole after the end-of-image marker and completes the header.
func (w *jpegWalk) end() (Header, error) {
	if w.header.Scans == 0 {
		return Header{}, damagedJPEG("holds no picture")
	}
	if !w.allScanned() {
		return Header{}, damagedJPEG("a part of its colours is missing")
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
		w.header.ColorModel = CMYK
	}
	w.header.decodedBytes = w.decodedBytes()
	w.header.Trailing = len(w.data) - w.pos
	return w.header, nil
}

// isRGB follows libjpeg: no JFIF, and either Adobe's transform 0 or the components R, G and B.
func (w *jpegWalk) isRGB() bool {
	if w.jfif || w.adobe {
		return !w.jfif && w.adobeTransform == 0
	}
	return w.components[0].id == 'R' && w.components[1].id == 'G' && w.components[2].id == 'B'
}

// decodedBytes adds up the allocations of the decoder: one byte for each sample, four more for its coefficient
// in a progressive image, and four per pixel if it converts to RGB or CMYK at the end. Where the sampling factors
// are rare ones, all planes may become as large as the largest, and are copied.
func (w *jpegWalk) decodedBytes() int64 {
	h, v := w.maxH, w.maxV
	mcus := int64((w.header.Width+8*h-1)/(8*h)) * int64((w.header.Height+8*v-1)/(8*v))
	rare := w.hasRareSampling()
	perMCU := 0
	for _, c := range w.components[:w.nComp] {
		if rare {
			c.h, c.v = h, v
		}
		perMCU += 64 * c.h * c.v
	}
	total := mcus * int64(perMCU)
	if w.header.Progressive {
		total *= 5
	}
	if rare || w.header.ColorModel == RGB || w.header.ColorModel == CMYK {
		total += 4 * int64(w.header.Width) * int64(w.header.Height)
	}
	return total
}

// hasRareSampling reports whether a plane is smaller than others that cameras would not make smaller: luma, black
// or one of RGB or CMYK, one of the two planes of chroma, or both of them by an unusual factor.
func (w *jpegWalk) hasRareSampling() bool {
	c := w.components[:w.nComp]
	small := func(c jpegComponent) bool { return c.h < w.maxH || c.v < w.maxV }
	switch {
	case len(c) == 1:
		return false
	case w.header.ColorModel == RGB, len(c) == 4 && (!w.adobe || w.adobeTransform == 0):
		return slices.ContainsFunc(c, small)
	case small(c[0]), len(c) == 4 && small(c[3]), c[1].h != c[2].h || c[1].v != c[2].v:
		return true
	}
	across, down := w.maxH/c[1].h, w.maxV/c[1].v
	return across == 3 || down > 2
}
