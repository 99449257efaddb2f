package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// scaleSize limits how much is measured.
type scaleSize struct {
	few, many int           // kept jobs of the two stores that are compared
	rounds    int           // of all operations
	singles   int           // operations of each kind in a round
	starts    int           // starts of each gateway
	backlogs  [2]int        // open images
	part      time.Duration // of one kind of database, after which no round begins
}

var (
	fullScale = scaleSize{few: 1000, many: 1_000_000, rounds: 5, singles: 20, starts: 3, backlogs: [2]int{5_000, 100_000}, part: 100 * time.Second}
	tinyScale = scaleSize{few: 200, many: 500, rounds: 1, singles: 1, starts: 1, backlogs: [2]int{500, 1000}, part: time.Minute}
)

// TestScale fills a SQLite file and a PostgreSQL schema with few and with many jobs, and performs every
// operation of the gateway on both. With BENCH_SCALE, the file into which the table is written, there are
// 1,000 and 1,000,000 jobs; without, the test verifies only that the operations work.
func TestScale(t *testing.T) {
	size, doc := tinyScale, os.Getenv("BENCH_SCALE")
	if doc != "" {
		size = fullScale
	}
	r := scaleReport{size: size, began: time.Now(), before: scaleLoad(), rows: map[string]*scaleRow{}}
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		if database == "PostgreSQL" && os.Getenv("TEST_SERVERS_DIR") == "" {
			t.Log("TEST_SERVERS_DIR is not set: no PostgreSQL to test with")
			continue
		}
		if err := r.measure(t.Context(), database, t.TempDir); err != nil {
			t.Fatalf("%s: %v", database, err)
		}
	}
	text := r.markdown()
	t.Log("\n" + text)
	if doc == "" { // a copy shows whether the document has a place for the table
		doc = filepath.Join(t.TempDir(), "performance.md")
		old, err := os.ReadFile("../docs/performance.md")
		if err == nil {
			err = os.WriteFile(doc, old, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := writeScale(doc, text); err != nil {
		t.Fatal(err)
	}
}

// scaleRow is a row of the table: the times of one operation, by database and number of jobs.
type scaleRow struct {
	name  string
	times map[string]map[int][]time.Duration
}

type scaleReport struct {
	size   scaleSize
	began  time.Time
	before string // load average
	rows   map[string]*scaleRow
	order  []string
	notes  []string
}

func (r *scaleReport) add(name, database string, jobs int, took []time.Duration) {
	row := r.rows[name]
	if row == nil {
		row = &scaleRow{name, map[string]map[int][]time.Duration{}}
		r.rows[name], r.order = row, append(r.order, name)
	}
	if row.times[database] == nil {
		row.times[database] = map[int][]time.Duration{}
	}
	row.times[database][jobs] = append(row.times[database][jobs], took...)
}

// scaleStore is a filled store with its gateway.
type scaleStore struct {
	*scaleSchema
	jobs   int
	folder string
	*scaleChild
}

func (r *scaleReport) measure(ctx context.Context, database string, folder func() string) (err error) {
	var stores []*scaleStore
	defer func() {
		for _, s := range stores {
			err = errors.Join(err, s.stop(), s.close())
		}
	}()
	for _, jobs := range []int{r.size.few, r.size.many} {
		s := &scaleStore{jobs: jobs, folder: folder()}
		if database == "SQLite" {
			s.scaleSchema, err = scaleSQLite(ctx, s.folder)
		} else {
			s.scaleSchema, err = scalePostgres(ctx, fmt.Sprintf("scale_%d", jobs))
		}
		if err != nil {
			return err
		}
		stores = append(stores, s)
		start := time.Now()
		if err := s.fill(ctx, jobs, r.size.rounds*sweepJobs); err != nil {
			return fmt.Errorf("fill the store: %w", err)
		}
		r.progress("%s: %d jobs stored in %s", database, jobs, time.Since(start).Round(time.Second))
	}
	if err := r.measureOperations(ctx, database, stores); err != nil {
		return err
	}
	return r.measureBacklog(ctx, database, stores[1])
}

func (r *scaleReport) measureOperations(ctx context.Context, database string, stores []*scaleStore) error {
	for range r.size.starts {
		for _, s := range stores {
			if err := s.restart(ctx); err != nil {
				return err
			}
			r.add("start until ready", database, s.jobs, s.last.Took)
		}
	}
	began := map[int]scaleReply{}
	for _, s := range stores {
		began[s.jobs] = s.last
	}
	type operation struct {
		name, command string
		times         int
	}
	operations := []operation{{"status of a recent job", "status", r.size.singles}, {"status of any job", "any", r.size.singles}}
	for i, p := range scalePages {
		operations = append(operations, operation{"page, " + p.name, fmt.Sprintf("page%d", i), r.size.singles})
	}
	operations = append(operations, operation{"`/api/v1/counts`", "counts", r.size.singles}, operation{"create, 10 images", "create", r.size.singles},
		operation{"settle, per image, 64 concurrent", "settle", 1}, operation{"retention, per job of 10 images", "sweep", 1})
	for _, o := range operations[:len(operations)-2] { // caches, and PostgreSQL's plans, which it chooses at the sixth execution
		for _, s := range stores {
			if _, err := s.do(o.command, min(10, r.size.singles)); err != nil {
				return err
			}
		}
	}
	start := time.Now()
	for round := range r.size.rounds {
		if round > 0 && time.Since(start) > r.size.part {
			break
		}
		for _, o := range operations {
			for i := range stores {
				s := stores[(i+round)%2] // a drift of the machine affects both alike
				took, err := s.do(o.command, o.times)
				if err != nil {
					return err
				}
				r.add(o.name, database, s.jobs, took)
			}
		}
		r.progress("%s: round %d of %d", database, round+1, r.size.rounds)
	}
	note := database + ", resident memory of the gateway, its client included:"
	for _, s := range stores {
		note += fmt.Sprintf(" with %d jobs %d MiB after the start, %d MiB after the rounds, %d MiB at most;", s.jobs, began[s.jobs].RSS>>20, s.last.RSS>>20, s.last.Top>>20)
	}
	r.notes = append(r.notes, strings.TrimSuffix(note, ";")+".")
	return nil
}

// measureBacklog restarts the gateway with a small and with a large backlog, none of which the broker
// has, and waits until all images have ended.
func (r *scaleReport) measureBacklog(ctx context.Context, database string, s *scaleStore) error {
	first := s.jobs + 10_000_000 // a number that no job has
	for _, images := range r.size.backlogs {
		if err := s.stop(); err != nil {
			return err
		}
		if err := s.addBacklog(ctx, first, images); err != nil {
			return fmt.Errorf("add a backlog: %w", err)
		}
		first += images
		if err := s.restart(ctx, "SCALE_PASS=yes"); err != nil {
			return err
		}
		r.add("start until ready, with open images", database, images, s.last.Took)
		left := s.last.Left
		took, err := s.do("drain", 1)
		if err != nil {
			return err
		}
		if left < images/2 || s.last.Left != 0 {
			return fmt.Errorf("%d of %d images were open after the start, %d at the end", left, images, s.last.Left)
		}
		r.add("send and settle an open image", database, images, []time.Duration{took[0] / time.Duration(left)})
		r.notes = append(r.notes, fmt.Sprintf("%s, %d open images: %.0f images per second; %d MiB of memory at most.",
			database, images, float64(left)/took[0].Seconds(), s.last.Top>>20))
		r.progress("%s: %d open images", database, images)
	}
	return nil
}

func (r *scaleReport) progress(format string, args ...any) {
	if r.size == fullScale {
		fmt.Fprintf(os.Stderr, "scale: "+format+"\n", args...)
	}
}

// scaleChild is the process of a gateway.
type scaleChild struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	last scaleReply
}

// restart starts the gateway of the store, after the end of its previous one.
func (s *scaleStore) restart(ctx context.Context, environ ...string) error {
	if err := s.stop(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, os.Args[0]) //nolint:gosec // This program, as a gateway.
	cmd.Env = append(os.Environ(), append(environ, scaleVariable+"="+strconv.Itoa(s.jobs), "DATA_DIR="+s.folder, "DATABASE_URL="+s.url,
		"SCALE_FILLED="+strconv.FormatInt(s.filled.UnixMicro(), 10))...)
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return err
	}
	s.scaleChild = &scaleChild{cmd: cmd, in: in, out: json.NewDecoder(out)}
	return s.receive()
}

