package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Mark returns the digest that the processor writes next to a value that the analyzer
// has composed. Both use it to recognize the value when the processed image is
// submitted again. It is 64 bits of SHA-256, as hex, of the sorted values with a zero
// byte after each. The values are sorted because programs change the order of keywords.
// After any edit, a value no longer matches its mark and counts as the user's own.
func Mark(values []string) string {
	h := sha256.New()
	for _, v := range slices.Sorted(slices.Values(values)) {
		h.Write([]byte(v + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
