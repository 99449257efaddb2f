package scaledpng

import "encoding/binary"

// The filters (PNG, third edition, 9.2).
const (
	filterNone = iota
	filterSub
	filterUp
	filterAverage
	filterPaeth
)

// unfilter removes the filter of a row of n bytes from src into dst. above is the row above, and a pixel has
// size bytes. The slices are at least n+spare bytes long: what is behind n bytes may be read, and in dst changed.
func unfilter(dst, above, src []byte, n, size int, filter byte) error {
	switch filter {
	case filterNone:
		copy(dst, src)
	case filterSub:
		sub(dst, src, n, size)
	case filterUp:
		up(dst, above, src, n)
	case filterAverage:
		average(dst, above, src, n, size)
	case filterPaeth:
		paeth(dst, above, src, n, size)
	default:
		return errFilter
	}
	return nil
}

const (
	highBits = 0x8080808080808080
	lowBits  = ^uint64(highBits)
)

// addBytes adds the eight bytes of two words, each modulo 256.
func addBytes(x, y uint64) uint64 {
	return (x&lowBits + y&lowBits) ^ (x^y)&highBits
}

// sub adds to each pixel the one before it. A word holds one pixel; its other bytes are written again with the
// next pixel.
func sub(dst, src []byte, n, size int) {
	if size == 1 {
		left := byte(0)
		for i, v := range src[:n] {
			left += v
			dst[i] = left
		}
		return
	}
	left := uint64(0)
	for i := 0; i < n; i += size {
		left = addBytes(left, binary.LittleEndian.Uint64(src[i:]))
		binary.LittleEndian.PutUint64(dst[i:], left)
	}
}

// up adds to each byte the one above it.
func up(dst, above, src []byte, n int) {
	for i := 0; i < n; i += spare {
		d, a, s := dst[i:i+spare:i+spare], above[i:i+spare:i+spare], src[i:i+spare:i+spare]
		upWord(d, a, s)
		upWord(d[wide:], a[wide:], s[wide:])
		upWord(d[2*wide:], a[2*wide:], s[2*wide:])
		upWord(d[3*wide:], a[3*wide:], s[3*wide:])
	}
}

func upWord(dst, above, src []byte) {
	binary.LittleEndian.PutUint64(dst, addBytes(binary.LittleEndian.Uint64(above), binary.LittleEndian.Uint64(src)))
}

// average adds to each pixel the mean of the ones before and above it, rounded down; see sub.
func average(dst, above, src []byte, n, size int) {
	switch size {
	case 1:
		averageGray(dst[:n], above[:n], src[:n])
		return
	case 3:
		averageRGB(dst[:n], above[:n], src[:n])
		return
	}
	left := uint64(0)
	for i := 0; i < n; i += size {
		over := binary.LittleEndian.Uint64(above[i:])
		mean := left&over + (left^over)>>1&lowBits
		left = addBytes(mean, binary.LittleEndian.Uint64(src[i:]))
		binary.LittleEndian.PutUint64(dst[i:], left)
	}
}

// averageGray does the same for pixels of one byte, one after the other.
func averageGray(dst, above, src []byte) {
	left := uint(0)
	for i, v := range src {
		left = ((left+uint(above[i]))/2 + uint(v)) & 255
		dst[i] = byte(left)
	}
}

// averageRGB does the same for pixels of three bytes, whose channels the processor computes at the same time.
func averageRGB(dst, above, src []byte) {
	var left0, left1, left2 uint
	for i := 0; i <= len(src)-3; i += 3 {
		d, a, s := dst[i:i+3:i+3], above[i:i+3:i+3], src[i:i+3:i+3]
		left0 = ((left0+uint(a[0]))/2 + uint(s[0])) & 255
		left1 = ((left1+uint(a[1]))/2 + uint(s[1])) & 255
		left2 = ((left2+uint(a[2]))/2 + uint(s[2])) & 255
		d[0], d[1], d[2] = byte(left0), byte(left1), byte(left2)
	}
}

// paeth adds to each pixel the nearest of the ones before it, above it and before that one.
func paeth(dst, above, src []byte, n, size int) {
	dst, above, src = dst[:n], above[:n], src[:n]
	// Before the first pixel there is nothing, and the nearest is the one above.
	for i := range size {
		dst[i] = src[i] + above[i]
	}
	// The processor computes three channels at the same time; more do not fit in its registers.
	channel := 0
	if size == 3 {
		paethRGB(dst, above, src)
		return
	}
	for ; size-channel >= 3; channel += 3 {
		paeth3(dst[channel:], above[channel:], src[channel:], size)
	}
	for ; channel < size; channel++ {
		paeth1(dst[channel:], above[channel:], src[channel:], size)
	}
}

// paeth1 continues the first channel of a row whose pixels have size bytes.
func paeth1(dst, above, src []byte, size int) {
	left, corner := int(dst[0]), int(above[0])
	for i := size; i < len(src) && i < len(above) && i < len(dst); i += size {
		over := int(above[i])
		left = int(src[i] + nearest(left, over, corner))
		dst[i], corner = byte(left), over
	}
}

// paethRGB continues a row whose pixels have three bytes.
func paethRGB(dst, above, src []byte) {
	left0, left1, left2 := int(dst[0]), int(dst[1]), int(dst[2])
	for i := 3; i <= len(src)-3; i += 3 {
		d, a, s := dst[i:i+3:i+3], above[i-3:i+3:i+3], src[i:i+3:i+3]
		left0 = int(s[0] + nearest(left0, int(a[3]), int(a[0])))
		d[0] = byte(left0)
		left1 = int(s[1] + nearest(left1, int(a[4]), int(a[1])))
		d[1] = byte(left1)
		left2 = int(s[2] + nearest(left2, int(a[5]), int(a[2])))
		d[2] = byte(left2)
	}
}

// paeth3 continues the first three channels.
func paeth3(dst, above, src []byte, size int) {
	left0, left1, left2 := int(dst[0]), int(dst[1]), int(dst[2])
	for i := size; i <= len(src)-3; i += size {
		d, c, a, s := dst[i:i+3:i+3], above[i-size:i-size+3:i-size+3], above[i:i+3:i+3], src[i:i+3:i+3]
		left0 = int(s[0] + nearest(left0, int(a[0]), int(c[0])))
		d[0] = byte(left0)
		left1 = int(s[1] + nearest(left1, int(a[1]), int(c[1])))
		d[1] = byte(left1)
		left2 = int(s[2] + nearest(left2, int(a[2]), int(c[2])))
		d[2] = byte(left2)
	}
}

// nearest returns the Paeth predictor: whichever of left, above and corner is nearest to left+above-corner, in
// this order if several are. The comparison with a threshold, which is the same, needs no absolute values (as
// in stb_image).
func nearest(left, above, corner int) byte {
	threshold := 3*corner - left - above
	low, high := min(left, above), max(left, above)
	found := corner
	if high <= threshold {
		found = low
	}
	if threshold <= low {
		found = high
	}
	return byte(found)
}
