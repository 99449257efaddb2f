package objectstore

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxKeyBytes is the longest key a Store takes.
const MaxKeyBytes = 512

// CheckKey returns an error for a key that no Store takes. Stores call it first
// in every method.
func CheckKey(key string) error {
	if len(key) > MaxKeyBytes || !utf8.ValidString(key) || strings.ContainsRune(key, 0) {
		return fmt.Errorf("object key %.64q is too long or not text", key)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("object key %.64q has the element %q", key, part)
		}
	}
	return nil
}
