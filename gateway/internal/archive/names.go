package archive

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Names gives out the names of the entries, each only once. Names that some systems do
// not distinguish count as the same: those that differ only in upper and lower case, or in
// the Unicode form of their letters.
type Names struct{ taken, folders map[string]bool }

// NewNames returns Names in which the given names are taken.
func NewNames(taken ...string) *Names {
	n := &Names{map[string]bool{}, map[string]bool{}}
	for _, name := range taken {
		n.taken[folded(name)] = true
	}
	return n
}

// Take returns the name, or the first of "name (2).jpg", "name (3).jpg", … that is free
// together with its derived names, which are the name and a suffix. It takes them all.
// The name must already be one element of a path. Names that Windows reserves for devices
// get an underscore in front.
func (n *Names) Take(name string, suffixes ...string) string {
	if reserved.MatchString(name) {
		name = "_" + name
	}
	extension := path.Ext(name)
	base := strings.TrimSuffix(name, extension)
	for i := 2; !n.free(name, suffixes); i++ {
		name = fmt.Sprintf("%s (%d)%s", base, i, extension)
	}
	n.taken[folded(name)] = true
	for _, s := range suffixes {
		n.taken[folded(name+s)] = true
	}
	return name
}

func (n *Names) free(name string, suffixes []string) bool {
	free := !n.used(name)
	for _, s := range suffixes {
		free = free && !n.used(name+s)
	}
	return free
}

func (n *Names) used(name string) bool { return n.taken[folded(name)] || n.folders[folded(name)] }

// TakePath does what Take does for a path with folders, which are separated by slashes. It
// returns false, and takes nothing, for a path that some systems would not unpack below the
// folder of the archive, or not under that name, and for one with a folder whose name a file
// has.
func (n *Names) TakePath(name string, suffixes ...string) (string, bool) {
	var folders []string
	for i, element := 0, ""; i <= len(name); i += len(element) + 1 {
		element, _, _ = strings.Cut(name[i:], "/")
		if !portable(element) {
			return "", false
		}
		if i > 0 {
			folder := folded(name[:i-1])
			if n.taken[folder] {
				return "", false
			}
			folders = append(folders, folder)
		}
	}
	for _, folder := range folders {
		n.folders[folder] = true
	}
	return n.Take(name, suffixes...), true
}

// maxElement is the maximum length of an element in bytes. Every system allows 255, which
// leaves room for a suffix and a number.
const maxElement = 200

// portable reports whether the text can be the name of a file or a folder on every system.
func portable(element string) bool {
	unfit := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(`\:*?"<>|`, r) }
	return element != "" && utf8.ValidString(element) && len(element) <= maxElement && !strings.ContainsFunc(element, unfit) &&
		strings.Trim(element, " ") == element && !strings.HasSuffix(element, ".") && !reserved.MatchString(element)
}

// reserved matches the names of devices, which Windows also opens with an extension
// (learn.microsoft.com, "Naming Files, Paths, and Namespaces").
var reserved = regexp.MustCompile(`(?i)^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\.|$)`)

func folded(name string) string { return norm.NFC.String(cases.Fold().String(norm.NFC.String(name))) }
