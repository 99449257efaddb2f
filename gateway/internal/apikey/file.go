package apikey

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// parse reads the lines of a file: a name, the SHA-256 of the key in hex, and the
// options of the name, with # before a comment. It ignores a byte order mark, which
// Windows editors write. Its error lists all mistakes, without the hashes.
func parse(text []byte, defaults Limits) ([]*Key, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, errors.New("the file is UTF-16, want UTF-8")
	}
	var keys []*Key
	var errs []error
	names, hashes := map[string]*Key{}, map[[sha256.Size]byte]int{}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		content, _, _ := strings.Cut(string(line), "#")
		fields := strings.Fields(content)
		if len(fields) == 0 {
			continue
		}
		k, err := parseKey(fields, defaults)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		k.line = n
		if other := hashes[k.hash]; other != 0 {
			errs = append(errs, fmt.Errorf("line %d: duplicate of the key on line %d", n, other))
			continue
		}
		// The rights of a name must not depend on which of its keys a client uses.
		if other := names[k.Name]; other != nil && (other.Limits != k.Limits || other.Operator != k.Operator || other.CaptionsOff != k.CaptionsOff) {
			errs = append(errs, fmt.Errorf("line %d: %s has different options on line %d", n, k.Name, other.line))
			continue
		}
		names[k.Name], hashes[k.hash] = k, n
		keys = append(keys, k)
	}
	if len(keys) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no keys; create one with: gateway api-keys new NAME"))
	}
	return keys, errors.Join(errs...)
}

func parseKey(fields []string, defaults Limits) (*Key, error) {
	if len(fields) < 2 {
		return nil, errors.New("want a name and the SHA-256 of its key in hex")
	}
	k := &Key{Name: fields[0], Limits: defaults}
	if err := CheckName(k.Name); err != nil {
		return nil, err
	}
	hash, err := hex.DecodeString(fields[1])
	if err != nil || len(hash) != sha256.Size {
		return nil, fmt.Errorf("%s: want the SHA-256 of the key as 64 hex digits", k.Name)
	}
	k.hash = [sha256.Size]byte(hash)
	for _, option := range fields[2:] {
		if option == "operator" {
			k.Operator = true
			continue
		}
		if option == "captions=off" {
			k.CaptionsOff = true
			continue
		}
		name, value, _ := strings.Cut(option, "=")
		limit := map[string]*int64{
			"requests_per_minute": &k.Limits.RequestsPerMinute, "upload_bytes_per_minute": &k.Limits.UploadBytesPerMinute,
			"open_images": &k.Limits.OpenImages, "sockets": &k.Limits.Sockets,
		}[name]
		if limit == nil {
			return nil, fmt.Errorf("%s: want operator, captions=off, requests_per_minute=N, upload_bytes_per_minute=N, open_images=N or sockets=N", k.Name)
		}
		if *limit, err = strconv.ParseInt(value, 10, 64); err != nil || *limit < 0 {
			return nil, fmt.Errorf("%s: %s: want a whole number, 0 for no limit", k.Name, name)
		}
	}
	return k, nil
}

var validName = regexp.MustCompile(`^[a-zA-Z0-9._@-]{1,64}$`)

// CheckName rejects a name of API keys that is not one word in a line, a log or a label.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return errors.New("a name is 1 to 64 letters, digits and . _ - @")
	}
	return nil
}
