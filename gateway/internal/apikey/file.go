package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parse reads the lines of a file: a name, the SHA-256 of the key in hex, and what
// is set for it, with # before a comment. Its error tells everything that is wrong,
// without the hashes.
func parse(text []byte, defaults Limits) ([]*Key, error) {
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
			errs = append(errs, fmt.Errorf("line %d: the key of line %d once more", n, other))
			continue
		}
		// What a name may do must not depend on which of its keys it uses.
		if other := names[k.Name]; other != nil && (other.Limits != k.Limits || other.Operator != k.Operator) {
			errs = append(errs, fmt.Errorf("line %d: %s may do something else on line %d", n, k.Name, other.line))
			continue
		}
		names[k.Name], hashes[k.hash] = k, n
		keys = append(keys, k)
	}
	if len(keys) == 0 && len(errs) == 0 {
		errs = append(errs, errNoKeys)
	}
	return keys, errors.Join(errs...)
}

func parseKey(fields []string, defaults Limits) (*Key, error) {
	if len(fields) < 2 {
		return nil, errors.New("want a name and the SHA-256 of its key in hex")
	}
	k := &Key{Name: fields[0], Limits: defaults}
	if err := checkName(k.Name); err != nil {
		return nil, err
	}
	if n, err := hex.Decode(k.hash[:], []byte(fields[1])[:min(len(fields[1]), 2*len(k.hash))]); err != nil || n != len(k.hash) || len(fields[1]) != 2*len(k.hash) {
		return nil, fmt.Errorf("%s: want the SHA-256 of the key as 64 hex digits", k.Name)
	}
	for _, option := range fields[2:] {
		if err := k.set(option); err != nil {
			return nil, fmt.Errorf("%s: %w", k.Name, err)
		}
	}
	return k, nil
}

// set takes in one option of a line.
func (k *Key) set(option string) error {
	if option == "operator" {
		k.Operator = true
		return nil
	}
	name, value, _ := strings.Cut(option, "=")
	n, err := strconv.ParseInt(value, 10, 64)
	if name == "upload_bytes_per_minute" {
		if err != nil || n < 0 {
			return fmt.Errorf("%s: want a whole number, 0 for no limit", name)
		}
		k.Limits.UploadBytesPerMinute = n
		return nil
	}
	limit := map[string]*int{
		"requests_per_minute": &k.Limits.RequestsPerMinute, "open_images": &k.Limits.OpenImages, "sockets": &k.Limits.Sockets,
	}[name]
	if limit == nil {
		return errors.New("want operator, requests_per_minute=N, upload_bytes_per_minute=N, open_images=N or sockets=N")
	}
	if err != nil || n < 0 || n > 1<<31-1 {
		return fmt.Errorf("%s: want a whole number, 0 for no limit", name)
	}
	*limit = int(n)
	return nil
}

// checkName refuses what would not stand as one word in a line, a log or a label.
func checkName(name string) error {
	sound := name != "" && len(name) <= 64
	for i := range len(name) {
		c := name[i]
		sound = sound && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-@", c) >= 0)
	}
	if !sound {
		return errors.New("a name is 1 to 64 letters, digits and . _ - @")
	}
	return nil
}
