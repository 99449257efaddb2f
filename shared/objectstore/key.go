package objectstore

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// MaxKeyBytes is the maximum length of a key, MaxElementBytes that of an element. File
// systems, and S3 servers that are built on them, have these limits.
const (
	MaxKeyBytes     = 512
	MaxElementBytes = 255
)

// CheckKey returns an error for an invalid key. Stores call it first in every method.
func CheckKey(key string) error {
	if err := checkText(key); err != nil {
		return err
	}
	for part := range strings.SplitSeq(key, "/") {
		if !isElement(part) {
			return fmt.Errorf("object key %.64q has the invalid element %.64q", key, part)
		}
	}
	return nil
}

// CheckPrefix returns an error for a prefix with which no valid key can start. The
// empty prefix is valid.
func CheckPrefix(prefix string) error {
	if err := checkText(prefix); err != nil {
		return err
	}
	parts := strings.Split(prefix, "/")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		if !isElement(part) {
			return fmt.Errorf("object key prefix %.64q has the invalid element %.64q", prefix, part)
		}
	}
	if len(last) > MaxElementBytes {
		return fmt.Errorf("object key prefix %.64q has the invalid element %.64q", prefix, last)
	}
	return nil
}

// MaxContentTypeBytes is the maximum length of a content type.
const MaxContentTypeBytes = 255

// DefaultContentType is the content type of objects that were put without one.
const DefaultContentType = "application/octet-stream"

// CheckContentType returns an error for a content type that cannot be sent as a header.
// The empty content type means [DefaultContentType].
func CheckContentType(contentType string) error {
	bad := func(r rune) bool { return r < ' ' || r > '~' }
	if len(contentType) > MaxContentTypeBytes || strings.ContainsFunc(contentType, bad) {
		return fmt.Errorf("content type %.64q is too long or not printable ASCII", contentType)
	}
	if strings.TrimSpace(contentType) != contentType {
		return fmt.Errorf("content type %.64q starts or ends with a space", contentType)
	}
	return nil
}

// CheckPart returns an error for a part that no object can have.
func CheckPart(etag string, offset, length int64) error {
	if etag == "" || offset < 0 || length <= 0 || offset > math.MaxInt64-length {
		return fmt.Errorf("part of %d bytes from %d with the ETag %.64q is not a part of an object", length, offset, etag)
	}
	return nil
}

func checkText(key string) error {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if len(key) > MaxKeyBytes || !utf8.ValidString(key) || strings.ContainsFunc(key, control) {
		return fmt.Errorf("object key %.64q is too long or not text", key)
	}
	return nil
}

func isElement(part string) bool {
	return part != "" && part != "." && part != ".." && len(part) <= MaxElementBytes
}