func (c *scaleChild) receive() error {
	c.last = scaleReply{}
	if err := c.out.Decode(&c.last); err != nil {
		return fmt.Errorf("the gateway does not respond: %w", err)
	}
	if c.last.Err != "" {
		return errors.New(c.last.Err)
	}
	return nil
}

func (c *scaleChild) do(command string, n int) ([]time.Duration, error) {
	if _, err := fmt.Fprintln(c.in, command, n); err != nil {
		return nil, err
	}
	err := c.receive()
	return c.last.Took, err
}

// stop ends the gateway, if there is one.
func (c *scaleChild) stop() error {
	if c == nil || c.cmd == nil {
		return nil
	}
	_ = c.in.Close()
	err := c.cmd.Wait()
	c.cmd = nil
	return err
}

func scaleLoad() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// markdown returns the tables.
func (r *scaleReport) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s: %d cores, %s. Load average before %s, after %s. It took %s. Times in milliseconds, medians.\n\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), runtime.Version(), r.before, scaleLoad(), time.Since(r.began).Round(time.Second))
	fmt.Fprintf(&b, "| | SQLite, %[1]d jobs | %[2]d jobs | ratio | PostgreSQL, %[1]d jobs | %[2]d jobs | ratio |\n|---|--:|--:|--:|--:|--:|--:|\n", r.size.few, r.size.many)
	backlog := false
	for _, name := range r.order {
		from, to := r.size.few, r.size.many
		if strings.Contains(name, "open image") {
			if from, to = r.size.backlogs[0], r.size.backlogs[1]; !backlog {
				backlog = true
				fmt.Fprintf(&b, "| **with %d jobs** | **%d open images** | **%d open images** | | **%[2]d open images** | **%[3]d open images** | |\n", r.size.many, from, to)
			}
		}
		fmt.Fprintf(&b, "| %s |", name)
		for _, database := range []string{"SQLite", "PostgreSQL"} {
			few, many := scaleMedian(r.rows[name].times[database][from]), scaleMedian(r.rows[name].times[database][to])
			fmt.Fprintf(&b, " %s | %s | %.2f |", few, many, float64(many)/float64(few))
		}
		b.WriteString("\n")
	}
	return b.String() + "\n" + strings.Join(r.notes, "\n") + "\n"
}

// milliseconds is a time in a table.
type milliseconds time.Duration

func (m milliseconds) String() string {
	if m == 0 {
		return "–"
	}
	return strconv.FormatFloat(float64(m)/1e6, 'f', max(0, 3-len(strconv.Itoa(int(m/1e6)))), 64)
}

func scaleMedian(all []time.Duration) milliseconds {
	if len(all) == 0 {
		return 0
	}
	return milliseconds(slices.Sorted(slices.Values(all))[len(all)/2])
}

// writeScale replaces the text between the markers of the document.
func writeScale(doc, text string) error {
	const begin, end = "<!-- scale: begin (written by make bench-scale) -->\n", "<!-- scale: end -->\n"
	old, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(old, []byte(begin))
	_, after, ends := bytes.Cut(rest, []byte(end))
	if !begins || !ends {
		return fmt.Errorf("%s: the markers are missing", doc)
	}
	return os.WriteFile(doc, slices.Concat(before, []byte(begin+"\n"+text+"\n"+end), after), 0o644) //nolint:gosec // The document is public.
}
