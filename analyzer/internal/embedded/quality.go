package embedded

import "github.com/imagebatch/imagebatch/shared/imagefile"

// annexK contains the tables of luma and chroma of ITU-T T.81, annex K.1, in zigzag order. The library of the
// Independent JPEG Group scales them by the quality, and nearly all others do the same.
var annexK = [2][64]int{
	{
		16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
		26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
		56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
		95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
	},
	{
		17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
	},
}

// farTable is the difference, as a fraction of the sum of the tables, from which on they do not belong to the
// scale: cameras have tables of their own.
const farTable = 0.03

// jpegQuality estimates the quality, 1 to 100, that a JPEG was written with: the one on the scale of the IJG
// whose tables are nearest to the file's. It returns 0 if none are near, or if the file is not a JPEG. Tables
// of the IJG itself give the exact quality, and the higher one where two qualities have the same tables.
func jpegQuality(h imagefile.Header) int {
	tables := []*[64]uint16{&h.Luma}
	if h.ColorModel == imagefile.YCbCr {
		tables = append(tables, &h.Chroma)
	}
	if h.Format != imagefile.JPEG || h.Luma[0] == 0 {
		return 0
	}
	best, least := 0, 0.0
	for quality := 100; quality >= 1; quality-- {
		apart, together := 0, 0
		for t, table := range tables {
			for i, k := range annexK[t] {
				want, got := atQuality(k, quality), int(table[i])
				apart += max(want-got, got-want)
				together += want + got
			}
		}
		if d := float64(apart) / float64(together); best == 0 || d < least {
			best, least = quality, d
		}
	}
	if least > farTable {
		return 0
	}
	return best
}

// atQuality returns an entry of the table at a quality, computed as in jpeg_set_quality (libjpeg, jcparam.c).
func atQuality(entry, quality int) int {
	scale := 200 - 2*quality
	if quality < 50 {
		scale = 5000 / quality
	}
	return min(max((entry*scale+50)/100, 1), 255)
}
