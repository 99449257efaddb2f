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

// measured is the table of docs/performance.md: of each row, the figure of each picture.
type measured struct {
	pictures []string
	kilobyte []float64 // of each
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
		if name == "" && m.pictures == nil && strings.Contains(cells[1], "kB") {
			for _, c := range cells[1:] {
				size := regexp.MustCompile(`(\d+) kB`).FindStringSubmatch(c)
				if size == nil {
					t.Fatalf("a picture without a size: %s", c)
				}
				kB, err := strconv.ParseFloat(size[1], 64)
				if err != nil {
					t.Fatal(err)
				}
				m.pictures, m.kilobyte = append(m.pictures, strings.TrimSpace(c)), append(m.kilobyte, kB)
			}
			continue
		}
		var figures []float64
		for _, c := range cells[1:] {
			if f, err := strconv.ParseFloat(strings.TrimSpace(c), 64); err == nil {
				figures = append(figures, f)
			}
		}
		if len(figures) == len(m.pictures) && m.pictures != nil && m.rows[name] == nil {
			m.rows[name] = figures
		}
	}
	if len(m.pictures) != 2 {
		t.Fatalf("the pictures are %q", m.pictures)
	}
	return m
}

// row returns the figures of a row.
func (m measured) row(t *testing.T, name string) []float64 {
	t.Helper()
	if m.rows[name] == nil {
		t.Fatalf("docs/performance.md has no row %q", name)
	}
	return m.rows[name]
}

const (
	hourly    = 100_000 // images an hour that the table is for
	busy      = 0.6     // of a core at most, so that a peak finds room
	milliHour = 3_600_000.0
)

// sizing is the table of docs/operations.md that says what so many images take.
func sizing(t *testing.T, m measured) string {
	t.Helper()
	parts := []struct{ row, name string }{
		{"CPU ms an image: gateway", "gateway"},
		{"CPU ms an image: analyzer", "analyzer"},
		{"CPU ms an image: processor", "processor"},
		{"CPU ms an image: broker (RabbitMQ)", "RabbitMQ"},
		{"CPU ms an image: store (MinIO)", "S3 server (MinIO)"},
	}
	var text strings.Builder
	line := func(name string, figure func(picture int) string) {
		fmt.Fprintf(&text, "| %s |", name)
		for i := range m.pictures {
			fmt.Fprintf(&text, " %s |", figure(i))
		}
		text.WriteString("\n")
	}
	line("", func(i int) string { return m.pictures[i] })
	text.WriteString("|---|" + strings.Repeat("--:|", len(m.pictures)) + "\n")
	for _, p := range parts {
		ms := m.row(t, p.row)
		line("images an hour that one core can do: "+p.name, func(i int) string { return thousands(milliHour / ms[i]) })
	}
	cores := func(ms float64) float64 { return hourly * ms / milliHour }
	for _, p := range parts {
		ms := m.row(t, p.row)
		line(fmt.Sprintf("cores that %s images an hour keep busy: %s", thousands(hourly), p.name), func(i int) string { return fmt.Sprintf("%.2f", cores(ms[i])) })
	}
	all := m.row(t, "CPU ms an image: all five")
	line("the same, all five", func(i int) string { return fmt.Sprintf("%.2f", cores(all[i])) })
	line(fmt.Sprintf("**cores to have for it**, at most %.0f %% of them busy", busy*100), func(i int) string { return fmt.Sprintf("**%.1f**", cores(all[i])/busy) })
	analyzer := m.row(t, "CPU ms an image: analyzer")
	line("**analyzers for it**, of one core each", func(i int) string { return fmt.Sprintf("**%.0f**", math.Ceil(cores(analyzer[i])/busy)) })
	rate := func(i int) float64 { return hourly / 3600.0 * m.kilobyte[i] / 1000 }
	line("MB/s into the gateway, inline (base64)", func(i int) string { return fmt.Sprintf("%.0f", rate(i)*4/3) })
	line("MB/s into the S3 server, and the same out of it", func(i int) string { return fmt.Sprintf("%.0f", 2*rate(i)) })
	line("TB of originals, kept for 24 h", func(i int) string { return fmt.Sprintf("%.1f", rate(i)*86400/1e6) })
	line("TB of processed images, a day", func(i int) string { return fmt.Sprintf("%.1f", rate(i)*86400/1e6) })
	line("messages a second", func(int) string { return fmt.Sprintf("%.0f", 3*hourly/3600.0) })
	return text.String()
}

// thousands writes a figure as people do, to three digits.
func thousands(f float64) string {
	unit := math.Pow(10, math.Max(0, math.Floor(math.Log10(f))-2))
	text := strconv.Itoa(int(math.Round(f/unit) * unit))
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// TestSizing holds the table of sizes to what was measured; -update writes it.
func TestSizing(t *testing.T) {
	m := readMeasured(t)
	doc := string(readFile(t, operations))
	want := between(t, doc, "sizes", sizing(t, m))
	if want != doc {
		if !*update {
			t.Errorf("%s has another table of sizes than docs/performance.md; run this test with -update, and it will be\n%s", operations, sizing(t, m))
		} else if err := os.WriteFile(operations, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The rows add up: nothing that is measured is left out.
	sum := 0.0
	for name, figures := range m.rows {
		if strings.HasPrefix(name, "CPU ms an image: ") && !strings.HasSuffix(name, "all five") && !strings.Contains(name, "client") {
			sum += figures[0]
		}
	}
	if all := m.row(t, "CPU ms an image: all five")[0]; math.Abs(sum-all) > all/20 {
		t.Errorf("the parts take %.1f ms, and all of it %.1f", sum, all)
	}
}
