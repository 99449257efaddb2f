package main

import (
	"bytes"
	"net/http"
	"reflect"
	"testing"
)

// TestProcessedImageSentAgain sends a processed image in again: what was composed in the first
// run is not taken for a person's words in the second, and stands in the file once.
// A sidecar is there when it is asked for.
func TestProcessedImageSentAgain(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t, "SIDECAR_XMP=true")
	run := func(data []byte) (file, sidecar []byte, record map[string]any) {
		id := s.submit(t, inline("sunrise.jpg", data))
		if got := s.ended(t, id); got.Completed != 1 {
			t.Fatalf("job %+v", got)
		}
		at := "/api/v1/batch/" + id + "/images/0/"
		for part, out := range map[string]any{"file": &file, "xmp": &sidecar, "metadata": &record} {
			if status, _ := s.call(t, http.MethodGet, at+part, nil, out); status != 200 {
				t.Fatalf("%s: %d", part, status)
			}
		}
		return file, sidecar, record
	}
	first, sidecar, record := run(photo(t))
	composed, _ := record["composed"].([]any)
	if len(composed) == 0 {
		t.Fatal("nothing was composed: the test tests nothing")
	}
	if !bytes.Contains(first, sidecar) {
		t.Error("the sidecar is not what the file says")
	}
	second, _, again := run(first)
	for _, field := range []string{"composed", "title", "keywords"} {
		if !reflect.DeepEqual(again[field], record[field]) {
			t.Errorf("%s: %v, want %v", field, again[field], record[field])
		}
	}
	for _, once := range []string{"<dc:title>", "<dc:description>", "<imagebatch:composed>", "imagebatch:PHash="} {
		if a, b := bytes.Count(first, []byte(once)), bytes.Count(second, []byte(once)); a != b {
			t.Errorf("%s stands there %d times, and %d times in the second file", once, a, b)
		}
	}
}
