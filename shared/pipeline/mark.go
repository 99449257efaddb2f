package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Mark is the digest that the processor writes beside a value which the analyzer
// has composed, and by which both know it again when the processed image is sent
// in: 64 bits of SHA-256, as hex, of the sorted values with a zero byte after each.
// The order of keywords means nothing, and programs change it; the least edit
// takes a value out of our hands.
func Mark(values []string) string {
	h := sha256.New()
	for _, v := range slices.Sorted(slices.Values(values)) {
		h.Write([]byte(v + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
