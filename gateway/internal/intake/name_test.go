package intake

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

func TestOriginalFilename(t *testing.T) {
	for _, tc := range []struct {
		name, url string
		index     int
		want      string
	}{
		{"vacation.jpg", "https://example.com/photo.jpg", 0, "vacation.jpg"},
		{"../../etc/passwd", "", 0, "../../etc/passwd"},
		{"a\x00b\r\nc\u202egpj.exe\u2028", "", 0, "abcgpj.exe"},
		{"", "https://example.com/a/photo1.jpg?x=1#y", 0, "photo1.jpg"},
		{"", "https://example.com/a/caf%C3%A9%20noir.jpg", 0, "café noir.jpg"},
		{"", "https://example.com/a%2Fb.png", 0, "a/b.png"},
		{"", "https://example.com/", 2, "image-3"},
		{"", "https://example.com", 0, "image-1"},
		{"", "https://example.com/%00%0a", 0, "image-1"},
		{"", "http://[bad", 6, "image-7"},
		{"", "", 99, "image-100"},
		{" \t ", "", 0, "image-1"},
		{"\xff\xfe.jpg", "", 0, "\uFFFD.jpg"},
		{strings.Repeat("ä", 600), "", 0, strings.Repeat("ä", 512)},
	} {
		if got := originalFilename(tc.name, tc.url, tc.index); got != tc.want {
			t.Errorf("originalFilename(%q, %q, %d) = %q, want %q", tc.name, tc.url, tc.index, got, tc.want)
		}
	}
}

func TestKeyNameOfNaughtyStrings(t *testing.T) {
	for _, tc := range []struct{ name, ext, want string }{
		{"image1.jpg", ".jpg", "image1.jpg"},
		{"IMAGE.JPG", ".jpg", "IMAGE.JPG"},
		{"scan.jpeg", ".jpg", "scan.jpeg"},
		{"photo", ".jpg", "photo.jpg"},
		{"photo.png", ".jpg", "photo.jpg"},
		{"photo.jpg", ".png", "photo.png"},
		{"report.v2", ".png", "report.v2.png"},
		{"shell.php", ".jpg", "shell.php.jpg"},
		{"x.svg", ".png", "x.png"},
		{"photo.", ".jpg", "photo..jpg"},
		{"../../etc/passwd", ".jpg", "_._.._etc_passwd.jpg"},
		{`..\..\boot.ini`, ".png", "_._.._boot.ini.png"},
		{"/etc/passwd\x00.jpg", ".jpg", "_etc_passwd_.jpg"},
		{"..", ".jpg", "_..jpg"},
		{".", ".jpg", "_.jpg"},
		{"", ".jpg", "image.jpg"},
		{"", "", "image"},
		{"   ", ".png", "image.png"},
		{".jpg", ".jpg", "image.jpg"},
		{".htaccess", ".jpg", "_htaccess.jpg"},
		{" .a", ".jpg", "_a.jpg"},
		{"a b (1)+c_d-e.jpg", ".jpg", "a b (1)+c_d-e.jpg"},
		{"фото 写真 صورة.png", ".png", "фото 写真 صورة.png"},
		{"cafe\u0301.jpg", ".jpg", "café.jpg"},
		{"हिन्दी.jpg", ".jpg", "हिन्दी.jpg"},
		{"💩;rm -rf $HOME|`id`.jpg", ".jpg", "__rm -rf _HOME__id_.jpg"},
		{"<script>alert(1)</script>.jpg", ".jpg", "_script_alert(1)__script_.jpg"},
		{"a\r\nSet-Cookie: x.jpg", ".jpg", "a__Set-Cookie_ x.jpg"},
		{"\u202Egpj.exe", ".jpg", "_gpj.exe.jpg"},
		{"C:\\con", ".jpg", "C__con.jpg"},
		{"100%2e%2e%2f.jpg", ".jpg", "100_2e_2e_2f.jpg"},
		{"\xff\xfe.jpg", ".jpg", "_.jpg"},
		{strings.Repeat("a", 300) + ".jpeg", ".jpg", strings.Repeat("a", 195) + ".jpeg"},
		{strings.Repeat("ä", 150), ".png", strings.Repeat("ä", 98) + ".png"},
		{"a\u00a0b\u3000c.jpg", ".jpg", "a_b_c.jpg"},
	} {
		if got := KeyName(tc.name, tc.ext); got != tc.want {
			t.Errorf("KeyName(%q, %q) = %q, want %q", tc.name, tc.ext, got, tc.want)
		}
	}
}

func FuzzKeyName(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a/b.jpg", " .x", "é.png", "\xff", "a. .jpg", "\u0301.jpg", "\u1100\u1161.jpe"} {
		f.Add(s, ".jpg")
		f.Add(s, ".png")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, name, ext string) {
		if ext != ".jpg" && ext != ".png" {
			ext = ""
		}
		got := KeyName(name, ext)
		if again := KeyName(name, ext); again != got {
			t.Fatalf("KeyName(%q, %q) gave %q, then %q", name, ext, got, again)
		}
		if again := KeyName(got, ext); again != got {
			t.Fatalf("KeyName(%q, %q) is not final: %q, then %q", name, ext, got, again)
		}
		if err := objectstore.CheckKey("0123456789abcdef0123456789abcdef/" + got); err != nil {
			t.Fatalf("KeyName(%q, %q) = %q is no element of a key: %v", name, ext, got, err)
		}
		switch {
		case len(got) > maxKeyNameBytes, strings.ContainsRune(got, '/'), strings.HasPrefix(got, "."), !utf8.ValidString(got),
			strings.Map(safe, got) != got, !norm.NFC.IsNormalString(got), strings.TrimSpace(got) != got,
			ext != "" && !fits(strings.ToLower(got[strings.LastIndexByte(got, '.'):]), ext):
			t.Fatalf("KeyName(%q, %q) = %q", name, ext, got)
		}
	})
}
