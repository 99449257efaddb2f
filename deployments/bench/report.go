package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// report contains all results.
type report struct {
	size        size
	machine     machine
	idleGateway uint64 // bytes
	columns     []*column
	latency     *latency
	decoders    []decoding
}

// column contains the results of one photo.
type column struct {
	photo           photo
	rounds          int
	spent           map[string]float64 // CPU ms per image, by process
	client          float64            // CPU ms per image of this program, which shares the machine
	alone           float64            // images per second, one batch at a time
	several         float64            // images per second, several concurrent batches
	peaks           map[string]uint64  // bytes, by process
	describe, embed float64            // CPU ms per image, measured without the system
	naive           float64            // CPU ms per image of the naive pipeline
}

func (c *column) floor() float64 { return c.describe + c.embed }

// whole returns the CPU ms per image of all processes of the system.
func (c *column) whole() float64 {
	sum := 0.0
	for _, name := range processes {
		sum += c.spent[name]
	}
	return sum
}

// row is a row of the system's table, with a value for each photo.
type row struct {
	name   string
	values []float64
	digits int // digits after the decimal point
}

// labels contains the names of the servers in the table.
var labels = map[string]string{"rabbitmq": "broker (RabbitMQ)", "store": "store (MinIO)"}

// rows returns the rows of the system's table.
func (r *report) rows() []row {
	var rows []row
	add := func(name string, digits int, value func(c *column) float64) {
		line := row{name: name, digits: digits}
		for _, c := range r.columns {
			line.values = append(line.values, value(c))
		}
		rows = append(rows, line)
	}
	const mib = 1 << 20
	for _, name := range processes {
		add("CPU ms per image: "+cmp.Or(labels[name], name), 1, func(c *column) float64 { return c.spent[name] })
	}
	add("**CPU ms per image: all five**", 1, (*column).whole)
	add("CPU ms per image: the client (same machine)", 1, func(c *column) float64 { return c.client })
	add("**images per second**, one batch at a time", 1, func(c *column) float64 { return c.alone })
	add(fmt.Sprintf("images per second, %d concurrent batches", concurrentBatches), 1, func(c *column) float64 { return c.several })
	for _, name := range processes {
		add("peak MiB: "+cmp.Or(labels[name], name), 0, func(c *column) float64 { return float64(c.peaks[name]) / mib })
	}
	add("peak MiB of the gateway above idle", 0, func(c *column) float64 { return (float64(c.peaks["gateway"]) - float64(r.idleGateway)) / mib })
	add("floor, CPU ms: describe alone", 1, func(c *column) float64 { return c.describe })
	add("floor, CPU ms: embed alone", 1, func(c *column) float64 { return c.embed })
	add("naive pipeline, CPU ms", 0, func(c *column) float64 { return c.naive })
	add("analyzer + processor ÷ floor", 2, func(c *column) float64 { return (c.spent["analyzer"] + c.spent["processor"]) / c.floor() })
	add("all five ÷ floor", 2, func(c *column) float64 { return c.whole() / c.floor() })
	add("naive ÷ floor", 1, func(c *column) float64 { return c.naive / c.floor() })
	add("**naive ÷ all five**", 1, func(c *column) float64 { return c.naive / c.whole() })
	return rows
}

// markdown returns the report as the document contains it.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(r.machine.markdown())
	var rounds []string
	for _, c := range r.columns {
		rounds = append(rounds, fmt.Sprint(c.rounds))
	}
	fmt.Fprintf(&b, "\nBatches of %d, sent inline; medians of %s rounds.\n\n|  |", r.size.images, strings.Join(rounds, " and "))
	for _, c := range r.columns {
		fmt.Fprintf(&b, " %s, %d×%d, %.0f kB |", c.photo.name, c.photo.width, c.photo.height, float64(len(c.photo.data))/1e3)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(r.columns)) + "\n")
	for _, line := range r.rows() {
		fmt.Fprintf(&b, "| %s |", line.name)
		for _, value := range line.values {
			fmt.Fprintf(&b, " %.*f |", line.digits, value)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n| One image (%s) on the idle system, ms | median | p99 |\n|---|--:|--:|\n", r.columns[0].photo.name)
	latency := func(name string, values []float64) {
		fmt.Fprintf(&b, "| %s | %.1f | %.1f |\n", name, median(values), quantile(values, 0.99))
	}
	latency(fmt.Sprintf("POST → `job_complete`, %d times", len(r.latency.whole)), r.latency.whole)
	latency("POST → 201", r.latency.accept)
	latency(fmt.Sprintf("one fsync on the same disk, %d times", len(r.latency.syncs)), r.latency.syncs)
	b.WriteString("\n| Decoding, CPU ms | kB | image/jpeg, whole | ours, 1/8 | libjpeg-turbo, 1/8 | libjpeg-turbo, whole |\n|---|--:|--:|--:|--:|--:|\n")
	for _, d := range r.decoders {
		fmt.Fprintf(&b, "| %s | %.0f | %s | %s | %s | %s |\n", d.photo, d.kilobytes, known(d.standard), known(d.ours), known(d.turbo), known(d.turboWhole))
	}
	return b.String()
}

// known formats a value, or returns a dash if it could not be measured on this machine.
func known(value float64) string {
	if value == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", value)
}

// place is the part of a document between two marker lines. This program writes it.
type place struct {
	begin, end string
	doc        string // path of the document; empty: the flag decides
}

var (
	measuredPlace = place{begin: "<!-- measured: begin (written by make bench) -->\n", end: "<!-- measured: end -->\n"}
	scalingPlace  = place{"<!-- scaling: begin (written by make bench-scaling) -->\n", "<!-- scaling: end -->\n", "docs/operations.md"}
	latencyPlace  = place{"<!-- latency: begin (written by make bench-latency) -->\n", "<!-- latency: end -->\n", "docs/operations.md"}
	storesPlace   = place{begin: "<!-- stores: begin (written by make bench-stores) -->\n", end: "<!-- stores: end -->\n"}
)

// write replaces the text between the markers of the file.
func (p place) write(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	before, rest, begins := bytes.Cut(old, []byte(p.begin))
	_, after, ends := bytes.Cut(rest, []byte(p.end))
	if !begins || !ends {
		return fmt.Errorf("write into %s: the markers are missing", file)
	}
	whole := bytes.Join([][]byte{before, []byte(p.begin), []byte("\n" + text + "\n"), []byte(p.end), after}, nil)
	if err := os.WriteFile(file, whole, 0o644); err != nil { //nolint:gosec // The document is public.
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median returns the median of at least one value.
func median(all []float64) float64 { return quantile(all, 0.5) }

// quantile returns the smallest value that is not less than a share q of all values.
func quantile(all []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
