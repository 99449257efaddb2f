package body_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
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
		`{"metadata":{"a":"b","a":1,"c":null,"d":"\u0000","e":{"f":["g"]},"":"","h":"i"},"images":[{"url":"u","custom_id":"x","custom_id":"\n\ud800"},{"url":"v","custom_id":[[0]]}],"metadata":[]}`,
		`{"images":[{"url":"u","custom_id":null},{"url":"u","custom_id":"` + strings.Repeat("é", 128) + `"}],"metadata":{"` + strings.Repeat("k", 513) + `":"v","w":"x"}}`,
		`{"metadata":{"a":"0","b":"1","c":"","d":"","e":"","f":"","g":"","h":"","i":"","j":"","k":"","l":"","m":"","n":"","o":"","p":"","q":"","a":"2","r":""},"images":[{"url":"u"}]}`,
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		if len(text) > 1000 { // the limits of strings and tokens have their own tests
			return
		}
		in := body.NewReader(bytes.NewReader(text), small)
		got, err := images(in)
		want, metadata, ok := model(text)
		if ok != (err == nil) {
			t.Fatalf("error %v, but the model accepts: %v", err, ok)
		}
		if ok && !same(blur(got), want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if ok && !maps.Equal(in.Metadata(), metadata) {
			t.Fatalf("the metadata is %q, want %q", in.Metadata(), metadata)
		}
		slow := body.NewReader(&chunks{bytes.NewReader(text), rand.New(rand.NewPCG(seed, 0))}, small)
		again, err2 := images(slow)
		if !slices.Equal(in.Warnings(), slow.Warnings()) || !maps.Equal(in.Metadata(), slow.Metadata()) {
			t.Fatalf("in chunks: %q %q, read whole: %q %q", slow.Metadata(), slow.Warnings(), in.Metadata(), in.Warnings())
		}
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

// model reads a request with encoding/json: the images and the metadata. It returns false for a
// request that the reader must reject.
func model(text []byte) ([]intake.Source, map[string]string, bool) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) || !json.Valid(text) || depth(text) > 100 {
		return nil, nil, false
	}
	root, ok := members(text, "images")
	if !ok {
		return nil, nil, false
	}
	var elements []json.RawMessage
	if json.Unmarshal(root["images"], &elements) != nil || len(elements) == 0 || len(elements) > small.Images {
		return nil, nil, false
	}
	var images []intake.Source
	for _, e := range elements {
		m, ok := members(e, "url", "base64", "name")
		if !ok {
			return nil, nil, false
		}
		var url, inline, name *string
		for key, to := range map[string]**string{"url": &url, "base64": &inline, "name": &name} {
			if raw, ok := m[key]; ok && json.Unmarshal(raw, to) != nil {
				return nil, nil, false
			}
			if *to == nil {
				*to = new(string)
			}
		}
		if (*url == "") == (*inline == "") {
			return nil, nil, false
		}
		img := intake.Source{URL: *url, Name: *name}
		img.CustomID, _ = label(m["custom_id"], 255)
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
	return images, metadataOf(root["metadata"]), true
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

// label returns a text that the reader keeps.
func label(value json.RawMessage, limit int) (string, bool) {
	var text *string
	if json.Unmarshal(value, &text) != nil || text == nil || len(*text) > limit || strings.Contains(*text, "\x00") {
		return "", false
	}
	return *text, true
}

// metadataOf returns what the reader keeps of a value of metadata.
func metadataOf(value json.RawMessage) map[string]string {
	d := json.NewDecoder(bytes.NewReader(value))
	if open, _ := d.Token(); open != json.Delim('{') {
		return nil
	}
	kept := map[string]string{}
	for d.More() {
		key, _ := d.Token()
		var field json.RawMessage
		if d.Decode(&field) != nil {
			return nil
		}
		name := key.(string)
		if len(name) > 512 || strings.Contains(name, "\x00") {
			continue
		}
		delete(kept, name)
		if text, ok := label(field, 512); ok && len(kept) < 16 {
			kept[name] = text
		}
	}
	return kept
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
