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

// report is all that was measured.
type report struct {
	size        size
	machine     machine
	idleGateway uint64 // bytes
	columns     []*column
	latency     *latency
	decoders    []decoding
}

// column is what was measured of one picture.
type column struct {
	picture        picture
	rounds         int
	spent          map[string]float64 // CPU ms an image, of each process
	client         float64            // of this program, which shares the machine
	alone          float64            // images a second, one batch at a time
	several        float64            // the same, of several batches at once
	peaks          map[string]uint64  // bytes
	describe, make float64            // CPU ms an image, alone
	naive          float64
}

func (c *column) floor() float64 { return c.describe + c.make }

// whole is the CPU ms of all processes of the system.
func (c *column) whole() float64 {
	sum := 0.0
	for _, name := range processes {
		sum += c.spent[name]
	}
	return sum
}

// row is a line of the table of the system: a figure for each picture.
type row struct {
	name    string
	figures []float64
	digits  int // behind the point
}

// labels are the names of servers in the table.
var labels = map[string]string{"rabbitmq": "broker (RabbitMQ)", "minio": "store (MinIO)"}

// rows are the lines of the table of the system.
func (r *report) rows() []row {
	var rows []row
	add := func(name string, digits int, figure func(c *column) float64) {
		line := row{name: name, digits: digits}
		for _, c := range r.columns {
			line.figures = append(line.figures, figure(c))
		}
		rows = append(rows, line)
	}
	const mib = 1 << 20
	for _, name := range processes {
		add("CPU ms an image: "+cmp.Or(labels[name], name), 1, func(c *column) float64 { return c.spent[name] })
	}
	add("**CPU ms an image: all five**", 1, (*column).whole)
	add("CPU ms an image: the client, beside them", 1, func(c *column) float64 { return c.client })
	add("**images a second**, one batch at a time", 1, func(c *column) float64 { return c.alone })
	add(fmt.Sprintf("images a second, %d batches at once", atOnce), 1, func(c *column) float64 { return c.several })
	for _, name := range processes {
		add("peak MiB: "+cmp.Or(labels[name], name), 0, func(c *column) float64 { return float64(c.peaks[name]) / mib })
	}
	add("peak MiB of the gateway above idle", 0, func(c *column) float64 { return (float64(c.peaks["gateway"]) - float64(r.idleGateway)) / mib })
	add("floor, CPU ms: describe alone", 1, func(c *column) float64 { return c.describe })
	add("floor, CPU ms: embed alone", 1, func(c *column) float64 { return c.make })
	add("naive pipeline, CPU ms", 0, func(c *column) float64 { return c.naive })
	add("analyzer + processor ÷ floor", 2, func(c *column) float64 { return (c.spent["analyzer"] + c.spent["processor"]) / c.floor() })
	add("all five ÷ floor", 2, func(c *column) float64 { return c.whole() / c.floor() })
	add("naive ÷ floor", 1, func(c *column) float64 { return c.naive / c.floor() })
	add("**naive ÷ all five**", 1, func(c *column) float64 { return c.naive / c.whole() })
	return rows
}

// markdown is the report as it stands in the document.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(r.machine.markdown())
	var rounds []string
	for _, c := range r.columns {
		rounds = append(rounds, fmt.Sprint(c.rounds))
	}
	fmt.Fprintf(&b, "\nBatches of %d, sent inline; medians of %s rounds.\n\n|  |", r.size.images, strings.Join(rounds, " and "))
	for _, c := range r.columns {
		fmt.Fprintf(&b, " %s, %d×%d, %.0f kB |", c.picture.name, c.picture.width, c.picture.height, float64(len(c.picture.data))/1e3)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(r.columns)) + "\n")
	for _, line := range r.rows() {
		fmt.Fprintf(&b, "| %s |", line.name)
		for _, figure := range line.figures {
			fmt.Fprintf(&b, " %.*f |", line.digits, figure)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n| One image (%s) on the idle system, ms | median | p99 |\n|---|--:|--:|\n", r.columns[0].picture.name)
	latency := func(name string, figures []float64) {
		fmt.Fprintf(&b, "| %s | %.1f | %.1f |\n", name, median(figures), quantile(figures, 0.99))
	}
	latency(fmt.Sprintf("POST → `job_complete`, %d times", len(r.latency.whole)), r.latency.whole)
	latency("POST → 201", r.latency.accept)
	latency(fmt.Sprintf("one fsync on the same disk, %d times", len(r.latency.syncs)), r.latency.syncs)
	b.WriteString("\n| Decoding, CPU ms | kB | image/jpeg, whole | ours, 1/8 | libjpeg-turbo, 1/8 | libjpeg-turbo, whole |\n|---|--:|--:|--:|--:|--:|\n")
	for _, d := range r.decoders {
		fmt.Fprintf(&b, "| %s | %.0f | %s | %s | %s | %s |\n", d.picture, d.kilobytes, known(d.standard), known(d.ours), known(d.turbo), known(d.turboWhole))
	}
	return b.String()
}

// known is a figure, or a dash for one that could not be measured here.
func known(figure float64) string {
	if figure == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", figure)
}

// place is the part of a document between two lines, which this program writes.
type place struct {
	begin, end string
	doc        string // path of the document; empty: the flag decides
}

var (
	measuredPlace = place{begin: "<!-- measured: begin (written by make bench) -->\n", end: "<!-- measured: end -->\n"}
	scalingPlace  = place{"<!-- scaling: begin (written by make bench-scaling) -->\n", "<!-- scaling: end -->\n", "docs/operations.md"}
)

// write puts text into the file in place of what stands there.
func (p place) write(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	before, rest, begins := bytes.Cut(old, []byte(p.begin))
	_, after, ends := bytes.Cut(rest, []byte(p.end))
	if !begins || !ends {
		return fmt.Errorf("write into %s: its markers are gone", file)
	}
	whole := bytes.Join([][]byte{before, []byte(p.begin), []byte("\n" + text + "\n"), []byte(p.end), after}, nil)
	if err := os.WriteFile(file, whole, 0o644); err != nil { //nolint:gosec // A document is for everybody.
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median of at least one figure.
func median(all []float64) float64 { return quantile(all, 0.5) }

// quantile returns the smallest figure that at least the share q of all does not exceed.
func quantile(all []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
