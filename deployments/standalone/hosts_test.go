package main

import (
	"strings"
	"testing"
)

// TestAllowedHosts verifies that DOWNLOAD_ALLOW_HOSTS applies to the downloads, and that only
// the image from another host fails, with its own error.
func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t, "DOWNLOAD_ALLOW_HOSTS=*.images.example,127.0.0.1")
	site := origin(t, map[string][]byte{"photo.jpg": photo(t)})
	other := strings.Replace(site, "127.0.0.1", "localhost", 1)
	got := s.ended(t, s.submit(t, map[string]string{"url": site + "/photo.jpg"}, map[string]string{"url": other + "/photo.jpg"}))
	if got.Images[0].Status != "completed" {
		t.Errorf("image from an allowed host: %+v", got.Images[0])
	}
	if img := got.Images[1]; img.ErrorCode != "url_not_allowed" || img.Error != "URL not allowed: images are not fetched from this host" {
		t.Errorf("image from another host: %+v", img)
	}
}
