package body_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
)

func TestReadSelection(t *testing.T) {
	for text, want := range map[string][]int{
		"": nil, " \n": nil, "\ufeff": nil, "{}": nil, `{"images":null}`: nil, `{"images":""}`: nil, `{"captions":true}`: nil, `{"captions":null}`: nil,
		`{"Images":[0],"x":{"images":[9]},"y":[1e9,-0.5,"z"]}`: nil,
		`{"images":[0]}`: {0}, "\ufeff" + ` { "images" : [ 3 , 0 ] , "captions" : false } `: {3, 0},
		`{"images":[2,1,0,1000000]}`: {2, 1, 0, 1000000}, `{"images":[1],"images":[2]}`: {2},
	} {
		if s, err := body.ReadSelection(strings.NewReader(text), 4); err != nil || !slices.Equal(s.Images, want) || s.Images == nil != (want == nil) {
			t.Errorf("%s: got %v and %v, want %v", text, s.Images, err, want)
		}
	}
	for text, want := range map[string]string{
		"[0]": "Request body must be a JSON object", `"images"`: "Request body must be a JSON object",
		"{": "Invalid JSON: unexpected end of the body", `{"images":[0`: "Invalid JSON: unexpected end of the body",
		"--x": "Request body must be a JSON object", "images=0": "Invalid JSON at byte 0: unexpected character 'i'",
		`{"images":[01]}`: "Invalid JSON at byte 12: unexpected character '1'",
		`{"images":[0]}{`: "Invalid JSON at byte 14: unexpected data after the object, beginning with '{'",
		`{"images":3}`:    "images must be an array of indexes", `{"images":"all"}`: "images must be an array of indexes", `{"images":{"0":1}}`: "images must be an array of indexes",
		`{"images":[]}`:      "images must not be empty",
		`{"images":[0,1,0]}`: "images[2] must not repeat the index 0",
		`{"images":[0,-1]}`:  "images[1] must be the index of an image, such as 0", `{"images":[-0]}`: "images[0] must be the index of an image, such as 0",
		`{"images":[1.0]}`: "images[0] must be the index of an image, such as 0", `{"images":[1e0]}`: "images[0] must be the index of an image, such as 0",
		`{"images":["0"]}`: "images[0] must be the index of an image, such as 0", `{"images":[null]}`: "images[0] must be the index of an image, such as 0",
		`{"images":[[0]]}`: "images[0] must be the index of an image, such as 0", `{"images":[true]}`: "images[0] must be the index of an image, such as 0",
		`{"images":[99999999999999999999999999999999]}`: "images[0] must be the index of an image, such as 0",
		`{"images":[9223372036854775808]}`:              "images[0] must be the index of an image, such as 0",
		`{"images":[0,1,2,3,4]}`:                        "Too many images (>4)", `{"images":[0,1,2,3,0]}`: "Too many images (>4)",
		`{"captions":"yes"}`: "captions must be true or false", `{"captions":1}`: "captions must be true or false", `{"captions":[]}`: "captions must be true or false",
		`{"captions":tru}`:          "Invalid JSON at byte 15: unexpected character '}'",
		`{"remove_captions":"yes"}`: "remove_captions must be true or false", `{"remove_captions":0}`: "remove_captions must be true or false",
		`{"captions":true,"remove_captions":true}`:                               "captions must not be true with remove_captions",
		`{"remove_captions":true,"images":[0],"captions":false,"captions":true}`: "captions must not be true with remove_captions",
	} {
		_, err := body.ReadSelection(strings.NewReader(text), 4)
		if e, ok := errors.AsType[*body.Error](err); !ok || e.Text != want {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// TestReadCaptions verifies that the member captions of all three requests is read, the last one of
// several, and that another type is an error: a typing mistake must not let a model see an image.
func TestReadCaptions(t *testing.T) {
	for text, want := range map[string]string{
		`"captions":true`: "true", `"captions":false`: "false", `"captions":null`: "", `"x":1`: "", `"captions":true,"captions":false`: "false", `"Captions":false`: "",
		`"captions":"false"`: "captions must be true or false", `"captions":0`: "captions must be true or false", `"captions":""`: "captions must be true or false",
	} {
		shown := func(captions *bool, err error) string {
			if err != nil {
				return err.Error()
			}
			if captions == nil {
				return ""
			}
			return fmt.Sprint(*captions)
		}
		s, err := body.ReadSelection(strings.NewReader("{"+text+"}"), 4)
		if got := shown(s.Captions, err); got != want {
			t.Errorf("selection {%s}: got %q, want %q", text, got, want)
		}
		for _, batch := range []string{`{"images":[{"url":"https://example.com/a"}],` + text + `}`, `{` + text + `,"images":[{"url":"https://example.com/a"}]}`} {
			r := body.NewReader(strings.NewReader(batch), body.Limits{Images: 4, ImageBytes: 1 << 10})
			var err error
			for err == nil {
				_, err = r.Next()
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if got := shown(r.Captions(), err); got != want {
				t.Errorf("batch %s: got %q, want %q", batch, got, want)
			}
		}
		form := body.NewForm(strings.NewReader(formOf(t, "x", [2]string{"options", "{" + text + "}"}, [2]string{"url", "https://example.com/a"})), "x", body.Limits{Images: 4, ImageBytes: 1 << 10}, false)
		for err = nil; err == nil; {
			_, err = form.Next()
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if got := strings.TrimPrefix(shown(form.Captions(), err), "options: "); got != want {
			t.Errorf("options {%s}: got %q, want %q", text, got, want)
		}
	}
}

// TestReadRemoveCaptions verifies that the last member remove_captions counts, and that it does not contradict captions.
func TestReadRemoveCaptions(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "", `{"remove_captions":null}`: "", `{"Remove_captions":true}`: "", `{"remove_captions":true}`: "true", `{"remove_captions":false}`: "false",
		`{"remove_captions":false,"captions":true}`: "false", `{"remove_captions":true,"captions":false}`: "true", `{"remove_captions":false,"remove_captions":true}`: "true",
	} {
		s, err := body.ReadSelection(strings.NewReader(text), 4)
		got := ""
		if s.RemoveCaptions != nil {
			got = fmt.Sprint(*s.RemoveCaptions)
		}
		if err != nil || got != want {
			t.Errorf("%s: got %q and %v, want %q", text, got, err, want)
		}
	}
}

// FuzzReadSelection verifies that a selection has unique indexes within the limit, whatever the
// body contains.
func FuzzReadSelection(f *testing.F) {
	for _, text := range []string{"", "{}", `{"images":[0,3]}`, `{"images":[0,0]}`, `{"captions":true,"images":[-1]}`, `{"images":[1e1]}`, `{"remove_captions":true}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := body.ReadSelection(strings.NewReader(text), 5)
		got := s.Images
		if err != nil {
			if _, ok := errors.AsType[*body.Error](err); !ok {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		sorted := slices.Sorted(slices.Values(got))
		if len(got) > 5 || got != nil && len(got) == 0 || len(slices.Compact(slices.Clone(sorted))) != len(got) || len(got) > 0 && sorted[0] < 0 {
			t.Errorf("%q: got %v", text, got)
		}
	})
}
