package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// dashboard is Grafana's JSON, as far as it is looked at here.
type dashboard struct {
	UID        string
	Templating struct {
		List []struct{ Name, Type string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               struct{ UID string }
		GridPos                  struct{ X, Y, W, H int }
		FieldConfig              struct{ Defaults struct{ Unit string } }
		Targets                  []struct{ RefID, Expr, LegendFormat string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(readFile(t, "../grafana/dashboards/overview.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboardIsWhole holds that it works with any data source and any job, that no
// panel covers another, and that each says what it shows.
func TestDashboardIsWhole(t *testing.T) {
	d := readDashboard(t)
	variables := ""
	for _, v := range d.Templating.List {
		variables += v.Name + ":" + v.Type + " "
	}
	if variables != "datasource:datasource job:query " {
		t.Errorf("the variables are %s", variables)
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: another panel has the id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken || x >= 24 {
					t.Fatalf("%s covers %s at %d, %d", p.Title, other, x, y)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %d: %+v", p.ID, p)
		}
		for _, q := range p.Targets {
			if strings.Contains(q.Expr, "imagebatch_") && !strings.Contains(q.Expr, `job=~"$job"`) {
				t.Errorf("%s: %s is of every job", p.Title, q.Expr)
			}
			if q.LegendFormat == "" {
				t.Errorf("%s: %s has no legend", p.Title, q.Expr)
			}
		}
	}
}

// TestDashboardShowsSomething runs the query of every panel on a Prometheus that
// scrapes a standalone at work, and what a RabbitMQ has once answered.
func TestDashboardShowsSomething(t *testing.T) {
	s := forms["standalone"](t)
	rabbitmq := httptest.NewServer(http.FileServer(http.Dir("testdata")))
	defer rabbitmq.Close()
	at := startPrometheus(t, fmt.Sprintf(`
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [%q]
scrape_configs:
  - { job_name: standalone, static_configs: [{ targets: [%q] }] }
  - { job_name: rabbitmq, metrics_path: /%s, static_configs: [{ targets: [%q] }] }
`, absolute(t, "../prometheus/rules.yml"), s.addr, rabbitmqMetrics, strings.TrimPrefix(rabbitmq.URL, "http://")))

	// A rate needs a sample from before what it counts, which some metrics have only
	// after a first batch.
	for _, ended := range []string{"3", "6"} {
		id := s.submit(t, everyEnd(t)...)
		watch(t, s, id)
		s.ended(t, id)
		await(t, func() (bool, string) {
			got, err := at.ask(t, `sum(imagebatch_images_ended_total{status="completed"})`)
			return err == nil && len(got) == 1 && got[0] == ended, fmt.Sprintf("completed: %q, %v", got, err)
		})
	}
	// Grafana's interval is shorter; this one still holds the batches on a slow machine.
	fill := strings.NewReplacer("$__rate_interval", "1h", "$job", "standalone|rabbitmq")
	for _, p := range readDashboard(t).Panels {
		for _, q := range p.Targets {
			await(t, func() (bool, string) {
				values, err := at.ask(t, fill.Replace(q.Expr))
				if err != nil {
					t.Fatalf("%s: %s: %v", p.Title, q.Expr, err)
				}
				for _, v := range values {
					if v != "NaN" {
						return true, ""
					}
				}
				return false, fmt.Sprintf("%s: %s shows %q", p.Title, q.Expr, values)
			})
		}
	}
}

// rabbitmqMetrics is what RabbitMQ 3.10.8 answered, of the figures that are used.
const rabbitmqMetrics = "rabbitmq-3.10.8-metrics.txt"

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// prometheus is a running one.
type prometheus struct{ addr string }

func startPrometheus(t *testing.T, config string) *prometheus {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{freeAddr(t)}
	log := new(strings.Builder)
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.addr)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("prometheus ended: %v\n%s", err, log)
		}
	})
	await(t, func() (bool, string) {
		up, err := p.ask(t, "sum(up)")
		return err == nil && len(up) == 1 && up[0] == "2", fmt.Sprintf("up: %q, %v", up, err)
	})
	return p
}

// ask returns the values of an instant query.
func (p *prometheus) ask(t *testing.T, query string) ([]string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.addr+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("query: %s", answer.Error)
	}
	var values []string
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values, nil
}
