package body_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
)

// TestCustom verifies what is kept of custom_id and metadata, and that everything else is a
// warning.
func TestCustom(t *testing.T) {
	const image = `"images":[{"url":"u"}]`
	long := strings.Repeat("é", 256)
	sixteen := map[string]string{}
	var members []string
	for i := range 16 {
		sixteen[fmt.Sprint(i)] = "v"
		members = append(members, fmt.Sprintf(`"%d":"v"`, i))
	}
	full := strings.Join(members, ",")
	for name, c := range map[string]struct {
		text     string
		ids      string // joined by |
		metadata map[string]string
		warnings []string
	}{
		"none":            {`{` + image + `}`, "", nil, nil},
		"null and empty":  {`{"metadata":null,"images":[{"url":"u","custom_id":null},{"url":"u","custom_id":""}]}`, "|", nil, nil},
		"an empty object": {`{"metadata":{},` + image + `}`, "", nil, nil},
		"before the images": {
			`{"metadata":{"album":"été","":"","\n\u001f":"\"\ud83d\ude00"},"images":[{"custom_id":"2026/a b.jpg","url":"u"},{"url":"u"},{"base64":"QQ==","custom_id":"\t\u007f"}]}`,
			"2026/a b.jpg||\t\x7f",
			map[string]string{"album": "été", "": "", "\n\x1f": "\"😀"},
			nil,
		},
		"after the images": {`{` + image + `,"metadata":{"a":"b","none":null}}`, "", map[string]string{"a": "b"}, nil},
		"the last one counts": {
			`{"metadata":{"a":"b"},"images":[{"url":"u","custom_id":"a","custom_id":"b"}],"metadata":{"c":"d","c":"e"}}`, "b", map[string]string{"c": "e"}, nil,
		},
		"exactly at the limits": {
			`{"metadata":{"` + long + `":"` + long + `"},"images":[{"url":"u","custom_id":"` + long[:510/2-1] + `x"}]}`,
			long[:510/2-1] + "x",
			map[string]string{long: long},
			nil,
		},
		"one byte too long": {
			`{"metadata":{"` + long + `x":"v","k":"` + long + `x"},"images":[{"url":"u","custom_id":"` + long[:256] + `"},{"url":"u","custom_id":"b"}]}`, "|b", nil,
			[]string{
				`metadata["` + strings.Repeat("é", 32) + `…"] ignored: its name is longer than 512 bytes`, `metadata["k"] ignored: it is longer than 512 bytes`,
				"images[0].custom_id ignored: it is longer than 255 bytes",
			},
		},
		"wrong types": {
			`{"images":[{"url":"u","custom_id":5},{"url":"u","custom_id":{"a":[]}},{"url":"u","custom_id":true}],"metadata":{"a":1,"b":["c"],"d":"e"}}`, "||",
			map[string]string{"d": "e"},
			[]string{
				"images[0].custom_id ignored: it must be a string", "images[1].custom_id ignored: it must be a string", "images[2].custom_id ignored: it must be a string",
				`metadata["a"] ignored: it must be a string`, `metadata["b"] ignored: it must be a string`,
			},
		},
		"an array":         {`{"metadata":["a"],` + image + `}`, "", nil, []string{"metadata ignored: it must be an object of strings"}},
		"a string":         {`{"metadata":"a",` + image + `}`, "", nil, []string{"metadata ignored: it must be an object of strings"}},
		"a wrong last one": {`{"metadata":{"a":"b","a":5},` + image + `}`, "", nil, []string{`metadata["a"] ignored: it must be a string`}},
		"what no store has": {`{"metadata":{"a":"\u0000","\u0000":"b"},"images":[{"url":"u","custom_id":"a\u0000"}]}`, "", nil, []string{
			`metadata["a"] ignored: it contains U+0000`, `metadata["\x00"] ignored: its name contains U+0000`, "images[0].custom_id ignored: it contains U+0000",
		}},
		"sixteen":                    {`{"metadata":{` + full + `},` + image + `}`, "", sixteen, nil},
		"seventeen":                  {`{"metadata":{` + full + `,"x":"v"},` + image + `}`, "", sixteen, []string{`metadata["x"] ignored: there are more than 16 members`}},
		"sixteen, one of them twice": {`{"metadata":{` + full + `,"3":"v"},` + image + `}`, "", sixteen, nil},
		"with an image that fails": {
			`{"images":[{"url":"` + strings.Repeat("u", 9000) + `","custom_id":"a"},{"base64":"!","custom_id":"b"}]}`, "a|b", nil, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []*body.Reader{
				body.NewReader(strings.NewReader(c.text), limits), body.NewReader(iotest.OneByteReader(strings.NewReader(c.text)), limits),
			} {
				got, err := images(in)
				if err != nil || idsOf(got) != c.ids || !maps.Equal(in.Metadata(), c.metadata) || !slices.Equal(in.Warnings(), c.warnings) {
					t.Errorf("got %v, %q, %q, %q\nwant %q, %q, %q", err, idsOf(got), in.Metadata(), in.Warnings(), c.ids, c.metadata, c.warnings)
				}
			}
		})
	}
}

