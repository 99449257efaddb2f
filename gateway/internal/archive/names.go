package archive

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Names gives out the names of the entries, each only once. Names that some systems do
// not distinguish count as the same: those that differ only in upper and lower case, or in
// the Unicode form of their letters.
type Names struct{ taken map[string]bool }

// NewNames returns Names in which the given names are taken.
func NewNames(taken ...string) *Names {
	n := &Names{map[string]bool{}}
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
	free := !n.taken[folded(name)]
	for _, s := range suffixes {
		free = free && !n.taken[folded(name+s)]
	}
	return free
}

// reserved matches the names of devices, which Windows also opens with an extension
// (learn.microsoft.com, "Naming Files, Paths, and Namespaces").
var reserved = regexp.MustCompile(`(?i)^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\.|$)`)

func folded(name string) string { return norm.NFC.String(cases.Fold().String(norm.NFC.String(name))) }
