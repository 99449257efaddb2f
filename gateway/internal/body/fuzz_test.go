package body_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

var small = body.Limits{Images: 3, ImageBytes: 20}

// FuzzReader compares the reader with encoding/json: both accept the same requests and read the
// same values, except where the package documentation says that the reader is stricter; the
// model checks those points itself. The size of the reads does not change the
// result.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		`{"images": [{"url": "https://example.com/a.jpg", "name": "a"}, {"base64": "data:image/jpeg;base64,/9j/4AAQ"}]}`,
		`{"a":[{}, 1.5e-3, "\ud83d\ude00\ud800", true, null],"images":[{"url":null,"base64":"QU\nJD-_","name":""}],"b":false}`,
		`{"images":[{"base64":"QQ=="},{"base64":"Q"},{"base64":"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo"}]}`,
		`{"images":[{"url":"u","url":"v"}]}`, `{"images":[]}`, `{"images":[{"url":"u"}]} x`, "{\"x\":\"\xff\"}", `[`,
		"\ufeff" + `{"images":[{"base64":"data:;base64,QU%4a%44%2B\u0025%0a3d"},{"base64":"data:;base64,%4"}]}`,
		`{"images":[{"url":"u"},{"url":"u"},{"url":"u"},{"url":"u"}]}`, `{"images":[{"x":[[[[]]]],"url":"\u00e9"}]}`,
		`{"images":[{"url":" data:,a%41","headers":{"x":"y"}},{"url":"DATA:;base64,QQ=="},{"url":"u","headers":[]}]}`,
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		if len(text) > 1000 { // the limits of strings and tokens have their own tests
			return
		}
		got, err := read(bytes.NewReader(text), small)
		want, ok := model(text)
		if ok != (err == nil) {
			t.Fatalf("error %v, but the model accepts: %v", err, ok)
		}
		if ok && !same(blur(got), want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		again, err2 := read(&chunks{bytes.NewReader(text), rand.New(rand.NewPCG(seed, 0))}, small)
		if !same(got, again) || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("in chunks: %+v, %v; read whole: %+v, %v", again, err2, got, err)
		}
	})
}

// blur replaces all failures by the same one.
func blur(images []intake.Source) []intake.Source {
	var blurred []intake.Source
	for _, img := range images {
		if img.Failure != nil {
			_, img.Failure = decode("!")
		}
		blurred = append(blurred, img)
	}
	return blurred
}

// chunks reads random numbers of bytes at a time.
type chunks struct {
	r      io.Reader
	random *rand.Rand
}

func (c *chunks) Read(p []byte) (int, error) {
	return c.r.Read(p[:min(len(p), 1+c.random.IntN(9))])
}

// model reads a request with encoding/json. It returns false for a request that the reader
// must reject.
func model(text []byte) ([]intake.Source, bool) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) || !json.Valid(text) || depth(text) > 100 {
		return nil, false
	}
	root, ok := members(text, "images")
	if !ok {
		return nil, false
	}
	var elements []json.RawMessage
	if json.Unmarshal(root["images"], &elements) != nil || len(elements) == 0 || len(elements) > small.Images {
		return nil, false
	}
	var images []intake.Source
	for _, e := range elements {
		m, ok := members(e, "url", "base64", "name")
		if !ok {
			return nil, false
		}
		var url, inline, name *string
		for key, to := range map[string]**string{"url": &url, "base64": &inline, "name": &name} {
			if raw, ok := m[key]; ok && json.Unmarshal(raw, to) != nil {
				return nil, false
			}
			if *to == nil {
				*to = new(string)
			}
		}
		if (*url == "") == (*inline == "") {
			return nil, false
		}
		img := intake.Source{URL: *url, Name: *name}
		var valid bool
		img.Headers, valid = headersOf(m["headers"])
		text := strings.TrimLeft(*url, " \t\r\n")
		switch isData := len(text) >= 5 && strings.EqualFold(text[:5], "data:"); {
		case *inline != "":
			img.Data, img.Failure = decode(*inline)
		case isData && dataURL.MatchString(compact(text)) && !base64URL.MatchString(compact(text)):
			img.URL = ""
			img.Data, img.Failure = percentDecode(dataURL.ReplaceAllString(compact(text), ""))
		case isData:
			img.URL = ""
			img.Data, img.Failure = decode(text)
		case !valid:
			_, img.Failure = decode("!")
		}
		images = append(images, img)
	}
	return images, true
}

