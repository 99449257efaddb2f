package body_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
)

// formOf writes parts, each as `name`, `name; file name` or `name; ` and a content.
func formOf(t testing.TB, boundary string, parts ...[2]string) string {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(boundary); err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		name, file, isFile := strings.Cut(p[0], "; ")
		create := func() (io.Writer, error) { return w.CreateFormField(name) }
		if isFile {
			create = func() (io.Writer, error) { return w.CreateFormFile(name, file) }
		}
		part, err := create()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, p[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// readForm reads a form in one piece and byte by byte, requires the same result, and drains it,
// which must end in the same way.
func readForm(t testing.TB, text string, l body.Limits) ([]intake.Source, error) {
	t.Helper()
	const boundary = "b"
	read := func(r io.Reader) (all []intake.Source, fingerprint string, err error) {
		f := body.NewForm(r, boundary, l, true)
		for {
			img, err := f.Next()
			if errors.Is(err, io.EOF) {
				return all, f.Fingerprint(), nil
			} else if err != nil {
				return all, "", err
			}
			img.Data = bytes.Clone(img.Data)
			all = append(all, img)
		}
	}
	whole, fingerprint, err := read(strings.NewReader(text))
	slow, slowFingerprint, slowErr := read(iotest.OneByteReader(strings.NewReader(text)))
	if !same(whole, slow) || fingerprint != slowFingerprint || fmt.Sprint(err) != fmt.Sprint(slowErr) {
		t.Errorf("in one piece: %v %s %v; byte by byte: %v %s %v", whole, fingerprint, err, slow, slowFingerprint, slowErr)
	}
	drained := body.NewForm(strings.NewReader(text), boundary, l, true)
	if drainErr := drained.Drain(); fmt.Sprint(drainErr) != fmt.Sprint(err) || err == nil && drained.Fingerprint() != fingerprint {
		t.Errorf("drained: %s %v, want %s %v", drained.Fingerprint(), drainErr, fingerprint, err)
	}
	return whole, err
}

func TestForm(t *testing.T) {
	small := body.Limits{Images: 3, ImageBytes: 10}
	long := strings.Repeat("é", 600)
	for _, c := range []struct {
		name  string
		parts [][2]string
		want  []intake.Source
	}{
		{"files and URLs in their order", [][2]string{{"image; a.jpg", "one"}, {"url", "http://a.example/%2F"}, {"image; b c.png", "two\r\n--a"}}, []intake.Source{
			{Name: "a.jpg", Data: []byte("one")}, {URL: "http://a.example/%2F"}, {Name: "b c.png", Data: []byte("two\r\n--a")},
		}},
		{"a part without a file name", [][2]string{{"image", "one"}}, []intake.Source{{Data: []byte("one")}}},
		{"the empty fields of a browser", [][2]string{{"image; ", ""}, {"url", " \n"}, {"image; a.jpg", "one"}, {"image; ", ""}}, []intake.Source{
			{Name: "a.jpg", Data: []byte("one")},
		}},
		{"an empty field after the last image", [][2]string{{"image; 1", "1"}, {"image; 2", "2"}, {"image; 3", "3"}, {"image; ", ""}, {"url", ""}}, []intake.Source{
			{Name: "1", Data: []byte("1")}, {Name: "2", Data: []byte("2")}, {Name: "3", Data: []byte("3")},
		}},
		{"an empty file", [][2]string{{"image; a.jpg", ""}}, []intake.Source{{Name: "a.jpg", Data: []byte{}}}},
		{"a file at the limit, one above, and the next", [][2]string{{"image; a", "0123456789"}, {"image; b", "0123456789x"}, {"image; c", "c"}}, []intake.Source{
			{Name: "a", Data: []byte("0123456789")}, {Name: "b", Failure: intake.TooLarge(10)}, {Name: "c", Data: []byte("c")},
		}},
		{"a URL and a name that are too long", [][2]string{{"url", "http://a.example/" + strings.Repeat("a", 8<<10)}, {"image; " + long, "1"}, {"url", "http://b.example"}}, []intake.Source{
			{Failure: intake.LongURL(8 << 10)}, {Name: strings.Repeat("é", 512), Failure: intake.LongName(1 << 10)}, {URL: "http://b.example"},
		}},
		{"data URLs", [][2]string{{"url", " data:image/png;base64,AQ\r\nI="}, {"url", "DATA:,a%20b"}, {"url", "data:;base64,!"}}, []intake.Source{
			{Data: []byte{1, 2}}, {Data: []byte("a b")}, {Failure: intake.InvalidBase64()},
		}},
		{"a data URL that is too large", [][2]string{{"url", "data:;base64," + strings.Repeat("QUJD", 4000)}, {"image; a", "1"}}, []intake.Source{
			{Failure: intake.TooLarge(10)}, {Name: "a", Data: []byte("1")},
		}},
		{"options", [][2]string{{"options", `{"unknown": [1, {}]}`}, {"image; a", "1"}}, []intake.Source{{Name: "a", Data: []byte("1")}}},
		{"a name in another encoding", [][2]string{{"image; b\xfccher.jpg", "1"}}, []intake.Source{{Name: "b\uFFFDcher.jpg", Data: []byte("1")}}},
	} {
		got, err := readForm(t, formOf(t, "b", c.parts...), small)
		if err != nil || !same(got, c.want) {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

func TestInvalidForms(t *testing.T) {
	good := [2]string{"image; a", "1"}
	whole := formOf(t, "b", good)
	header := func(h string) string { return "--b\r\n" + h + "\r\n\r\n1\r\n--b--\r\n" }
	const last, malformed = "Invalid form: the last boundary is missing", "Invalid form: malformed header of a part"
	for _, c := range []struct{ name, text, want string }{
		{"an unknown part", formOf(t, "b", good, [2]string{"photo; a", "1"}), `Unknown part: "photo" (want image, url or options)`},
		{"a part without a name", header("Content-Type: image/png"), `Unknown part: "" (want image, url or options)`},
		{"a long name of a part", formOf(t, "b", [2]string{strings.Repeat("x", 1000), "1"}), `Unknown part: "` + strings.Repeat("x", 64) + `…" (want image, url or options)`},
		{"options after an image", formOf(t, "b", good, [2]string{"options", "{}"}), "options must be the first part"},
		{"options twice", formOf(t, "b", [2]string{"options", "{}"}, [2]string{"options", "{}"}, good), "options must be the first part"},
		{"options that are no object", formOf(t, "b", [2]string{"options", "[]"}, good), "options must be a JSON object"},
		{"options that are null", formOf(t, "b", [2]string{"options", "null"}, good), "options must be a JSON object"},
		{"empty options", formOf(t, "b", [2]string{"options", " "}, good), "options must be a JSON object"},
		{"options that are cut", formOf(t, "b", [2]string{"options", `{"metadata":`}, good), "options: Invalid JSON: unexpected end of the body"},
		{"options and more", formOf(t, "b", [2]string{"options", `{} {}`}, good), `options: Invalid JSON at byte 3: unexpected data after the object, beginning with '{'`},
		{"a long unknown option", formOf(t, "b", [2]string{"options", `{"a":"` + strings.Repeat("x", 64<<10+1) + `"}`}, good), "options: Invalid JSON: a string is longer than 65536 bytes"},
		{"options without an end", `--b
Content-Disposition: form-data; name="options"

{"metadata":{"a":`, last},
		{"no part", formOf(t, "b"), "No images provided"},
		{"only empty parts", formOf(t, "b", [2]string{"options", "{}"}, [2]string{"image; ", ""}), "No images provided"},
		{"more than three images", formOf(t, "b", good, good, [2]string{"url", "http://a.example"}, good), "Too many images (>3)"},
		{"a URL that is not UTF-8", formOf(t, "b", [2]string{"url", "http://a.example/\xff"}), "url is not valid UTF-8"},
		{"an empty body", "", last},
		{"another boundary", formOf(t, "other", good), last},
		{"without the last boundary", strings.TrimSuffix(whole, "--b--\r\n"), last},
		{"cut in a header", whole[:20], malformed},
		{"JSON", `{"images":[{"url":"http://a.example"}]}`, last},
		{"a header that is not one", header("image"), malformed},
		{"a header of a megabyte", header("X: " + strings.Repeat("x", 1<<20)), "Invalid form: the header of a part is longer than 16384 bytes"},
		{"a preamble of a megabyte", strings.Repeat("x\r\n", 1<<20) + whole, "Invalid form: the header of a part is longer than 16384 bytes"},
		{"ten thousand parts", formOf(t, "b", repeated(good, 10_000)...), "Too many images (>3)"},
	} {
		_, err := readForm(t, c.text, body.Limits{Images: 3, ImageBytes: 10})
		if e, ok := errors.AsType[*body.Error](err); !ok || e.Text != c.want {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func repeated(part [2]string, n int) [][2]string {
	all := make([][2]string, n)
	for i := range all {
		all[i] = part
	}
	return all
}

// TestFormErrors verifies that an error of the connection or of the upload memory is not taken for
// a malformed form.
func TestFormErrors(t *testing.T) {
	text, broken := formOf(t, "b", [2]string{"image; a", strings.Repeat("x", 200<<10)}), errors.New("broken")
	for at := range len(text) / 1000 {
		f := body.NewForm(io.MultiReader(strings.NewReader(text[:1000*at]), iotest.ErrReader(broken)), "b", limits, false)
		if _, err := f.Next(); !errors.Is(err, broken) {
			t.Errorf("an error after %d bytes: got %v, want %v", 1000*at, err, broken)
		}
	}
	l := limits
	l.Grow = func(int64) error { return broken }
	f := body.NewForm(strings.NewReader(text), "b", l, false)
	for range 2 {
		if _, err := f.Next(); !errors.Is(err, broken) {
			t.Errorf("without memory: got %v, want %v", err, broken)
		}
	}
}

// TestFormFingerprint verifies that requests have the same fingerprint exactly if they mean the
// same.
func TestFormFingerprint(t *testing.T) {
	fingerprint := func(boundary string, parts ...[2]string) string {
		f := body.NewForm(strings.NewReader(formOf(t, boundary, parts...)), boundary, limits, true)
		if err := f.Drain(); err != nil {
			t.Fatal(err)
		}
		return f.Fingerprint()
	}
	a, b := [2]string{"image; a", "1"}, [2]string{"image; b", "2"}
	first := fingerprint("b", a, b)
	if again := fingerprint("another", a, b); again != first {
		t.Errorf("with another boundary: got %s, want %s", again, first)
	}
	seen := map[string]int{first: -1}
	for i, parts := range [][][2]string{
		{b, a},
		{a},
		{a, b, b},
		{a, {"image; b", "3"}},
		{a, {"image; c", "2"}},
		{{"image; a", "1image; b"}, {"image; b", "2"}},
		{{"options", "{}"}, a, b},
		{{"url", "http://a.example"}, b},
		{{"image", "http://a.example"}, b},
	} {
		got := fingerprint("b", parts...)
		if other, is := seen[got]; is {
			t.Errorf("forms %d and %d have the fingerprint %s, want different ones", other, i, got)
		}
		seen[got] = i
	}
}

func TestBoundary(t *testing.T) {
	for contentType, want := range map[string]string{
		`multipart/form-data; boundary=b`:                               "b",
		`Multipart/Form-Data; charset=utf-8; boundary="a b"`:            "a b",
		`multipart/form-data; boundary=` + strings.Repeat("b", 70):      strings.Repeat("b", 70),
		`multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkT`: "----WebKitFormBoundary7MA4YWxkT",
	} {
		if got, isForm, err := body.Boundary(contentType); got != want || !isForm || err != nil {
			t.Errorf("%s: got %q, %v, %v, want %q, true, nil", contentType, got, isForm, err, want)
		}
	}
	for _, contentType := range []string{"", "application/json", "application/x-www-form-urlencoded", "multipart/mixed; boundary=b", "multipart/form-data-b", ";"} {
		if got, isForm, err := body.Boundary(contentType); got != "" || isForm || err != nil {
			t.Errorf("%s: got %q, %v, %v, want \"\", false, nil", contentType, got, isForm, err)
		}
	}
	for _, contentType := range []string{
		"multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary", "multipart/form-data; boundary=a; boundary=b",
		"multipart/form-data; boundary=" + strings.Repeat("b", 71),
	} {
		_, isForm, err := body.Boundary(contentType)
		if e, ok := errors.AsType[*body.Error](err); !isForm || !ok || e.Text != "Invalid form: Content-Type must have a boundary of 1 to 70 characters" {
			t.Errorf("%s: got %v, %v, want the text about the boundary", contentType, isForm, err)
		}
	}
}
