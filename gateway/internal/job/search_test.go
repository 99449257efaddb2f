package job_test

import (
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// TestSearchNames verifies that a part of a name is found without regard to case and to the form of its
// accents, and that nothing else is found.
func TestSearchNames(t *testing.T) {
	const decomposed = "A\u0308pfel"
	for _, c := range []struct {
		search, name, customID string
		want                   bool
	}{
		{"beach", "Beach 1.jpg", "", true},
		{"BEACH 1", "beach 1.jpg", "", true},
		{"beach", "1.jpg", "2026/BEACH/1.jpg", true},
		{"äpfel", "ÄPFEL.jpg", "", true},
		{"äpfel", decomposed + ".jpg", "", true},
		{decomposed, "äpfel.jpg", "", true},
		{"写真", "旅行の写真.jpg", "", true},
		{"%", "100 %.jpg", "", true},
		{"%", "100.jpg", "", false},
		{"_", "a.jpg", "", false},
		{"beach1", "beach 1.jpg", "", false},
		{"jpg2026", "beach.jpg", "2026/beach.jpg", false},
		{"apfel", "äpfel.jpg", "", false},
	} {
		if got := job.Search(c.search).Matcher()(c.name, c.customID); got != c.want {
			t.Errorf("%q finds %q and %q: %t, want %t", c.search, c.name, c.customID, got, c.want)
		}
	}
}

// TestSearchIDs verifies which texts are looked up as the start of an ID: long ones, which are no words and
// no years.
func TestSearchIDs(t *testing.T) {
	const id = "4660c984-1d2e-4f30-8a5b-6c7d8e9f0a1b"
	for n := range len(id) + 1 {
		from, to, ok := job.Search(id[:n]).IDs()
		if ok != (n >= 8) || !job.Search(id[:n]).StartsID(id) {
			t.Errorf("%q is looked up: %t", id[:n], ok)
		}
		if ok && (from > id || id >= to || from <= "4660c983-ffff-ffff-ffff-ffffffffffff" || to > "4660c985") {
			t.Errorf("%q is looked up from %s to %s", id[:n], from, to)
		}
	}
	if from, _, ok := job.Search("4660C984").IDs(); from != "4660c984" || !ok || !job.Search("4660C9").StartsID(id) {
		t.Error("upper case is not looked up")
	}
	for _, text := range []job.Search{"", "beach", "cafe", "2026", "IMG_0001", "20261128_1530", "4660c984x", "4660c9841", id + "a"} {
		if _, _, ok := text.IDs(); ok {
			t.Errorf("%q is looked up as an ID", text)
		}
	}
}
