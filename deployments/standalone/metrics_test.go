package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
)

var update = flag.Bool("update", false, "write the generated tables into the documents")

// promtool runs Prometheus's own checks of metrics and rules. The test does not import
// them, because the client library has one importer, which is another package.
func promtool(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	cmd := exec.CommandContext(t.Context(), tool, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// everyEnd returns a batch whose images end in many ways, some of them sent by URL.
func everyEnd(t *testing.T) []map[string]string {
	site := origin(t, map[string][]byte{"a.jpg": photo(t)})
	return []map[string]string{
		inline("a.jpg", photo(t)), inline("b.png", goImage(t, "video-001.png")),
		{"url": site + "/a.jpg"},
		{"url": site + "/missing.jpg"},
		inline("cut.jpg", photo(t)[:50_000]),
		{"base64": "data:image/jpeg;base64,/9j/4AAQ*"},
	}
}

// family is one metric in a scrape.
type family struct {
	kind, help string
	labels     map[string]map[string]bool // values by label
}

// families parses the text format.
func families(text string) map[string]*family {
	all := map[string]*family{}
	at := func(name string) *family {
		if all[name] == nil {
			all[name] = &family{labels: map[string]map[string]bool{}}
		}
		return all[name]
	}
	label := regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			at(name).help = help
		} else if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			at(name).kind = kind
		} else if name, rest, ok := strings.Cut(line, "{"); ok {
			f := all[name]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, cut := strings.CutSuffix(name, suffix); f == nil && cut {
					f = all[base]
				}
			}
			for _, l := range label.FindAllStringSubmatch(rest, -1) {
				if l[1] == "le" {
					continue
				}
				if f.labels[l[1]] == nil {
					f.labels[l[1]] = map[string]bool{}
				}
				f.labels[l[1]][l[2]] = true
			}
		}
	}
	return all
}

// TestMetrics scrapes every process after a batch. It verifies that the metrics follow the
// conventions, match the table in docs/operations.md, and have a bounded number of labels.
func TestMetrics(t *testing.T) {
	documented := metricsTable(t)
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t)
		id := s.submit(t, everyEnd(t)...)
		watch(t, s, id)
		if got := s.ended(t, id); got.Completed != 3 || got.Failed != 3 {
			t.Fatalf("job %+v", got)
		}
		s.call(t, http.MethodGet, "/api/v1/batch/"+id+"/images/0/file", nil, nil)
		found := map[string]bool{}
		for _, p := range s.parts {
			text := p.scrape(t)
			lint(t, text)
			for name, f := range families(text) {
				if !strings.HasPrefix(name, "imagebatch_") {
					continue
				}
				found[name] = true
				want, ok := documented[name]
				if !ok || want.kind != f.kind || want.help != f.help {
					t.Errorf("%s is a %s, %q; docs/operations.md has %s, %q", name, f.kind, f.help, want.kind, want.help)
				}
				for l, values := range f.labels {
					if !slices.Contains(want.labels, l) {
						t.Errorf("%s has the label %s, which is not in docs/operations.md", name, l)
					}
					if len(values) > 30 {
						t.Errorf("%s has %d values of %s: it is not bounded", name, len(values), l)
					}
					for v := range values {
						if strings.Contains(v, id) || regexp.MustCompile(`[0-9a-f]{32}`).MatchString(v) {
							t.Errorf("%s has the ID of a job or an image in a label: %s=%q", name, l, v)
						}
					}
				}
			}
		}
		for name := range documented {
			// Metrics with labels may have no series yet.
			if !found[name] && len(documented[name].labels) == 0 && (len(s.parts) > 1 || name != "imagebatch_silent_queues") {
				t.Errorf("%s is in docs/operations.md, but in no scrape", name)
			}
		}
		checkValues(t, s)
	})
}

