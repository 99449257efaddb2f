package body_test

import (
	"bytes"
	"encoding/base64"
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestDataURLs verifies that a data URL in url is inline data, under the limits of inline data.
func TestDataURLs(t *testing.T) {
	for text, want := range map[string]string{
		"data:image/jpeg;base64,QUJD":                            "ABC",
		"DaTa:;BASE64,QUJD":                                      "ABC",
		` \t\n data:image/png;base64,QU JD`:                      "ABC",
		`\u0064\u0061ta:image\/png;base64,QUJD`:                  "ABC",
		"data:image/png,%41%42C%zz%4%":                           "ABC%zz%4%",
		"data:,A+B%2B%00%FF%ff":                                  "A+B+\x00\xff\xff",
		"data:image/svg+xml;charset=utf-8,%3Csvg%3Eü":            "<svg>ü",
		"data:image/png,":                                        "",
		"data:image/png;base64,!":                                "!",
		"data:image/png":                                         "!",
		"data:":                                                  "!",
		"data:" + strings.Repeat("x", 2000) + ",A":               "!",
		"data:image/png;base64," + strings.Repeat("QUJD", 3_000): strings.Repeat("ABC", 3_000),
		"data:image/png," + strings.Repeat("%41b", 3_000):        strings.Repeat("Ab", 3_000),
	} {
		t.Run(text[:min(len(text), 40)], func(t *testing.T) {
			got, err := readAll(t, `{"images":[{"name":"n","url":"`+text+`"},{"url":"after"}]}`)
			if err != nil || len(got) != 2 || got[1].URL != "after" {
				t.Fatalf("got %+v, %v", got, err)
			}
			img := got[0]
			switch {
			case img.URL != "" || img.Name != "n":
				t.Errorf("got URL %q and name %q, want none and n", img.URL, img.Name)
			case want == "!":
				if img.Failure == nil || img.Failure.Code != pipeline.CodeInvalidBase64 {
					t.Errorf("got %+v, want invalid base64", img)
				}
			case img.Failure != nil || img.Data == nil && want != "" || string(img.Data) != want:
				t.Errorf("got %q, %v, want %q", img.Data, img.Failure, want)
			}
		})
	}
	for _, text := range []string{"dat", "data", "datax:y", "da ta:x", `d\nata:,x`, "xdata:,y", " dat", "дata:,x", ""} {
		got, err := readAll(t, `{"images":[{"url":"x`+text+`"}]}`)
		if err != nil || got[0].Data != nil || got[0].Failure != nil {
			t.Errorf("x%s: got %+v, %v, want a URL", text, got, err)
		}
	}
	for text, want := range map[string]string{"dat": "dat", ` data`: " data", `d\nata:,x`: "d\nata:,x", "дata:,x": "дata:,x"} {
		if got, err := readAll(t, `{"images":[{"url":"`+text+`"}]}`); err != nil || got[0].URL != want {
			t.Errorf("%s: got %+v, %v, want URL %q", text, got, err, want)
		}
	}
	for _, both := range []string{
		`{"url":"data:,x","base64":"QUJD"}`, `{"base64":"QUJD","url":"data:;base64,QUJD"}`, `{"base64":"QUJD","url":"data:"}`, `{"url":"data:,x","base64":"!"}`,
	} {
		_, err := readAll(t, `{"images":[`+both+`]}`)
		if err == nil || err.Error() != "Both URL and base64 provided: images[0]" {
			t.Errorf("%s: got %v", both, err)
		}
	}
	if _, err := readAll(t, `{"images":[{"url":"data:,x","url":"u"}]}`); err == nil || err.Error() != `Duplicate member "url": images[0]` {
		t.Errorf("two URLs: got %v", err)
	}
}

// TestDataURLLimits verifies the size limit of data URLs in both encodings, and that the URL limit
// applies to all other URLs, with any white space before them.
func TestDataURLLimits(t *testing.T) {
	const limit = 100_000
	for _, size := range []int{limit - 1, limit, limit + 1, 2 * limit} {
		data := bytes.Repeat([]byte{'%', 0, 'x'}, size/3+1)[:size]
		for _, text := range []string{
			"data:;base64," + base64.StdEncoding.EncodeToString(data), "data:," + url.PathEscape(string(data)),
		} {
			got, err := read(strings.NewReader(`{"images":[{"url":"`+text+`"},{"url":"u"}]}`), body.Limits{Images: 2, ImageBytes: limit})
			if err != nil {
				t.Fatal(err)
			}
			tooLarge := got[0].Failure != nil && got[0].Failure.Code == pipeline.CodeTooLarge
			if tooLarge != (size > limit) || !tooLarge && !bytes.Equal(got[0].Data, data) {
				t.Errorf("%s…, %d bytes: got %d bytes, %v", text[:10], size, len(got[0].Data), got[0].Failure)
			}
		}
	}
	for _, space := range []int{0, 1, 100, body.MaxURLBytes - 5} {
		start := strings.Repeat(" ", space)
		fits := start + strings.Repeat("u", body.MaxURLBytes-space)
		if got, err := readAll(t, `{"images":[{"url":"`+fits+`"}]}`); err != nil || got[0].URL != fits {
			t.Errorf("a URL of the largest size, %d of it spaces: %v", space, err)
		}
		want := "Invalid URL: it is longer than 8192 bytes"
		if got, err := readAll(t, `{"images":[{"url":"`+fits+`u"}]}`); err != nil || got[0].URL != "" || got[0].Failure == nil || got[0].Failure.Text != want {
			t.Errorf("a URL that is one byte longer, %d of it spaces: got %+v, %v, want the failure %q", space, got, err, want)
		}
	}
}

// TestHeaders verifies that header fields are read, and that wrong ones fail their image, never
// the batch.
func TestHeaders(t *testing.T) {
	many := `"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":""`
	for text, want := range map[string]map[string]string{
		`{"Authorization":"Bearer x","referer":"https:\/\/a"}`: {"Authorization": "Bearer x", "referer": "https://a"},
		`{}`:                  {},
		`null`:                nil,
		`""`:                  nil,
		`{"User-Agent":null}`: {"User-Agent": ""},
		`{"x":"é\u0000"}`:     {"x": "é\x00"},
		`{` + many + `}`:      {"a": "", "b": "", "c": "", "d": "", "e": "", "f": "", "g": "", "h": ""},
		`{"x":"` + strings.Repeat("y", 8191) + `"}`:   {"x": strings.Repeat("y", 8191)},
		`{"x":1},"headers":{"y":"z"}`:                 {"y": "z"},
		`{"x":"1"},"headers":null`:                    nil,
		`{"A-Name-That-Is-Long-But-Unknown":"value"}`: {"A-Name-That-Is-L": "value"},
	} {
		for _, image := range []string{`{"url":"u","headers":` + text + `}`, `{"headers":` + text + `,"url":"u"}`} {
			got, err := readAll(t, `{"images":[`+image+`]}`)
			if err != nil || len(got) != 1 || got[0].Failure != nil || got[0].URL != "u" || !maps.Equal(got[0].Headers, want) {
				t.Errorf("%.80s: got %+v, %v, want %v", image, got, err, want)
			}
		}
	}
	for _, text := range []string{
		`"x"`, `[]`, `["x"]`, `1`, `true`, `{"x":1}`, `{"x":{"y":[]}}`, `{"x":"1","x":"1"}`, `{` + many + `,"i":""}`, `{"x":"` + strings.Repeat("y", 8192) + `"}`,
		`{"x":"` + strings.Repeat("y", 5000) + `","z":"` + strings.Repeat("y", 5000) + `"}`, `null,"headers":7`, `"` + strings.Repeat("x", 60_000) + `"`,
	} {
		got, err := readAll(t, `{"images":[{"url":"u","headers":`+text+`},{"url":"after"}]}`)
		if err != nil || len(got) != 2 || got[0].Failure == nil || got[0].Failure.Code != pipeline.CodeURLNotAllowed || got[1].URL != "after" || got[1].Failure != nil {
			t.Errorf("%.80s: got %+v, %v, want a failure of the first image", text, got, err)
		}
		// Inline data has no use for headers.
		got, err = readAll(t, `{"images":[{"headers":`+text+`,"base64":"QUJD"},{"headers":`+text+`,"url":"data:,ABC"}]}`)
		if err != nil || len(got) != 2 || got[0].Failure != nil || string(got[0].Data) != "ABC" || got[1].Failure != nil || string(got[1].Data) != "ABC" {
			t.Errorf("%.80s: got %+v, %v, want two images", text, got, err)
		}
	}
	for text, want := range map[string]string{
		`{"x":}`: "Invalid JSON at byte 41: unexpected character '}'", `{x:1}`: "Invalid JSON at byte 37: unexpected character 'x'",
		`{"x":"1",}`: "Invalid JSON at byte 45: unexpected character '}'", `nul`: "Invalid JSON at byte 39: unexpected character '}'",
	} {
		if _, err := readAll(t, `{"images":[{"url":"u","headers":    `+text+`}]}`); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
