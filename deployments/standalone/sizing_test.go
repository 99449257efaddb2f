package main

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// measured is the table of docs/performance.md, with a value for each photo in every row.
type measured struct {
	photos   []string
	kilobyte []float64 // size of each photo
	rows     map[string][]float64
}

func readMeasured(t *testing.T) measured {
	t.Helper()
	m := measured{rows: map[string][]float64{}}
	for line := range strings.Lines(string(readFile(t, "../../docs/performance.md"))) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 3 {
			continue
		}
		name := strings.Trim(cells[0], " *")
		if name == "" && m.photos == nil && strings.Contains(cells[1], "kB") {
			for _, c := range cells[1:] {
				size := regexp.MustCompile(`(\d+) kB`).FindStringSubmatch(c)
				if size == nil {
					t.Fatalf("a photo without a size: %s", c)
				}
				kB, err := strconv.ParseFloat(size[1], 64)
				if err != nil {
					t.Fatal(err)
				}
				m.photos, m.kilobyte = append(m.photos, strings.TrimSpace(c)), append(m.kilobyte, kB)
			}
			continue
		}
		var values []float64
		for _, c := range cells[1:] {
			if f, err := strconv.ParseFloat(strings.TrimSpace(c), 64); err == nil {
				values = append(values, f)
			}
		}
		if len(values) == len(m.photos) && m.photos != nil && m.rows[name] == nil {
			m.rows[name] = values
		}
	}
	if len(m.photos) != 2 {
		t.Fatalf("got the photos %q, want two", m.photos)
	}
	return m
}

// row returns the values of a row.
func (m measured) row(t *testing.T, name string) []float64 {
	t.Helper()
	if m.rows[name] == nil {
		t.Fatalf("docs/performance.md has no row %q", name)
	}
	return m.rows[name]
}

const (
	hourly    = 100_000 // images per hour in the table
	busy      = 0.6     // maximum utilization of a core, so that there is capacity for peaks
	milliHour = 3_600_000.0
)

// parts are the processes, with their rows in docs/performance.md.
var parts = []struct{ row, name string }{
	{"CPU ms per image: gateway", "gateway"},
	{"CPU ms per image: analyzer", "analyzer"},
	{"CPU ms per image: processor", "processor"},
	{"CPU ms per image: broker (RabbitMQ)", "RabbitMQ"},
	{"CPU ms per image: store (MinIO)", "S3 server (MinIO)"},
}

// sizing returns the table of docs/operations.md with the resources for that many images.
func sizing(t *testing.T, m measured) string {
	t.Helper()
	var text strings.Builder
	line := func(name string, value func(photo int) string) {
		fmt.Fprintf(&text, "| %s |", name)
		for i := range m.photos {
			fmt.Fprintf(&text, " %s |", value(i))
		}
		text.WriteString("\n")
	}
	line("", func(i int) string { return m.photos[i] })
	text.WriteString("|---|" + strings.Repeat("--:|", len(m.photos)) + "\n")
	for _, p := range parts {
		ms := m.row(t, p.row)
		line("images per hour and core: "+p.name, func(i int) string { return thousands(milliHour / ms[i]) })
	}
	cores := func(ms float64) float64 { return hourly * ms / milliHour }
	for _, p := range parts {
		ms := m.row(t, p.row)
		line(fmt.Sprintf("busy cores at %s images per hour: %s", thousands(hourly), p.name), func(i int) string { return fmt.Sprintf("%.2f", cores(ms[i])) })
	}
	all := m.row(t, "CPU ms per image: all five")
	line("busy cores, all five", func(i int) string { return fmt.Sprintf("%.2f", cores(all[i])) })
	line(fmt.Sprintf("**cores to provide**, at most %.0f %% busy", busy*100), func(i int) string { return fmt.Sprintf("**%.1f**", cores(all[i])/busy) })
	analyzer := m.row(t, "CPU ms per image: analyzer")
	line("**analyzers to start**, with one core each", func(i int) string { return fmt.Sprintf("**%.0f**", math.Ceil(cores(analyzer[i])/busy)) })
	rate := func(i int) float64 { return hourly / 3600.0 * m.kilobyte[i] / 1000 }
	line("MB/s into the gateway, inline (base64)", func(i int) string { return fmt.Sprintf("%.0f", rate(i)*4/3) })
	line("MB/s into the S3 server, and the same rate out of it", func(i int) string { return fmt.Sprintf("%.0f", 2*rate(i)) })
	line("TB of originals, kept for 24 h", func(i int) string { return fmt.Sprintf("%.1f", rate(i)*86400/1e6) })
	line("TB of processed images per day", func(i int) string { return fmt.Sprintf("%.1f", rate(i)*86400/1e6) })
	line("messages per second", func(int) string { return fmt.Sprintf("%.0f", 3*hourly/3600.0) })
	return text.String()
}