// checkValues verifies the gateway's metrics after the batch. A response may arrive shortly
// before the gateway counts it.
func checkValues(t *testing.T, s *system) {
	t.Helper()
	want := []string{
		`images_ended_total{code="",status="completed"} 3`,
		`images_ended_total{code="damaged_image",status="failed"} 1`,
		`images_ended_total{code="download_failed",status="failed"} 1`,
		`images_ended_total{code="invalid_base64",status="failed"} 1`,
		`images_ended_total{code="processing_failed",status="failed"} 0`,
		`jobs_ended_total{status="completed"} 1`,
		`images_accepted_total{source="url"} 2`,
		`open_images 0`,
		`unsent_uploads 0`,
		`oldest_open_job_age_seconds 0`,
		`oldest_unsent_upload_age_seconds 0`,
		`websockets_closed_total{why="job_complete"} 1`,
		`progress_events_total{kind="job_complete"} 1`,
		`broker_usable 1`,
		`broker_consumers{queue="image_processed"} 1`,
		`stage_messages_total{outcome="dead",queue="image_processed"} 0`,
		`metrics_faults_total 0`,
	}
	await(t, func() (bool, string) {
		text := s.scrape(t)
		var missing []string
		for _, line := range want {
			if !strings.Contains(text, "\nimagebatch_"+line+"\n") {
				missing = append(missing, line)
			}
		}
		return missing == nil, fmt.Sprintf("the scrape lacks %q", missing)
	})
}

func (p *process) scrape(t *testing.T) string {
	t.Helper()
	s := &system{process: p}
	var text []byte
	if status, _ := s.call(t, http.MethodGet, "/metrics", nil, &text); status != http.StatusOK {
		t.Fatalf("GET /metrics: %d", status)
	}
	return string(text)
}

// lint checks our metrics with promtool.
func lint(t *testing.T, text string) {
	t.Helper()
	out, err := promtool(t, text, "check", "metrics")
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "imagebatch_") || strings.HasPrefix(line, "error") {
			t.Errorf("promtool: %s", strings.TrimSpace(line))
		}
	}
}

// documented is a row of the metrics table.
type documented struct {
	kind, help string
	labels     []string
}

const operations = "../../docs/operations.md"

// metricsTable returns the table of docs/operations.md, after comparing it with the metrics
// that the services register; -update writes it.
func metricsTable(t *testing.T) map[string]documented {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s, err := newStandalone(ctx, []string{
		"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir(), "LOG_LEVEL=error",
		"CAPTION_URL=http://127.0.0.1:1/v1", "CAPTION_MODEL=model", "CAPTION_MAX_WAIT=1s", // captions have metrics of their own
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	one := &system{process: &process{t: t, addr: s.Addr().String()}}
	one.ended(t, one.submit(t, inline("a.jpg", photo(t)))) // so that all parts have started
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	// Only the RabbitMQ client has the remaining metrics; it registers them without a connection.
	broker, err := connect.BrokerConfig{RabbitMQURL: []service.SecretURL{"amqp://127.0.0.1:1/"}, RabbitMQDeclare: true}.Open("test", true, slog.New(slog.DiscardHandler), s.metrics)
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.Close(); err != nil {
		t.Fatal(err)
	}

	table, rows := new(bytes.Buffer), map[string]documented{}
	fmt.Fprint(table, "| Metric | Type | Labels | |\n|---|---|---|---|\n")
	for _, m := range s.metrics.Metrics() {
		labels := ""
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "` `") + "`"
		}
		fmt.Fprintf(table, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, labels, m.Help)
		rows[m.Name] = documented{m.Type, m.Help, m.Labels}
	}
	const begin, end = "<!-- metrics -->\n", "<!-- end of metrics -->"
	doc := string(readFile(t, operations))
	head, rest, ok := strings.Cut(doc, begin)
	old, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no markers for the metrics", operations)
	}
	if old != table.String() {
		if !*update {
			t.Errorf("the metrics table of %s differs from the code; run this test with -update to write:\n%s", operations, table)
		} else if err := os.WriteFile(operations, []byte(head+begin+table.String()+end+tail), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(rows) < 40 {
		t.Errorf("only %d metrics: %q", len(rows), slices.Sorted(maps.Keys(rows)))
	}
	return rows
}
