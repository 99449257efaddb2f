package main

import (
	"strings"
	"testing"
)

// TestAllowedHosts holds that DOWNLOAD_ALLOW_HOSTS reaches the downloads, and that an
// image from another host fails alone and says why.
func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t, "DOWNLOAD_ALLOW_HOSTS=*.images.example,127.0.0.1")
	site := origin(t, map[string][]byte{"photo.jpg": photo(t)})
	other := strings.Replace(site, "127.0.0.1", "localhost", 1)
	got := s.ended(t, s.submit(t, map[string]string{"url": site + "/photo.jpg"}, map[string]string{"url": other + "/photo.jpg"}))
	if got.Images[0].Status != "completed" {
		t.Errorf("from a host of the list: %+v", got.Images[0])
	}
	if img := got.Images[1]; img.ErrorCode != "url_not_allowed" || img.Error != "URL not allowed: images are not fetched from this host" {
		t.Errorf("from another host: %+v", img)
	}
}
