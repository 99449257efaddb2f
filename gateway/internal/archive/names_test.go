package archive_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/archive"
)

func TestPaths(t *testing.T) {
	for name, c := range map[string]struct{ names, want []string }{ // "" if it is not taken
		"folders":                    {[]string{"a/b/c.jpg", "a/c.jpg", "a/b c/.é&'(1).jpg", "c.jpg"}, []string{"a/b/c.jpg", "a/c.jpg", "a/b c/.é&'(1).jpg", "c.jpg"}},
		"repeats":                    {[]string{"a.b/c.jpg", "a.b/c.jpg", "A.B/C.jpg"}, []string{"a.b/c.jpg", "a.b/c (2).jpg", "A.B/C (3).jpg"}},
		"outside":                    {[]string{"../a.jpg", "a/../../b.jpg", "a/..", "..", ".", "./a.jpg", "a/./b.jpg", "/a.jpg", "//server/a.jpg"}, make([]string, 9)},
		"outside on Windows":         {[]string{`C:\a.jpg`, `C:a.jpg`, `a\..\..\b.jpg`, `\\server\a.jpg`, `a/b:stream`}, make([]string, 5)},
		"no name":                    {[]string{"", "a/", "a//b.jpg", "/"}, make([]string, 4)},
		"devices":                    {[]string{"con", "a/NUL.jpg", "com1/b.jpg", "a/aux.tar/b.jpg"}, make([]string, 4)},
		"changed on Windows":         {[]string{"a./b.jpg", "a /b.jpg", "a/b.jpg.", "a/b.jpg ", "a?.jpg", "a*.jpg", "a|b", "<a>", `"a"`}, make([]string, 9)},
		"invisible":                  {[]string{"a\x00.jpg", "a\n.jpg", "a\u202egpj.exe", "a\xff.jpg", "\ufeffa.jpg"}, []string{"", "", "", "", ""}},
		"too long":                   {[]string{strings.Repeat("a", 201), strings.Repeat("a", 200) + "/a"}, []string{"", strings.Repeat("a", 200) + "/a"}},
		"a file like a folder":       {[]string{"a/b", "A", "a.json/x", "a (2)/x", "a"}, []string{"a/b", "A (2)", "a.json/x", "", "a (3)"}},
		"a folder like a file":       {[]string{"a", "a/b", "A.json/b", "c/d", "c/d/e"}, []string{"a", "", "", "c/d", ""}},
		"a folder like the manifest": {[]string{"manifest.jsonl", "manifest.jsonl/a"}, []string{"manifest (2).jsonl", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			names := archive.NewNames("manifest.jsonl")
			var got []string
			for _, n := range c.names {
				taken, ok := names.TakePath(n, ".json", ".thumb.jpg", ".xmp")
				if ok != (taken != "") {
					t.Errorf("%q: got %q, %t", n, taken, ok)
				}
				got = append(got, taken)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for name, c := range map[string]struct{ names, want []string }{
		"different":             {[]string{"a.jpg", "b.jpg"}, []string{"a.jpg", "b.jpg"}},
		"repeats":               {[]string{"a.jpg", "a.jpg", "a.jpg"}, []string{"a.jpg", "a (2).jpg", "a (3).jpg"}},
		"a name like a repeat":  {[]string{"a (2).jpg", "a.jpg", "a.jpg", "a (2).jpg"}, []string{"a (2).jpg", "a.jpg", "a (3).jpg", "a (2) (2).jpg"}},
		"case":                  {[]string{"IMG.JPG", "img.jpg", "Img.Jpg"}, []string{"IMG.JPG", "img (2).jpg", "Img (3).Jpg"}},
		"case of other scripts": {[]string{"ФОТО.jpg", "фото.jpg", "Straße.jpg", "STRASSE.jpg"}, []string{"ФОТО.jpg", "фото (2).jpg", "Straße.jpg", "STRASSE (2).jpg"}},
		"composed or not":       {[]string{"\u00e9.jpg", "e\u0301.jpg"}, []string{"\u00e9.jpg", "e\u0301 (2).jpg"}},
		"no extension":          {[]string{"a", "a"}, []string{"a", "a (2)"}},
		"two extensions":        {[]string{"a.tar.jpg", "a.tar.jpg"}, []string{"a.tar.jpg", "a.tar (2).jpg"}},
		"like a derived name":   {[]string{"a.jpg", "a.jpg.thumb.jpg", "b.jpg.thumb.jpg", "b.jpg"}, []string{"a.jpg", "a.jpg.thumb (2).jpg", "b.jpg.thumb.jpg", "b (2).jpg"}},
		"the manifest":          {[]string{"Manifest.jsonl"}, []string{"Manifest (2).jsonl"}},
		"devices":               {[]string{"con.jpg", "NUL.png", "Com1.jpg", "lpt³.jpg", "aux", "prn .jpg", "nul.tar.jpg", "CONIN$"}, []string{"_con.jpg", "_NUL.png", "_Com1.jpg", "_lpt³.jpg", "_aux", "_prn .jpg", "_nul.tar.jpg", "_CONIN$"}},
		"no devices":            {[]string{"console.jpg", "com.jpg", "com10.jpg", "a con.jpg", "null.jpg"}, []string{"console.jpg", "com.jpg", "com10.jpg", "a con.jpg", "null.jpg"}},
		"a device and its like": {[]string{"con.jpg", "_con.jpg"}, []string{"_con.jpg", "_con (2).jpg"}},
	} {
		t.Run(name, func(t *testing.T) {
			names := archive.NewNames("manifest.jsonl")
			var got []string
			for _, n := range c.names {
				got = append(got, names.Take(n, ".json", ".thumb.jpg", ".xmp"))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
