package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// checkAllResults compares the downloads of all results of a job with those of its images,
// and reads a file in parts.
func (s *system) checkAllResults(t *testing.T, a jobResponse, originals map[int][]byte) {
	t.Helper()
	at := "/api/v1/batch/" + a.JobID
	var lines, archive []byte
	if status, header := s.call(t, http.MethodGet, at+"/results.jsonl", nil, &lines); status != http.StatusOK || header.Get("Content-Type") != "application/jsonl" {
		t.Errorf("results.jsonl: %d %v", status, header)
	}
	if status, header := s.call(t, http.MethodGet, at+"/results.zip?include=file,metadata,thumbnail", nil, &archive); status != http.StatusOK || header.Get("Content-Type") != "application/zip" {
		t.Errorf("results.zip: %d %v", status, header)
	}
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := z.Open("manifest.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	named := json.NewDecoder(manifest)
	recorded := json.NewDecoder(bytes.NewReader(lines))
	for i, img := range a.Images {
		type line struct {
			Index             int
			Name              string `json:"original_filename"`
			Status, Error     string
			ErrorCode         string `json:"error_code"`
			Metadata, Missing json.RawMessage
			Files             map[string]string
		}
		var first, second line
		if err := recorded.Decode(&first); err != nil {
			t.Fatalf("results.jsonl, line %d: %v", i, err)
		}
		if err := named.Decode(&second); err != nil {
			t.Fatalf("manifest.jsonl, line %d: %v", i, err)
		}
		for _, l := range []line{first, second} {
			if l.Index != i || l.Name != img.OriginalFilename || l.Status != img.Status || l.Error != img.Error || l.ErrorCode != img.ErrorCode || l.Missing != nil {
				t.Errorf("line %d is %+v, want that of %+v", i, l, img)
			}
		}
		if img.Status != "completed" {
			continue
		}
		image := fmt.Sprintf("%s/images/%d/", at, i)
		var record, compact bytes.Buffer
		for _, kind := range []string{"file", "metadata", "thumbnail"} {
			var want []byte
			s.call(t, http.MethodGet, image+kind, nil, &want)
			in, err := z.Open(second.Files[kind])
			if err != nil {
				t.Fatalf("%s of image %d: %v", kind, i, err)
			}
			got, err := io.ReadAll(in)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s of image %d in the archive has %d bytes, want %d; %v", kind, i, len(got), len(want), err)
			}
			if kind == "metadata" {
				record.Write(want)
			}
		}
		if err := json.Compact(&compact, record.Bytes()); err != nil || compact.String() != string(first.Metadata) {
			t.Errorf("the metadata of image %d in results.jsonl is not its record: %s, %v", i, first.Metadata, err)
		}
		var original []byte
		if status, _ := s.call(t, http.MethodGet, image+"original", nil, &original); status != http.StatusOK || !bytes.Equal(original, originals[i]) {
			t.Errorf("original of image %d: %d with %d bytes, want %d", i, status, len(original), len(originals[i]))
		}
		s.checkParts(t, image+"file")
		s.checkParts(t, image+"original")
	}
}

// checkParts reads an object in two parts, and asks whether it has changed.
func (s *system) checkParts(t *testing.T, path string) {
	t.Helper()
	var whole []byte
	_, header := s.call(t, http.MethodGet, path, nil, &whole)
	etag := header.Get("ETag")
	if len(etag) < 3 || !strings.HasPrefix(etag, `"`) {
		t.Errorf("%s has the ETag %s", path, etag)
	}
	ask := func(name, value string) (int, string, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(name, value)
		req.Header.Set("If-Range", etag)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Content-Range"), data
	}
	if status, _, data := ask("If-None-Match", etag); status != http.StatusNotModified || len(data) > 0 {
		t.Errorf("%s with its ETag: %d with %d bytes", path, status, len(data))
	}
	first, part, start := ask("Range", "bytes=0-999")
	second, _, rest := ask("Range", "bytes=1000-")
	if first != http.StatusPartialContent || second != http.StatusPartialContent || part != fmt.Sprintf("bytes 0-999/%d", len(whole)) || !bytes.Equal(append(start, rest...), whole) {
		t.Errorf("%s in parts: %d (%s) and %d, %d and %d of %d bytes", path, first, part, second, len(start), len(rest), len(whole))
	}
}
