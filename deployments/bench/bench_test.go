package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const repository = "../.."

// TestBench runs the whole benchmark with the smallest load. It does not check how fast
// anything is.
func TestBench(t *testing.T) {
	if os.Getenv("TEST_RABBITMQ_URL") == "" || os.Getenv("TEST_S3_ENDPOINT") == "" {
		t.Skip("TEST_RABBITMQ_URL and TEST_S3_ENDPOINT are not set: no servers to test with")
	}
	dir := t.TempDir()
	r, err := measure(t.Context(), repository, dir, tiny)
	if err != nil {
		t.Fatal(err)
	}
	text := r.markdown()
	t.Log(text)
	for _, row := range r.rows() {
		if !strings.Contains(text, "| "+row.name+" |") {
			t.Errorf("the table has no row %q", row.name)
		}
		if len(row.values) != len(wanted) {
			t.Errorf("%s has %d values for %d photos", row.name, len(row.values), len(wanted))
		}
		for _, value := range row.values {
			// A process may process three images in less time than the resolution of /proc.
			if math.IsNaN(value) || math.IsInf(value, 0) || value < 0 {
				t.Errorf("%s: %v", row.name, value)
			}
		}
	}
	for _, c := range r.columns {
		if c.whole() <= 0 || c.describe <= 0 || c.embed <= 0 || c.naive <= 0 || c.alone <= 0 || c.several <= 0 {
			t.Errorf("%s was not measured: %+v", c.photo.name, c)
		}
		for _, name := range processes {
			if peak := c.peaks[name]; peak < 1<<20 || peak > 16<<30 {
				t.Errorf("%s: peak of %s: %d bytes", c.photo.name, name, peak)
			}
		}
	}
	if l := r.latency; len(l.whole) != tiny.singles || median(l.accept) <= 0 || median(l.whole) <= median(l.accept) || median(l.syncs) <= 0 {
		t.Errorf("latency: %+v", l)
	}
	if len(r.decoders) < len(wanted) {
		t.Errorf("%d photos were decoded: %+v", len(r.decoders), r.decoders)
	}
	for _, d := range r.decoders {
		if d.standard <= 0 || d.turboWhole <= 0 {
			t.Errorf("%s was not decoded: %+v", d.photo, d)
		}
	}
	for field, known := range map[string]string{
		"hardware": r.machine.hardware, "programs": r.machine.programs, "load": r.machine.loadAfter,
	} {
		if known == "" {
			t.Errorf("the machine's %s is missing", field)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "servers", "run", "*.pid"))
	if err != nil || len(left) > 0 {
		t.Errorf("still running: %v, %v", left, err)
	}
}

func TestWriteBetweenMarkersKeepsTheRest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + measuredPlace.begin + "old\n" + measuredPlace.end + "after\n")
	for range 2 { // the second call replaces the text of the first
		if err := measuredPlace.write(file, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if want := "before\n" + measuredPlace.begin + "\nnew\n\n" + measuredPlace.end + "after\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	write("no markers\n")
	if err := measuredPlace.write(file, "new\n"); err == nil {
		t.Error("a document without markers was written")
	}
}

// TestDocumentsHaveTheirPlaces verifies that make bench and make bench-scaling find the
// markers in their documents.
func TestDocumentsHaveTheirPlaces(t *testing.T) {
	for doc, p := range map[string]place{"docs/performance.md": measuredPlace, scalingPlace.doc: scalingPlace} {
		text, err := os.ReadFile(filepath.Join(repository, filepath.FromSlash(doc)))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "doc.md")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.write(file, "new\n"); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func TestCPUMedians(t *testing.T) {
	const out = `goos: linux
BenchmarkDescribe/2MP-16         	      10	  82163086 ns/op	        17.5 cpu-ms/op	     465 allocs/op
BenchmarkDescribe/2MP-16         	      10	  82163086 ns/op	        11.0 cpu-ms/op	     465 allocs/op
BenchmarkDescribe/2MP-16         	      10	  82163086 ns/op	        12.0 cpu-ms/op	     465 allocs/op
BenchmarkDescribe/12MP-progressive	      10	  82163086 ns/op	        30.0 cpu-ms/op	     465 allocs/op
BenchmarkDescribeOther/2MP-16    	      10	  82163086 ns/op	        99.0 cpu-ms/op	     465 allocs/op
PASS
`
	got, err := cpuMedians(out, "BenchmarkDescribe")
	if err != nil || len(got) != 2 || got["2MP"] != 12 || got["12MP-progressive"] != 30 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestQuantile(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	if m, p := median(hundred), quantile(hundred, 0.99); m != 50 || p != 99 {
		t.Errorf("of 1 to 100: median %v, p99 %v", m, p)
	}
	if m, p := median([]float64{7}), quantile([]float64{7}, 0.99); m != 7 || p != 7 {
		t.Errorf("of one value: %v, %v", m, p)
	}
}
