package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// report is all that was measured.
type report struct {
	size        size
	machine     machine
	idleGateway int64 // bytes
	columns     []column
	latency     *latency
	decoders    []decoding
}

// column is what was measured of one picture.
type column struct {
	picture        picture
	load           *load
	describe, make float64 // alone
	naive          float64
}

func (c column) floor() float64 { return c.describe + c.make }

// whole is the CPU ms of all processes of the system.
func (c column) whole() float64 {
	sum := 0.0
	for _, name := range processes {
		sum += c.load.spent[name]
	}
	return sum
}

// row is a line of the table of the system: a figure for each picture.
type row struct {
	name    string
	figures []float64
	digits  int // behind the point
}

// label is how a process is called in the table.
func label(process string) string {
	switch process {
	case "rabbitmq":
		return "broker (RabbitMQ)"
	case "minio":
		return "store (MinIO)"
	}
	return process
}

// rows are the lines of the table of the system.
func (r *report) rows() []row {
	var rows []row
	add := func(name string, digits int, figure func(c column) float64) {
		line := row{name: name, digits: digits}
		for _, c := range r.columns {
			line.figures = append(line.figures, figure(c))
		}
		rows = append(rows, line)
	}
	const mib = 1 << 20
	for _, name := range processes {
		add("CPU ms an image: "+label(name), 1, func(c column) float64 { return c.load.spent[name] })
	}
	add("**CPU ms an image: all five**", 1, column.whole)
	add("CPU ms an image: the client, beside them", 1, func(c column) float64 { return c.load.client })
	add("**images a second**, one batch at a time", 1, func(c column) float64 { return c.load.alone })
	add(fmt.Sprintf("images a second, %d batches at once", atOnce), 1, func(c column) float64 { return c.load.several })
	for _, name := range processes {
		add("peak MiB: "+label(name), 0, func(c column) float64 { return float64(c.load.peaks[name]) / mib })
	}
	add("peak MiB of the gateway above idle", 0, func(c column) float64 { return float64(c.load.peaks["gateway"]-r.idleGateway) / mib })
	add("floor, CPU ms: describe alone", 1, func(c column) float64 { return c.describe })
	add("floor, CPU ms: embed alone", 1, func(c column) float64 { return c.make })
	add("naive pipeline, CPU ms", 0, func(c column) float64 { return c.naive })
	add("analyzer + processor ÷ floor", 2, func(c column) float64 { return (c.load.spent["analyzer"] + c.load.spent["processor"]) / c.floor() })
	add("all five ÷ floor", 2, func(c column) float64 { return c.whole() / c.floor() })
	add("naive ÷ floor", 1, func(c column) float64 { return c.naive / c.floor() })
	add("**naive ÷ all five**", 1, func(c column) float64 { return c.naive / c.whole() })
	return rows
}

// markdown is the report as it stands in the document.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(r.machine.markdown("exiftool "+r.machine.exiftool, "libjpeg-turbo "+r.machine.libjpegTurbo))
	fmt.Fprintf(&b, "\nBatches of %d, sent inline; medians of %s rounds.\n\n|  |", r.size.images, r.rounds())
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
	l := r.latency
	fmt.Fprintf(&b, "\n| One image (%s) on the idle system, ms | median | p99 |\n|---|--:|--:|\n", r.columns[0].picture.name)
	fmt.Fprintf(&b, "| POST → `job_complete`, %d times | %.1f | %.1f |\n", l.images, l.median, l.p99)
	fmt.Fprintf(&b, "| POST → 201 | %.1f | %.1f |\n", l.acceptMedian, l.acceptP)
	fmt.Fprintf(&b, "| one fsync on the same disk, %d times | %.1f | %.1f |\n", l.syncs, l.syncMedian, l.syncP99)

	b.WriteString("\n| Decoding, CPU ms | kB | image/jpeg, whole | ours, 1/8 | libjpeg-turbo, 1/8 | libjpeg-turbo, whole |\n|---|--:|--:|--:|--:|--:|\n")
	for _, d := range r.decoders {
		fmt.Fprintf(&b, "| %s | %.0f | %s | %s | %s | %s |\n", d.picture, d.kilobytes, known(d.standard), known(d.ours), known(d.turbo), known(d.turboWhole))
	}
	return b.String()
}

// rounds tells how many there were of each picture.
func (r *report) rounds() string {
	var all []string
	for _, c := range r.columns {
		all = append(all, fmt.Sprint(c.load.rounds))
	}
	return strings.Join(all, " and ")
}

// known is a figure, or a dash for one that could not be measured here.
func known(figure float64) string {
	if figure == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", figure)
}

// place is a part of a document that is a program's: what stands between its lines.
type place struct{ begin, end string }

var (
	measuredPlace = place{"<!-- measured: begin (written by make bench) -->\n", "<!-- measured: end -->\n"}
	scalingPlace  = place{"<!-- scaling: begin (written by make bench-scaling) -->\n", "<!-- scaling: end -->\n"}
)

// scalingDoc is where the fleets are told of.
const scalingDoc = "docs/operations.md"

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
