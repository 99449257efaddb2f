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
)

// Bounds of names, in bytes.
const (
	maxNameBytes    = 1024 // of an original file name
	maxKeyNameBytes = 200  // of the name in an object key
)

// nameless is the key name of a name of which nothing is left.
const nameless = "image"

// originalFilename is what the client sees as the image's file name: the name as
// given without its control characters, else the last segment of the URL, else
// image-N, N counted from 1.
func originalFilename(name, rawURL string, index int) string {
	if name = printable(name); name != "" {
		return name
	}
	if u, err := url.Parse(strings.TrimSpace(rawURL)); err == nil && rawURL != "" {
		// Path is decoded; a slash that was encoded in the last segment is a part of it.
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

// printable removes control characters, those that turn the direction of writing
// and line breaks included, and bounds the length.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	return strings.TrimSpace(cut(name, maxNameBytes))
}

// cut shortens s to at most n bytes at the boundary of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// fitting lists the extensions that name a format, the one that is given first.
var fitting = [][]string{
	{".jpg", ".jpeg", ".jpe", ".jfif"},
	{".png"},
}

// misleading lists extensions of other image formats: one that the bytes
// contradict is replaced instead of kept in the middle of the name.
var misleading = []string{".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg"}

// KeyName makes a name safe as the last element of an object key. The result is
// in Unicode's form NFC and has only letters, digits and marks of any script,
// spaces and . _ - ( ) +, all else became "_". It has at most 200 bytes, neither a
// leading dot nor a space at either end, and is never empty. Its extension is the
// name's own when it fits ext, the extension that goes with the bytes (".jpg" or
// ".png"), else ext; with an empty ext the name's own stays. Making a result safe
// again changes nothing.
func KeyName(name, ext string) string {
	// The bound keeps the normalization of a hostile name cheap.
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
