package job_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// TestHeadersAreNotPrinted verifies that headers survive their encoding, and that a log, an error
// or a JSON encoder shows none of them.
func TestHeadersAreNotPrinted(t *testing.T) {
	fields := map[string]string{"Authorization": "Bearer s3cr3t", "referer": "https://ex\u00e4mple.com/\"s3cr3t"}
	img := job.Image{URL: "https://example.com/", Headers: job.NewHeaders(fields)}
	if got := img.Headers.Fields(); !maps.Equal(got, fields) {
		t.Errorf("the fields are %v, want %v", got, fields)
	}
	for _, none := range []map[string]string{nil, {}} {
		if h := job.NewHeaders(none); string(h) != "" || h.Fields() != nil {
			t.Errorf("no fields are encoded as %q", string(h))
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("image", "headers", img.Headers, "image", img)
	slog.New(slog.NewTextHandler(&log, nil)).Info("image", "headers", img.Headers, "image", img)
	encoded, err := json.Marshal(img)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		log.String(), string(encoded), fmt.Sprint(img), fmt.Sprintf("%+v %#v %s %q %x", img, img, img.Headers, img.Headers, img.Headers),
		fmt.Sprintf("%+v", []*job.Job{{Images: []job.Image{img}}}), fmt.Errorf("headers %v", img.Headers).Error(),
	} {
		if strings.Contains(text, "s3cr3t") || strings.Contains(text, "733363723374") || strings.Contains(text, "Bearer") {
			t.Errorf("printed: %s", text)
		}
	}
}
