package body_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

var limits = body.Limits{Images: 100, ImageBytes: 10 << 20}

// read reads a whole request and copies the data that the reader would reuse.
func read(r io.Reader, l body.Limits) ([]intake.Source, error) {
	return images(body.NewReader(r, l))
}

// images reads the images of a request.
func images(in *body.Reader) ([]intake.Source, error) {
	var all []intake.Source
	for {
		img, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if img.Data != nil {
			img.Data = append([]byte{}, img.Data...)
		}
		all = append(all, img)
	}
}

func same(a, b []intake.Source) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].URL != b[i].URL || a[i].Name != b[i].Name || a[i].CustomID != b[i].CustomID || !bytes.Equal(a[i].Data, b[i].Data) ||
			!maps.Equal(a[i].Headers, b[i].Headers) || (a[i].Failure == nil) != (b[i].Failure == nil) {
			return false
		}
		if a[i].Failure != nil && *a[i].Failure != *b[i].Failure {
			return false
		}
	}
	return true
}

// readAll reads the request in one piece and byte by byte, and requires the same result.
func readAll(t testing.TB, text string) ([]intake.Source, error) {
	t.Helper()
	whole, err := read(strings.NewReader(text), limits)
	for name, r := range map[string]io.Reader{
		"byte by byte":  iotest.OneByteReader(strings.NewReader(text)),
		"data with EOF": iotest.DataErrReader(strings.NewReader(text)),
		"half reads":    iotest.HalfReader(strings.NewReader(text)),
	} {
		again, err2 := read(r, limits)
		if fmt.Sprint(err) != fmt.Sprint(err2) || !same(whole, again) {
			t.Fatalf("%s: got %+v, %v; read whole: %+v, %v", name, again, err2, whole, err)
		}
	}
	return whole, err
}