// Load of the table of docs/scale.md, and what its text says of an image.
const (
	eachRate      = 4000 // images per second of one installation
	installations = 25
	requests      = 6      // of an image to the S3 server
	writes        = 4      // among them
	rowSize       = 1.3e-6 // GB of an image in PostgreSQL
)

// scale returns the table of docs/scale.md: what one installation and all of them need, for the smaller photo.
func scale(t *testing.T, m measured) string {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "| | Each installation | All %d |\n|---|--:|--:|\n", installations)
	line := func(name string, perImage float64) {
		mark := ""
		if strings.HasPrefix(name, "**") {
			mark = "**"
		}
		fmt.Fprintf(&text, "| %s | %s%s%[2]s | %[2]s%[4]s%[2]s |\n", name, mark, rounded(perImage*eachRate), rounded(perImage*eachRate*installations))
	}
	for _, p := range parts {
		line("cores: "+p.name, m.row(t, p.row)[0]/1000/busy)
	}
	line("**cores**", m.row(t, "CPU ms per image: all five")[0]/1000/busy)
	gigabyte := m.kilobyte[0] / 1e6
	line("GB/s into the gateways, inline (base64)", gigabyte*4/3)
	line("GB/s into the S3 server, and the same rate out of it", 2*gigabyte)
	line("S3 requests per second", requests)
	line("S3 requests per second that write", writes)
	line("messages per second", 3)
	line("GB of the job store for each hour of `JOB_RETENTION`", 3600*rowSize)
	line("TB of originals for each hour of `JOB_RETENTION`", 3600*gigabyte/1000)
	line("TB of processed images per day", 86400*gigabyte/1000)
	return text.String()
}

// rounded returns two or three digits of a number.
func rounded(f float64) string {
	if f < 100 {
		return strconv.FormatFloat(f, 'g', 2, 64)
	}
	return thousands(f)
}

// thousands rounds a number to three digits and adds thousands separators.
func thousands(f float64) string {
	unit := math.Pow(10, math.Max(0, math.Floor(math.Log10(f))-2))
	text := strconv.Itoa(int(math.Round(f/unit) * unit))
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// TestSizing verifies that the tables of sizes match the measured one; -update writes them.
func TestSizing(t *testing.T) {
	m := readMeasured(t)
	for file, table := range map[string]string{operations: sizing(t, m), "../../docs/scale.md": scale(t, m)} {
		doc := string(readFile(t, file))
		want := between(t, doc, "sizes", table)
		if want == doc {
			continue
		}
		if !*update {
			t.Errorf("the table of sizes in %s does not match docs/performance.md; -update changes it to\n%s", file, table)
		} else if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The rows add up: no measured process is missing.
	sum := 0.0
	for name, values := range m.rows {
		if strings.HasPrefix(name, "CPU ms per image: ") && !strings.HasSuffix(name, "all five") && !strings.Contains(name, "client") {
			sum += values[0]
		}
	}
	if all := m.row(t, "CPU ms per image: all five")[0]; math.Abs(sum-all) > all/20 {
		t.Errorf("the parts take %.1f ms, but all five take %.1f ms", sum, all)
	}
}
