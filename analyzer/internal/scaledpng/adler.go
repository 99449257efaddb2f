package scaledpng

import "encoding/binary"

// adler is the checksum of a zlib stream (RFC 1950, 8.2): the sum of the bytes plus one, and the sum of all
// those sums, each modulo 65,521. It is the same as hash/adler32, computed eight bytes at a time.
type adler struct{ a, b uint64 }

const (
	adlerBase = 65521
	// adlerBlock is the length of a block: after 22 words, a lane of 16 bits is at most 255 * (1 + 2 + … + 21).
	adlerBlock = 22 * wide
	lowBytes   = 0x00ff00ff00ff00ff
)

func newAdler() adler { return adler{a: 1} }

func (s *adler) value() uint32 { return uint32(s.b<<16 | s.a) }

// add adds less than 128 MiB, whose sums fit in 64 bits.
func (s *adler) add(p []byte) {
	for len(p) >= adlerBlock {
		s.addBlock(p[:adlerBlock])
		p = p[adlerBlock:]
	}
	for _, v := range p {
		s.a += uint64(v)
		s.b += s.a
	}
	s.a %= adlerBase
	s.b %= adlerBase
}

// addBlock adds one block. even and odd are the sums of the bytes in each position of a word; evens and odds
// are the sums of those sums before each word.
func (s *adler) addBlock(p []byte) {
	var even, odd, evens, odds uint64
	for i := 0; i <= len(p)-2*wide; i += 2 * wide {
		words := p[i : i+2*wide : i+2*wide]
		v := binary.LittleEndian.Uint64(words)
		evens += even
		odds += odd
		even += v & lowBytes
		odd += v >> 8 & lowBytes
		v = binary.LittleEndian.Uint64(words[wide:])
		evens += even
		odds += odd
		even += v & lowBytes
		odd += v >> 8 & lowBytes
	}
	s.b += adlerBlock*s.a + wide*(weighted(evens, 1, 1, 1, 1)+weighted(odds, 1, 1, 1, 1)) +
		weighted(even, 8, 6, 4, 2) + weighted(odd, 7, 5, 3, 1)
	s.a += weighted(even, 1, 1, 1, 1) + weighted(odd, 1, 1, 1, 1)
}

// weighted returns the sum of the four lanes of a word, each multiplied by a weight. The upper half of a product
// is the sum of two of them.
func weighted(lanes, w0, w1, w2, w3 uint64) uint64 {
	const half = 0x0000ffff0000ffff
	return (lanes&half*(w0<<32|w2) + lanes>>16&half*(w1<<32|w3)) >> 32
}
