package charset

import (
	"encoding/binary"
	"testing"
	"unicode/utf8"
)

func TestGuess(t *testing.T) {
	for in, want := range map[string]string{
		"Zürich": "Zürich", "Z\xfcrich": "Zürich", "\x80 5 \x96 \x93Haus\x94\x85": "€ 5 – “Haus”…", "\x8cuvre": "Œuvre",
		"a\x81b": "a\ufffdb", "": "",
	} {
		if got := Guess([]byte(in)); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestGuessUTF16(t *testing.T) {
	for name, c := range map[string]struct {
		in     string
		stated binary.ByteOrder
		want   string
	}{
		"little-endian":            {"G\x00r\x00\xfc\x00", binary.LittleEndian, "Grü"},
		"big-endian":               {"\x00G\x00r\x00\xfc", binary.BigEndian, "Grü"},
		"another order than it is": {"G\x00r\x00\xfc\x00", binary.BigEndian, "Grü"},
		"the opposite":             {"\x00G\x00r\x00\xfc", binary.LittleEndian, "Grü"},
		"marked little-endian":     {"\xff\xfeG\x00r\x00", binary.BigEndian, "Gr"},
		"marked big-endian":        {"\xfe\xff\x00G\x00r", binary.LittleEndian, "Gr"},
		"Japanese":                 {"\x65\xe5\x67\x2c\x8a\x9e", binary.BigEndian, "日本語"},
		"kana in the other order":  {"\x57\x30\x93\x30\x6b\x30", binary.BigEndian, "\u3057\u3093\u306b"},
		"one letter":               {"\x65\xe5", binary.BigEndian, "日"},
		"outside of the BMP":       {"\x3d\xd8\x00\xde", binary.LittleEndian, "😀"},
		"up to its zero":           {"a\x00\x00\x00\xff\xd8", binary.LittleEndian, "a"},
		"half a letter":            {"a\x00b", binary.LittleEndian, "a"},
		"none":                     {"", binary.LittleEndian, ""},
	} {
		if got := GuessUTF16([]byte(c.in), c.stated); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestJIS(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"bare codes":  {"\x46\x7c\x4b\x5c\x38\x6c", "日本語"},
		"padded":      {"\x46\x7c\x4b\x5c\x38\x6c\x00\x00\x20\x20", "日本語"},
		"ISO-2022-JP": {"a \x1b$B\x46\x7c\x4b\x5c\x1b(B b", "a 日本 b"},
		"Shift JIS":   {"\x93\xfa\x96\x7b\x8c\xea", "日本語"},
		"EUC":         {"\xc6\xfc\xcb\xdc\xb8\xec\xa4\xce", "日本語の"},
		"UTF-8":       {"日本語", "日本語"},
		"ASCII":       {"My photo", "My photo"},
		"odd ASCII":   {"photo", "photo"},
		"none":        {"", ""},
	} {
		if got := JIS([]byte(c.in)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestDeclared(t *testing.T) {
	for _, c := range []struct {
		declaration, in, want string
		known                 bool
	}{
		{"\x1b%G", "Zürich", "Zürich", true},
		{"\x1b%G", "Z\xfcrich", "Zürich", true},
		{"\x1b%/I", "Zürich", "Zürich", true},
		{"\x1b.A", "Z\xfcrich \xa4", "Zürich ¤", true},
		{"\x1b-A", "\xc3\xbc", "Ã¼", true},
		{"\x1b\xe2\x80\xa2A", "Z\xfcrich", "Zürich", true},
		{"\x1b(B\x1b-A", "Z\xfcrich \x93x\x94", "Zürich “x”", true},
		{"\x1b-b", "5 \xa4", "5 €", true},
		{"\x1b.b", "5 \xa4 \x96", "5 € –", true},
		{"\x1b-B", "\xb1", "ą", true},
		{"\x1b-L", "\xbf", "П", true},
		{"ISO-8859-15", "5 \xa4", "5 €", true},
		{"ISO_8859-1", "\xc3\xbc", "Ã¼", true},
		{"utf-8", "Zürich", "Zürich", true},
		{"", "Z\xfcrich", "Zürich", true},
		{"\x1b(B", "Zürich", "Zürich", true},
		{"\x1b$B", "Z\xfcrich", "Zürich", false},
		{"KOI8-R", "Z\xfcrich", "Zürich", false},
	} {
		decode, known := Declared([]byte(c.declaration))
		if got := decode([]byte(c.in)); got != c.want || known != c.known {
			t.Errorf("%q: %q is %q, want %q; known %v", c.declaration, c.in, got, c.want, known)
		}
	}
}

// FuzzDecode verifies that every decoder returns valid UTF-8 of a bounded length.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x1b-A"), []byte("Z\xfcrich"))
	f.Add([]byte("\x1b%G"), []byte("\x1b$B\x46\x7c\x1b(B"))
	f.Add([]byte("\x1b$B"), []byte("\xff\xfe\x3d\xd8"))
	f.Fuzz(func(t *testing.T, declaration, b []byte) {
		decode, _ := Declared(declaration)
		for _, text := range []string{
			Guess(b), decode(b), JIS(b), GuessUTF16(b, binary.BigEndian), GuessUTF16(b, binary.LittleEndian),
		} {
			if !utf8.ValidString(text) || len(text) > 3*len(b)+3 {
				t.Fatalf("%q from %q", text, b)
			}
		}
	})
}
