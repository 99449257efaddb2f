package intake

import (
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
)

// Length limits of names, in bytes.
const (
	maxNameBytes    = 1024 // original file name
	maxKeyNameBytes = 200  // name in an object key
)

// nameless is the key name used when no character of a name is left.
const nameless = "image"

// originalFilename returns the file name that the client sees: the given name without its
// control characters, else the last segment of the URL, else image-N, where N counts
// from 1.
func originalFilename(name, rawURL string, index int) string {
	if name = printable(name); name != "" {
		return name
	}
	rawURL, _, _ = strings.Cut(strings.TrimSpace(rawURL), "#")
	if u, err := url.Parse(download.Escape(rawURL)); err == nil && rawURL != "" {
		// EscapedPath keeps an encoded slash in the last segment, where it is part of the name.
		segment := u.EscapedPath()
		segment = segment[strings.LastIndexByte(segment, '/')+1:]
		if decoded, err := url.PathUnescape(segment); err == nil {
			if name = printable(decoded); name != "" {
				return name
			}
		}
	}
	return "image-" + strconv.Itoa(index+1)
}

// printable removes control characters, bidirectional controls and line breaks, and limits
// the length.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	return strings.TrimSpace(cut(name, maxNameBytes))
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// fitting lists the extensions of each format. The first one is the default.
var fitting = [][]string{
	{".jpg", ".jpeg", ".jpe", ".jfif"},
	{".png"},
}

// misleading lists extensions of other image formats. If the bytes contradict such an
// extension, it is replaced instead of kept in the middle of the name.
var misleading = []string{".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg"}

// KeyName returns a safe form of name for use as the last element of an object key. The
// result is in Unicode form NFC and contains only letters, digits and marks of any script,
// spaces and . _ - ( ) +; every other character becomes "_". It has at most 200 bytes, no
// leading dot and no space at either end, and is never empty. It keeps the extension of name
// if that matches ext, the extension of the detected format (".jpg" or ".png"); otherwise it
// gets ext. With an empty ext the extension stays. KeyName is idempotent.
func KeyName(name, ext string) string {
	// The limit keeps the normalization of a hostile name cheap.
	name = norm.NFC.String(strings.ToValidUTF8(cut(name, 2*maxNameBytes), "_"))
	name = strings.Map(safe, name)
	own := path.Ext(name)
	base := strings.TrimSuffix(name, own)
	lower := strings.ToLower(own)
	switch {
	case ext == "":
		base, own = name, ""
	case fits(lower, ext):
	case known(lower):
		own = ext
	default:
		base, own = name, ext
	}
	base = strings.TrimLeft(base, " ")
	if strings.HasPrefix(base, ".") {
		base = "_" + base[1:]
	}
	base = strings.TrimRight(cut(base, maxKeyNameBytes-len(own)), " ")
	if base == "" {
		base = nameless
	}
	return base + own
}

func safe(r rune) rune {
	if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune(" ._-()+", r) {
		return r
	}
	return '_'
}

// fits reports whether the extension own names the same format as ext.
func fits(own, ext string) bool {
	return slices.ContainsFunc(fitting, func(names []string) bool {
		return names[0] == ext && slices.Contains(names, own)
	})
}

// known reports whether the extension names an image format.
func known(own string) bool {
	return slices.Contains(misleading, own) ||
		slices.ContainsFunc(fitting, func(names []string) bool { return slices.Contains(names, own) })
}
