package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHeadersExample runs the example of headers for an image URL, and verifies that the image
// needs them, and that the log and the job's JSON do not contain them.
func TestHeadersExample(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t, "DOWNLOAD_ALLOW_HEADERS=true")
	s.described(t)
	image := photo(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer 4711" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write(image)
	}))
	t.Cleanup(site.Close)
	dir := t.TempDir()
	s.follow(t, dir, pick(t, examples(t, extensions), headersSection, "console"), func(command string) string {
		return strings.ReplaceAll(command, docsSite, site.URL)
	})
	var created jobResponse
	if err := json.Unmarshal(readFile(t, dir+"/created.json"), &created); err != nil {
		t.Fatal(err)
	}
	if img := s.ended(t, created.JobID).Images[0]; img.Status != "completed" {
		t.Errorf("the image with headers is %+v, want completed", img)
	}
	without := s.ended(t, s.submit(t, map[string]string{"url": site.URL + "/private.jpg"}))
	if img := without.Images[0]; img.Error != "Failed to download image: status code 401" {
		t.Errorf("the image without headers is %+v, want status code 401", img)
	}
	var whole []byte
	s.call(t, http.MethodGet, "/api/v1/batch", nil, &whole)
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Contains(whole, []byte("4711")) || bytes.Contains(s.log.Bytes(), []byte("4711")) {
		t.Errorf("the list of jobs or the log contains the header:\n%s\n%s", whole, s.log.Bytes())
	}
}

// TestSourcesAsTheyAre verifies the whole path of images from odd sources: a URL with an illegal
// byte next to an escape, a data URL of more than the limit of URLs, and an origin that
// compresses.
func TestSourcesAsTheyAre(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t)
	image := photo(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(image); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.RequestURI {
		case "/my%20photo%2B1.jpg?sig=a%2Fb+c":
			w.Write(image)
		case "/packed.jpg":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(packed.Bytes())
		case "/moved":
			w.Header()["Location"] = []string{"/my photo%2B1.jpg?sig=a%2Fb+c"}
			w.WriteHeader(http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(site.Close)
	got := s.ended(t, s.submit(t,
		map[string]string{"url": site.URL + "/my photo%2B1.jpg?sig=a%2Fb+c"}, map[string]string{"url": site.URL + "/moved"},
		map[string]string{"url": site.URL + "/packed.jpg"}, map[string]string{"url": "Data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(image)},
	))
	for i, name := range []string{"my photo+1.jpg", "moved", "packed.jpg", "image-4"} {
		if img := got.Images[i]; img.Status != "completed" || img.OriginalFilename != name {
			t.Errorf("image %d is %+v, want %s, completed", i, img, name)
		}
	}
}