func idsOf(images []intake.Source) string {
	var ids []string
	for _, img := range images {
		ids = append(ids, img.CustomID)
	}
	return strings.Join(ids, "|")
}

// TestWarningsAreBounded verifies that a request of any size has a bounded number of short warnings.
func TestWarningsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"metadata":{`)
	for i := range 1000 {
		fmt.Fprintf(&b, `"%s%d":0,`, strings.Repeat(`\u0001`, 1000), i)
	}
	b.WriteString(`"":0},"images":[{"url":"u","custom_id":0}]}`)
	in := body.NewReader(strings.NewReader(b.String()), limits)
	if _, err := images(in); err != nil {
		t.Fatal(err)
	}
	got := in.Warnings()
	if len(got) != 17 || got[16] != "986 more warnings" {
		t.Errorf("got %d warnings, the last is %q", len(got), got[len(got)-1])
	}
	for _, w := range got {
		if len(w) >= 512 {
			t.Errorf("a warning has %d bytes: %s", len(w), w)
		}
	}
}

// TestOptions verifies that the options of a form belong to its images by their position.
func TestOptions(t *testing.T) {
	small := body.Limits{Images: 3, ImageBytes: 10}
	long := strings.Repeat("n", 1025)
	agent := map[string]string{"User-Agent": "x"}
	file, address := [2]string{"image; a", "1"}, [2]string{"url", "http://a.example"}
	for name, c := range map[string]struct {
		options  string
		parts    [][2]string
		want     []intake.Source
		metadata map[string]string
		warnings []string
	}{
		"everything": {
			`{"custom_ids": ["x", null, "\u00e9"], "metadata": {"a": "b"}, "headers": [null, {"User-Agent": "x"}], "new": [1]}`,
			[][2]string{file, {"image; ", ""}, address, address},
			[]intake.Source{{Name: "a", Data: []byte("1"), CustomID: "x"}, {URL: "http://a.example", Headers: agent}, {URL: "http://a.example", CustomID: "é"}},
			map[string]string{"a": "b"},
			nil,
		},
		"fewer than images": {
			"\ufeff" + `{"custom_ids": ["x"], "headers": null}`,
			[][2]string{file, file},
			[]intake.Source{{Name: "a", Data: []byte("1"), CustomID: "x"}, {Name: "a", Data: []byte("1")}},
			nil, nil,
		},
		"more than images": {
			`{"custom_ids": ["x", "y", "z", {}, "w"], "headers": [null, null, {"a":[]}]}`,
			[][2]string{file},
			[]intake.Source{{Name: "a", Data: []byte("1"), CustomID: "x"}},
			nil,
			[]string{"options.custom_ids from [1] on ignored: there are 1 images", "options.headers from [1] on ignored: there are 1 images"},
		},
		"wrong types": {
			`{"custom_ids": [5, "y"], "metadata": 5, "headers": [{"User-Agent": 5}, {"User-Agent": "x"}]}`,
			[][2]string{address, address},
			[]intake.Source{{URL: "http://a.example", Failure: intake.InvalidHeaders()}, {URL: "http://a.example", CustomID: "y", Headers: agent}},
			nil,
			[]string{"options.custom_ids[0] ignored: it must be a string", "options.metadata ignored: it must be an object of strings"},
		},
		"no arrays": {
			`{"custom_ids": {"a": "b"}, "headers": {"User-Agent": "x"}}`,
			[][2]string{file, address},
			[]intake.Source{{Name: "a", Data: []byte("1")}, {URL: "http://a.example", Failure: intake.InvalidHeaders()}},
			nil,
			[]string{"options.custom_ids ignored: it must be an array of strings"},
		},
		"too long": {
			`{"custom_ids": ["` + strings.Repeat("x", 100_000) + `", "y"], "metadata": {"a": "` + strings.Repeat("x", 513) + `"}}`,
			[][2]string{file, file},
			[]intake.Source{{Name: "a", Data: []byte("1")}, {Name: "a", Data: []byte("1"), CustomID: "y"}},
			nil,
			[]string{"options.custom_ids[0] ignored: it is longer than 255 bytes", `options.metadata["a"] ignored: it is longer than 512 bytes`},
		},
		"images that fail": {
			`{"custom_ids": ["x", "y"]}`,
			[][2]string{{"image; " + long, "1"}, {"image; b", strings.Repeat("1", 11)}},
			[]intake.Source{
				{Name: long[:1024], CustomID: "x", Failure: intake.LongName(1 << 10)}, {Name: "b", CustomID: "y", Failure: intake.TooLarge(10)},
			},
			nil, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := formOf(t, "b", append([][2]string{{"options", c.options}}, c.parts...)...)
			got, err := readForm(t, text, small)
			f := body.NewForm(iotest.OneByteReader(strings.NewReader(text)), "b", small, false)
			if err := f.Drain(); err != nil {
				t.Fatal(err)
			}
			if err != nil || !same(got, c.want) || !maps.Equal(f.Metadata(), c.metadata) || !slices.Equal(f.Warnings(), c.warnings) {
				t.Errorf("got %+v, %v, %q, %q\nwant %+v, %q, %q", got, err, f.Metadata(), f.Warnings(), c.want, c.metadata, c.warnings)
			}
		})
	}
}
