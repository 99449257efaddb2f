package main

import (
	"bytes"
	"net/http"
	"reflect"
	"testing"
)

// TestProcessedImageSentAgain sends a processed image again. It verifies that the texts
// composed in the first run are not treated as a person's texts in the second, that the
// file contains them once, and that a sidecar is written if it is enabled.
func TestProcessedImageSentAgain(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t, "SIDECAR_XMP=true", "EMBED_DESCRIPTIVE=all")
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
		t.Fatal("no text was composed, so this test verifies nothing")
	}
	if !bytes.Contains(first, sidecar) {
		t.Error("the file does not contain the sidecar's XMP")
	}
	second, _, again := run(first)
	for _, field := range []string{"composed", "title", "keywords"} {
		if !reflect.DeepEqual(again[field], record[field]) {
			t.Errorf("%s: %v, want %v", field, again[field], record[field])
		}
	}
	for _, once := range []string{"<dc:title>", "<dc:description>", "<imagebatch:composed>", "imagebatch:PHash="} {
		if a, b := bytes.Count(first, []byte(once)), bytes.Count(second, []byte(once)); a != b {
			t.Errorf("%s occurs %d times in the first file and %d times in the second", once, a, b)
		}
	}
}
