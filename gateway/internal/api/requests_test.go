package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestAttackRequests posts bodies that JSON parsers are known to parse differently, and
// invalid JSON, under every media type. Each body gets the status that is listed for it,
// every error has the documented form, and no rejected body creates a job.
func TestAttackRequests(t *testing.T) {
	r := setup(t, options{})
	types := []string{
		"application/json", "application/json; charset=utf-16", "text/plain", "multipart/mixed; boundary=x",
		"application/x-www-form-urlencoded", "text/xml", "*/*", "a;b;c",
	}
	accepted := 0
	for i, c := range requestShapes(t) {
		t.Run(c.name, func(t *testing.T) {
			header, text := []string{"Content-Type", types[i%len(types)]}, c.body
			if strings.Contains(c.name, "gzip") {
				header = append(header, "Content-Encoding", "gzip")
				text = gunzipped(c.body)
			}
			if c.valid && !json.Valid(bytes.TrimPrefix(text, []byte("\ufeff"))) {
				t.Error("listed as valid, but it is not JSON")
			}
			got := r.do(http.MethodPost, "/api/v1/batch", bytes.NewReader(c.body), header...)
			if c.valid {
				if accepted++; got.status != http.StatusCreated {
					t.Errorf("got %d %s, want 201", got.status, got.body)
				}
				return
			}
			wantRefusal(t, got, http.StatusBadRequest)
		})
	}
	if n := len(r.list()); n != accepted {
		t.Errorf("got %d jobs, want %d", n, accepted)
	}
}

// gunzipped returns the decoded body, or nil if it is damaged.
func gunzipped(body []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return text
}

type requestShape struct {
	name  string
	valid bool
	body  []byte
}

// requestShapes returns the bodies of testdata/requests.txt, and bodies that are too long
// for that file.
func requestShapes(t *testing.T) []requestShape {
	t.Helper()
	const images = `"images":[{"url":"http://127.0.0.1/"}]`
	text, err := os.ReadFile("testdata/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []requestShape
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		field := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(field) != 3 || field[0] != "valid" && field[0] != "invalid" {
			t.Fatalf("testdata/requests.txt: %q", line)
		}
		body, err := strconv.Unquote(field[2])
		if err != nil {
			t.Fatalf("testdata/requests.txt: %v in %q", err, line)
		}
		list = append(list, requestShape{field[1], field[0] == "valid", []byte(strings.ReplaceAll(body, "IMAGES", images))})
	}
	if len(list) < 150 {
		t.Fatalf("testdata/requests.txt has only %d bodies", len(list))
	}
	value := func(x string) []byte { return []byte(`{"x":` + x + `,` + images + `}`) }
	again := strings.Repeat
	return append(
		list,
		requestShape{"array nested 90 deep", true, value(again("[", 90) + again("]", 90))},
		requestShape{"object nested 90 deep", true, value(again(`{"a":`, 90) + "1" + again("}", 90))},
		requestShape{"array nested 101 deep", false, value(again("[", 101) + again("]", 101))},
		requestShape{"array nested 100,000 deep", false, value(again("[", 100_000) + again("]", 100_000))},
		requestShape{"array nested 100,000 deep and open", false, []byte(again("[", 100_000))},
		requestShape{"object nested 100,000 deep and open", false, []byte(again(`{"a":`, 100_000))},
		requestShape{"array and object nested 100,000 deep", false, value(again(`[{"a":`, 100_000))},
		requestShape{"array of 100,000 numbers", true, value("[" + again("1,", 100_000) + "1]")},
		requestShape{"array of 100,000 arrays", true, value("[" + again("[],", 100_000) + "[]]")},
		requestShape{"100,000 members", true, []byte("{" + again(`"x":1,`, 100_000) + images + "}")},
		requestShape{"100,000 spaces", true, []byte("{" + again(" ", 100_000) + images + "}")},
		requestShape{"a number of 70,000 digits", false, value(again("1", 70_000))},
		requestShape{"a string of 70,000 letters", false, value(`"` + again("x", 70_000) + `"`)},
		requestShape{"a name of 70,000 letters", false, []byte(`{"` + again("x", 70_000) + `":1,` + images + `}`)},
		requestShape{"a URL of 9,000 bytes", true, []byte(`{"images":[{"url":"` + again("x", 9_000) + `"}]}`)},
		requestShape{"a URL of 3,000 escapes", true, []byte(`{"images":[{"url":"` + again(`\u0078`, 3_000) + `"}]}`)},
		requestShape{"images nested 100,000 deep", false, []byte(`{"images":` + again("[", 100_000) + again("]", 100_000) + "}")},
		requestShape{"a million images", false, []byte(`{"images":[` + again(`{"url":"u"},`, 1_000_000) + `{"url":"u"}]}`)},
		requestShape{"a number of 16 MiB", false, value(again("9", 16<<20))},
		requestShape{"a string of 16 MiB", false, value(`"` + again("a", 16<<20) + `"`)},
		requestShape{"a member of 16 MiB", false, []byte(`{"` + again("a", 16<<20) + `":1,` + images + `}`)},
		requestShape{"a name of 10,000 bytes", true, []byte(`{"images":[{"url":"u","name":"` + again("a", 10_000) + `"}]}`)},
		requestShape{"a name of 10,000 dots and slashes", true, []byte(`{"images":[{"url":"u","name":"` + again("../", 3_500) + `"}]}`)},
		requestShape{"a name of 3,500 marks", true, []byte(`{"images":[{"url":"u","name":"` + again("\u202e", 3_500) + `"}]}`)},
		requestShape{"a name of 16 MiB", true, []byte(`{"images":[{"url":"u","name":"` + again("a", 16<<20) + `"}]}`)},
		requestShape{"a name of 200,000 escapes", true, []byte(`{"images":[{"url":"u","name":"` + again(`\u0061`, 200_000) + `"}]}`)},
		requestShape{"a URL of 16 MiB", true, []byte(`{"images":[{"url":"http://x/` + again("a", 16<<20) + `"}]}`)},
		requestShape{"a name of half an escape", false, []byte(`{"images":[{"url":"u","name":"` + again("a", 70_000) + `\u00"}]}`)},
		requestShape{"101 images", false, []byte(`{"images":[` + again(`{"url":"u"},`, 100) + `{"url":"u"}]}`)},
	)
}

// wantRefusal checks that a response is an error in the documented form with one of the
// statuses.
func wantRefusal(t *testing.T, got response, statuses ...int) {
	t.Helper()
	var parsed struct {
		Error  string `json:"error"`
		Status int    `json:"status"`
	}
	d := json.NewDecoder(bytes.NewReader(got.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&parsed); err != nil || parsed.Error == "" || len(parsed.Error) > 400 || parsed.Status != got.status {
		t.Errorf("the response does not have the form of an error: %.400s (%v)", got.body, err)
	}
	if !slices.Contains(statuses, got.status) || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s, want one of %v", got.status, got.header.Get("Content-Type"), statuses)
	}
}
