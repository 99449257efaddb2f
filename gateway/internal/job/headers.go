package job

import (
	"encoding/json"
	"fmt"
	"io"
)

// Headers are the header fields that a client has chosen for the URL of an image, encoded for the
// store. They can contain secrets and are never printed. A store keeps them until the image is
// completed, or else until its job's originals are deleted: until then a retry may need them.
type Headers string

// NewHeaders encodes header fields. It returns "" if there are none.
func NewHeaders(fields map[string]string) Headers {
	if len(fields) == 0 {
		return ""
	}
	encoded, _ := json.Marshal(fields) // never fails for strings
	return Headers(encoded)
}

// Fields returns the header fields.
func (h Headers) Fields() map[string]string {
	var fields map[string]string
	if json.Unmarshal([]byte(h), &fields) != nil {
		return nil // "", as NewHeaders returns it
	}
	return fields
}

// Format writes a placeholder for every verb.
func (h Headers) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.shown()) }

// MarshalText returns the same placeholder for encoders and the log.
func (h Headers) MarshalText() ([]byte, error) { return []byte(h.shown()), nil }

func (h Headers) shown() string {
	if h == "" {
		return ""
	}
	return "xxxxx"
}
