package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/deployments/network"
)

func TestMain(m *testing.M) {
	if err := network.Separate(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestCompareRoundTrips compares servers in place with distant ones under the smallest load. A single image
// needs several round trips.
func TestCompareRoundTrips(t *testing.T) {
	if os.Getenv("TEST_RABBITMQ_URL") == "" || os.Getenv("TEST_S3_ENDPOINT") == "" || os.Getuid() != 0 {
		t.Skip("TEST_RABBITMQ_URL and TEST_S3_ENDPOINT are not set, or the user is not root: no servers to test with, or no network")
	}
	dir, p := t.TempDir(), tinyPairs
	p.rounds = 1
	distances := []time.Duration{20 * time.Millisecond}
	text, err := compareRoundTrips(t.Context(), repository, dir, p, distances)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(text)
	for _, distance := range distances {
		results, err := os.ReadFile(filepath.Join(dir, distance.String()+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^BenchmarkSingle \d+ ([\d.]+) ms/job$`).FindSubmatch(results)
		if found == nil {
			t.Errorf("no result of a single image at a distance of %s in\n%s", distance, results)
			continue
		}
		if ms, err := strconv.ParseFloat(string(found[1]), 64); err != nil || ms < 3*float64(distance.Milliseconds()) {
			t.Errorf("a single image took %s ms at a distance of %s, want at least three round trips", found[1], distance)
		}
	}
}