// members returns the members of an object. It returns false if the value is not an object or
// a name in unique occurs twice.
func members(object []byte, unique ...string) (map[string]json.RawMessage, bool) {
	d := json.NewDecoder(bytes.NewReader(object))
	if open, _ := d.Token(); open != json.Delim('{') {
		return nil, false
	}
	m := map[string]json.RawMessage{}
	for d.More() {
		key, _ := d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		for _, u := range unique {
			if _, twice := m[u]; twice && key == u {
				return nil, false
			}
		}
		m[key.(string)] = value
	}
	return m, true
}

func depth(text []byte) int {
	d := json.NewDecoder(bytes.NewReader(text))
	now, most := 0, 0
	for {
		token, err := d.Token()
		if err != nil {
			return most
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			now++
			most = max(most, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}

var dataURL = regexp.MustCompile(`(?is)^data:([^,]*),`)

// base64URL matches a data URL of base64.
var base64URL = regexp.MustCompile(`(?is)^data:([^,]*);base64,`)

var invalid = &pipeline.Failure{Code: pipeline.CodeInvalidBase64, Text: "Invalid base64 data"}

// compact removes white space.
func compact(text string) string {
	return strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(text)
}

func percentDecode(text string) ([]byte, *pipeline.Failure) {
	data := regexp.MustCompile("%[0-9A-Fa-f]{2}").ReplaceAllStringFunc(text, func(escape string) string {
		v, _ := strconv.ParseUint(escape[1:], 16, 8)
		return string([]byte{byte(v)})
	})
	if len(data) > int(small.ImageBytes) {
		return nil, invalid
	}
	return []byte(data), nil
}

// headersOf returns the header fields of a value of headers. It returns false if the image fails.
func headersOf(value json.RawMessage) (map[string]string, bool) {
	if text := string(value); text == "" || text == "null" || text == `""` {
		return nil, true
	}
	d := json.NewDecoder(bytes.NewReader(value))
	if open, _ := d.Token(); open != json.Delim('{') {
		return nil, false
	}
	fields := map[string]string{}
	for d.More() {
		key, _ := d.Token()
		name := key.(string)
		name = name[:min(len(name), 16)] // The reader keeps the start of a long name.
		var field json.RawMessage
		var s *string
		if _, twice := fields[name]; twice || len(fields) == intake.MaxHeaders || d.Decode(&field) != nil || json.Unmarshal(field, &s) != nil {
			return nil, false
		}
		if fields[name] = ""; s != nil {
			fields[name] = *s
		}
	}
	return fields, true
}

func decode(text string) ([]byte, *pipeline.Failure) {
	text = compact(text)
	if m := dataURL.FindStringSubmatch(text); m != nil {
		if !strings.HasSuffix(strings.ToLower(m[1]), ";base64") {
			return nil, invalid
		}
		var err error
		if text, err = url.PathUnescape(text[len(m[0]):]); err != nil {
			return nil, invalid
		}
		text = compact(text)
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	digits := strings.TrimRight(text, "=")
	if padding := len(text) - len(digits); padding > 0 && (padding > 2 || len(text)%4 != 0) {
		return nil, invalid
	}
	if len(digits)*6/8 > int(small.ImageBytes) {
		return nil, invalid // or too large: the model does not decide which failure comes first
	}
	data, err := base64.RawStdEncoding.DecodeString(digits)
	if err != nil {
		return nil, invalid
	}
	return data, nil
}