func TestImages(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []intake.Source
	}{
		"the document's example": {
			`{"images": [{"url": "https://example.com/image1.jpg", "name": "optional-filename.jpg"},
			 {"base64": "data:image/jpeg;base64,/9j/4AAQ", "name": "another-image.jpg"}]}`,
			[]intake.Source{
				{URL: "https://example.com/image1.jpg", Name: "optional-filename.jpg"},
				{Name: "another-image.jpg", Data: []byte("\xff\xd8\xff\xe0\x00\x10")},
			},
		},
		"name after the data":    {`{"images":[{"base64":"QUJD","name":"n"}]}`, []intake.Source{{Name: "n", Data: []byte("ABC")}}},
		"null and empty: absent": {`{"images":[{"url":null,"base64":"QUJD","name":null},{"url":"u","base64":""}]}`, []intake.Source{{Data: []byte("ABC")}, {URL: "u"}}},
		"unknown members": {
			`{"a":{"b":[1,-2.5e+3,0,true,false,null,"x",[],{}]},"images":[{"x":[[]],"url":"u","y":{"z":"\u0041"}}],"c":[]}`,
			[]intake.Source{{URL: "u"}},
		},
		"escapes":            {`{"images":[{"\u0075rl":"a\/\"\\\b\f\n\r\té\ud83d\ude00","name":"\ud800x\udc00\ud800\u0041é"}]}`, []intake.Source{{URL: "a/\"\\\b\f\n\r\té😀", Name: "\ufffdx\ufffd\ufffdAé"}}},
		"other letter cases": {`{"IMAGES":1,"images":[{"url":"u","URL":5}]}`, []intake.Source{{URL: "u"}}},
		"white space":        {" \t\r\n{ \"images\" : [ { \"url\" : \"u\" } ] } \n", []intake.Source{{URL: "u"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(t, c.text)
			if err != nil || !same(got, c.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestBase64(t *testing.T) {
	invalid := &pipeline.Failure{Code: pipeline.CodeInvalidBase64, Text: "Invalid base64 data"}
	for text, want := range map[string]string{
		"QQ==": "A", "QQ": "A", "QUI=": "AB", "QUI": "AB", "QUJD": "ABC",
		"+/+/": "\xfb\xff\xbf", "-_-_": "\xfb\xff\xbf", "-_+/": "\xfb\xff\xbf", `\u002b\/-_`: "\xfb\xff\xbf",
		`QU\nJD\r\n\t `: "ABC", " Q U J D ": "ABC", `QQ=\n=`: "A",
		"data:image/jpeg;base64,QUJD":                         "ABC",
		"DATA:IMAGE/PNG;BASE64,QUJD":                          "ABC",
		"data:;base64,QUJD":                                   "ABC",
		"data:text/html;charset=utf-8;base64,QUJD":            "ABC",
		`data:image\/jpeg;base64,\u0051UJD`:                   "ABC",
		"data:image/jpeg;base64,":                             "",
		"data:image/svg+xml;x=\\\"y\\\";base64,QUJDRA==":      "ABCD",
		"data:image/png;base64,%51%55%4a%44":                  "ABC",
		"data:image/png;base64,%2B%2F%2b%2f":                  "\xfb\xff\xbf",
		"data:image/png;base64,QUI%3D":                        "AB",
		"data:image/png;base64,QQ%3D=":                        "A",
		`data:image/png;base64,%51U%0AJ%0d%0aD%20%09`:         "ABC",
		`data:image/png;base64,\u0025\u0035\u0031UJ\n%\n4\n4`: "ABC",
		"data:image/png%3Bx;base64,QUJD":                      "ABC",
		"data:;base64,%5f-":                                   "\xff",
		"data":                                                "\x75\xab\x5a", "dat": "\x75\xab", "dataQUJD": "\x75\xab\x5aABC",
		" ": "",

		"Q": "!", "QQ=": "!", "QQ===": "!", "Q=": "!", "=": "!", "QUJD=": "!", "QQ==QQ==": "!", "QQ=Q": "!",
		"QU.D": "!", "QUJD!": "!", "QUJé": "!", `QUJ\u0000`: "!", `QUJ\"`: "!", "data:": "!", "data:image/jpeg": "!",
		"data:;base64,%": "!", "data:;base64,QUJ%4": "!", "data:;base64,QUJ%4g": "!", "data:;base64,QUJ%%44": "!", "data:;base64,QUJ%252B": "!",
		"QUJ%44": "!", "data:;base64,QUJ%00": "!", "data%3A;base64,QUJD": "!", "data:;base64,QUJD%21": "!", "data:;base64,Q%3DJD": "!",
		"data:image/jpeg,QUJD": "!", "data:base64,QUJD": "!", "d:ta": "!",
		"data:" + strings.Repeat("x", 2000) + ";base64,QUJD": "!",
		"!QUJD" + strings.Repeat(`\n`, 70000):                "!",
	} {
		t.Run(text[:min(len(text), 50)], func(t *testing.T) {
			got, err := readAll(t, `{"images":[{"base64":"`+text+`"},{"url":"after"}]}`)
			if err != nil || len(got) != 2 || got[1].URL != "after" {
				t.Fatalf("got %+v, %v", got, err)
			}
			if want == "!" {
				if got[0].Failure == nil || *got[0].Failure != *invalid || got[0].Data != nil {
					t.Errorf("got %+v, want invalid base64", got[0])
				}
			} else if got[0].Failure != nil || string(got[0].Data) != want {
				t.Errorf("got %q, %v; want %q", got[0].Data, got[0].Failure, want)
			}
		})
	}
}

// TestBase64InAnyLayout verifies data whose line breaks and URL alphabet leave the fast path at
// any position.
func TestBase64InAnyLayout(t *testing.T) {
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(i*i>>5 ^ i)
	}
	std := base64.StdEncoding.EncodeToString(data)
	for name, text := range map[string]string{
		"plain":                 std,
		"url alphabet":          base64.RawURLEncoding.EncodeToString(data),
		"escaped":               strings.ReplaceAll(std, "/", `\/`),
		"lines of 76":           strings.Join(split(std, 76), `\r\n`),
		"lines of 5":            strings.Join(split(std, 5), ` `),
		"percent":               "data:image/png;base64," + url.QueryEscape(std),
		"all percent":           "data:;base64," + percent(std),
		"percent in escapes":    "data:;base64," + strings.ReplaceAll(url.QueryEscape(std), "%", `\u0025`),
		"percent-encoded lines": "data:;base64," + url.QueryEscape(strings.Join(split(std, 76), "\r\n")),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(t, `{"images":[{"base64":"`+text+`"}]}`)
			if err != nil || got[0].Failure != nil || !bytes.Equal(got[0].Data, data) {
				t.Errorf("got %d bytes, %v, %v", len(got[0].Data), got[0].Failure, err)
			}
		})
	}
}

// percent encodes every character.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

func split(s string, n int) (parts []string) {
	for ; len(s) > n; s = s[n:] {
		parts = append(parts, s[:n])
	}
	return append(parts, s)
}

func TestSizeLimit(t *testing.T) {
	for limit := range int64(10) {
		for size := range 14 {
			data := strings.Repeat("x", size)
			for _, text := range []string{
				base64.StdEncoding.EncodeToString([]byte(data)), base64.RawStdEncoding.EncodeToString([]byte(data)),
			} {
				got, err := read(strings.NewReader(`{"images":[{"base64":"`+text+`","name":"n"},{"url":"u"}]}`),
					body.Limits{Images: 2, ImageBytes: limit})
				if size == 0 {
					continue // absent
				}
				if err != nil {
					t.Fatal(err)
				}
				f := got[0].Failure
				if int64(size) > limit && (f == nil || f.Code != pipeline.CodeTooLarge || got[0].Data != nil) {
					t.Errorf("%d bytes, limit %d: got %+v", size, limit, got[0])
				}
				if int64(size) <= limit && (f != nil || string(got[0].Data) != data) {
					t.Errorf("%d bytes, limit %d: got %+v", size, limit, got[0])
				}
			}
		}
	}
	over, err := read(strings.NewReader(`{"images":[{"base64":"`+strings.Repeat("A", 14_000_000)+`"}]}`), limits)
	if err != nil || over[0].Failure.Text != "Image exceeds the maximum size of 10 MB" {
		t.Errorf("got %+v, %v", over, err)
	}
}

// TestLongStrings verifies that a URL or a name that is too long, of any length, fails only its
// image, and that no part of such a URL is used.
func TestLongStrings(t *testing.T) {
	longURL, longName := intake.LongURL(body.MaxURLBytes), intake.LongName(body.MaxNameBytes)
	for name, c := range map[string]struct {
		image string
		want  intake.Source
	}{
		"longest URL":                    {`{"url":"` + strings.Repeat("u", body.MaxURLBytes) + `"}`, intake.Source{URL: strings.Repeat("u", body.MaxURLBytes)}},
		"longest name":                   {`{"url":"u","name":"` + strings.Repeat("n", body.MaxNameBytes) + `"}`, intake.Source{URL: "u", Name: strings.Repeat("n", body.MaxNameBytes)}},
		"URL":                            {`{"url":"` + strings.Repeat("u", body.MaxURLBytes+1) + `","name":"n"}`, intake.Source{Name: "n", Failure: longURL}},
		"URL of escapes":                 {`{"url":"` + strings.Repeat(`\u0075`, 100_000) + `"}`, intake.Source{Failure: longURL}},
		"URL of a megabyte":              {`{"name":"n","url":"` + strings.Repeat("u", 1<<20) + `"}`, intake.Source{Name: "n", Failure: longURL}},
		"name":                           {`{"url":"u","name":"` + strings.Repeat("n", body.MaxNameBytes+1) + `"}`, intake.Source{Name: strings.Repeat("n", body.MaxNameBytes), Failure: longName}},
		"name before data":               {`{"name":"` + strings.Repeat("n", 70_000) + `","base64":"QUJD"}`, intake.Source{Name: strings.Repeat("n", body.MaxNameBytes), Failure: longName}},
		"name after no data":             {`{"base64":"!","name":"` + strings.Repeat("n", 70_000) + `"}`, intake.Source{Name: strings.Repeat("n", body.MaxNameBytes), Failure: longName}},
		"name of letters of three bytes": {`{"url":"u","name":"` + strings.Repeat("\u20ac", 400) + `"}`, intake.Source{Name: strings.Repeat("\u20ac", 341), Failure: longName}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(t, `{"images":[{"url":"before"},`+c.image+`,{"base64":"QUJD"}]}`)
			want := []intake.Source{{URL: "before"}, c.want, {Data: []byte("ABC")}}
			if err != nil || !same(got, want) {
				t.Errorf("got %.200v, %v; want %.200v", got, err, want)
			}
			for _, img := range got {
				if !utf8.ValidString(img.Name) {
					t.Errorf("the name is not UTF-8: %q", img.Name)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	element := func(s string) string { return `{"images":[{"url":"u"},` + s + `]}` }
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	long := strings.Repeat("x", 70_000)
	for text, want := range map[string]string{
		"":                                       "Request body is empty",
		" \n":                                    "Request body is empty",
		"[]":                                     "Request body must be a JSON object",
		"null":                                   "Request body must be a JSON object",
		"x":                                      "Invalid JSON at byte 0: unexpected character 'x'",
		"\ufeff":                                 "Request body is empty",
		"\ufeff{}":                               "No images provided",
		"\ufeff\ufeff{}":                         "Invalid JSON at byte 3: unexpected byte 0xef",
		" \ufeff{}":                              "Invalid JSON at byte 1: unexpected byte 0xef",
		"\xef\xbb{}":                             "Invalid JSON at byte 0: unexpected byte 0xef",
		"\xef":                                   "Invalid JSON at byte 0: unexpected byte 0xef",
		"\xff":                                   "Invalid JSON at byte 0: unexpected byte 0xff",
		"\xff\xfe{\x00}\x00":                     "Request body is UTF-16, want UTF-8",
		"\xfe\xff\x00{\x00}":                     "Request body is UTF-16, want UTF-8",
		"{}":                                     "No images provided",
		`{"images":null}`:                        "No images provided",
		`{"images":[]}`:                          "No images provided",
		`{"Images":[{"url":1}]}`:                 "No images provided",
		`{"images":{}}`:                          "images must be an array",
		`{"images":"u"}`:                         "images must be an array",
		`{"images":[`:                            "Invalid JSON: unexpected end of the body",
		`{"images":[]`:                           "Invalid JSON: unexpected end of the body",
		`{"images":[{"url":"u"}]}x`:              `Invalid JSON at byte 24: unexpected data after the object, beginning with 'x'`,
		`{"images":[{"url":"u"}]}{}`:             `Invalid JSON at byte 24: unexpected data after the object, beginning with '{'`,
		`{"images":[{"url":"u"}],}`:              "Invalid JSON at byte 24: unexpected character '}'",
		`{"images":[{"url":"u"},]}`:              "Invalid JSON at byte 23: unexpected character ']'",
		`{"images":[{"url":"u"}{}]}`:             "Invalid JSON at byte 22: unexpected character '{'",
		`{"images":[{"url":"u"}],"images":null}`: `Duplicate member "images"`,
		`{"images":null,"images":[{"url":"u"}]}`: `Duplicate member "images"`,
		`{"images":[],"im\u0061ges":[{"url":"u"}]}`: `Duplicate member "images"`,
		element(`{}`):                                         "Invalid image source (missing both URL and base64): images[1]",
		element(`{"url":"","base64":null}`):                   "Invalid image source (missing both URL and base64): images[1]",
		element(`{"name":"n"}`):                               "Invalid image source (missing both URL and base64): images[1]",
		element(`{"url":"u","base64":"!"}`):                   "Both URL and base64 provided: images[1]",
		element(`{"base64":"QUJD","url":"u"}`):                "Both URL and base64 provided: images[1]",
		element(`"u"`):                                        "images[1] must be an object",
		element(`null`):                                       "images[1] must be an object",
		element(`nul`):                                        "images[1] must be an object",
		element(`{"url":5}`):                                  "images[1].url must be a string",
		element(`{"base64":["QUJD"]}`):                        "images[1].base64 must be a string",
		element(`{"url":"v","name":{}}`):                      "images[1].name must be a string",
		element(`{"url":"v","url":"v"}`):                      `Duplicate member "url": images[1]`,
		element(`{"url":"v","name":null,"name":""}`):          `Duplicate member "name": images[1]`,
		element(`{"base64":"","base64":"QUJD"}`):              `Duplicate member "base64": images[1]`,
		element(`{"name":"` + long + `"}`):                    "Invalid image source (missing both URL and base64): images[1]",
		element(`{"url":"` + long + `","base64":"QUJD"}`):     "Both URL and base64 provided: images[1]",
		element(`{"url":"` + long + `\x"}`):                   "Invalid JSON at byte 70032: unexpected character 'x'",
		element(`{"url":"v","name":"` + long + "\xff" + `"}`): "Invalid JSON at byte 70042: a string is not valid UTF-8",
		`{"x":` + deep + `}`:                                  "Invalid JSON at byte 104: nested deeper than 100",
		`{"x":"` + long + `"}`:                                "Invalid JSON: a string is longer than 65536 bytes",
		`{"` + long + `":1}`:                                  "Invalid JSON: a string is longer than 65536 bytes",
		`{"x":` + strings.Repeat("1", 70_000) + `}`:           "Invalid JSON: a number is longer than 65536 bytes",
		"{\"x\":\"\xff\"}":                                    "Invalid JSON at byte 6: a string is not valid UTF-8",
		"{\"x\":\"\xc3\"}":                                    "Invalid JSON at byte 6: a string is not valid UTF-8",
		"{\"x\":\"\xed\xa0\x80\"}":                            "Invalid JSON at byte 6: a string is not valid UTF-8",
		"{\"images\":[{\"base64\":\"!\xff\"}]}":               "Invalid JSON at byte 23: a string is not valid UTF-8",
		"{\"images\":[{\"base64\":\"QU\nJD\"}]}":              "Invalid JSON at byte 24: unexpected byte 0x0a",
		"{\"images\":[{\"base64\":\"!\nJD\"}]}":               "Invalid JSON at byte 23: unexpected byte 0x0a",
		`{"images":[{"base64":"!\x"}]}`:                       "Invalid JSON at byte 24: unexpected character 'x'",
		`{"x":"\u12g4"}`:                                      "Invalid JSON at byte 10: unexpected character 'g'",
		`{"x":01}`:                                            "Invalid JSON at byte 6: unexpected character '1'",
		`{"x":-}`:                                             "Invalid JSON at byte 6: unexpected character '}'",
		`{"x":1.}`:                                            "Invalid JSON at byte 7: unexpected character '}'",
		`{"x":1e}`:                                            "Invalid JSON at byte 7: unexpected character '}'",
		`{"x":+1}`:                                            "Invalid JSON at byte 5: unexpected character '+'",
		`{"x":truE}`:                                          "Invalid JSON at byte 8: unexpected character 'E'",
		`{"x" 1}`:                                             "Invalid JSON at byte 5: unexpected character '1'",
		`{x:1}`:                                               "Invalid JSON at byte 1: unexpected character 'x'",
		`{"x":[1,]}`:                                          "Invalid JSON at byte 8: unexpected character ']'",
		`{"x":[}]`:                                            "Invalid JSON at byte 6: unexpected character '}'",
		`{"x":1e`:                                             "Invalid JSON: unexpected end of the body",
	} {
		t.Run(text[:min(len(text), 60)], func(t *testing.T) {
			_, err := readAll(t, text)
			var refusal *body.Error
			if !errors.As(err, &refusal) || refusal.Text != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// TestTooManyImages verifies that the element over the limit is not read.
func TestTooManyImages(t *testing.T) {
	list := strings.Repeat(`{"url":"u"},`, 100)
	got, err := read(io.MultiReader(strings.NewReader(`{"images":[`+list+`{`),
		iotest.ErrReader(errors.New("read on"))), limits)
	if len(got) != 100 || err == nil || err.Error() != "Too many images (>100)" {
		t.Errorf("got %d images, %v", len(got), err)
	}
	got, err = read(strings.NewReader(`{"images":[`+strings.TrimSuffix(list, ",")+`]}`), limits)
	if len(got) != 100 || err != nil {
		t.Errorf("100 images: got %d, %v", len(got), err)
	}
}

func TestErrorsOfTheConnectionPassThrough(t *testing.T) {
	cause := errors.New("connection reset")
	for _, text := range []string{"", "{", `{"images":[{"base64":"QUJ`, `{"images":[{"url":"u"}]}`} {
		in := body.NewReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(cause)), limits)
		var err error
		for err == nil {
			_, err = in.Next()
		}
		if !errors.Is(err, cause) {
			t.Errorf("%q: got %v", text, err)
		}
		if _, again := in.Next(); !errors.Is(again, cause) {
			t.Errorf("%q: the second Next returned %v", text, again)
		}
	}
}
