package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// rules contains the fields of Prometheus's rules.yml that the tests check.
type rules struct {
	Groups []struct {
		Rules []struct {
			Record, Alert, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func readRules(t *testing.T) rules {
	t.Helper()
	var r rules
	if err := yaml.Unmarshal(readFile(t, "../prometheus/rules.yml"), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPrometheusFiles checks the configuration with promtool and runs the tests of the
// rules.
func TestPrometheusFiles(t *testing.T) {
	for _, args := range [][]string{
		{"check", "config", "../prometheus/prometheus.yml"},
		{"test", "rules", "../prometheus/rules_test.yml"},
	} {
		if out, err := promtool(t, "", args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestComposeLoadsTheRules verifies that compose.yaml mounts all files of Prometheus.
func TestComposeLoadsTheRules(t *testing.T) {
	var config struct {
		Rules []string `yaml:"rule_files"`
	}
	if err := yaml.Unmarshal(readFile(t, "../prometheus/prometheus.yml"), &config); err != nil {
		t.Fatal(err)
	}
	prometheus, err := loadCompose(t).GetService("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(config.Rules, "prometheus.yml") {
		if !slices.ContainsFunc(prometheus.Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Target == "/etc/prometheus/"+file && v.ReadOnly && strings.HasSuffix(v.Source, "/deployments/prometheus/"+file)
		}) {
			t.Errorf("%s is not mounted for Prometheus", file)
		}
	}
	if len(config.Rules) == 0 {
		t.Error("Prometheus loads no rules")
	}
}

// TestAlertsAreTestedAndExplained verifies that every alert has a test in which it fires
// and then clears, and a section in docs/operations.md that explains what to do.
func TestAlertsAreTestedAndExplained(t *testing.T) {
	var tests struct {
		Tests []struct {
			Checks []struct {
				Expr    string
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	if err := yaml.Unmarshal(readFile(t, "../prometheus/rules_test.yml"), &tests); err != nil {
		t.Fatal(err)
	}
	fires, clears := map[string]bool{}, map[string]bool{}
	alert := regexp.MustCompile(`^ALERTS{alertname="(\w+)",alertstate="firing"}$`)
	for _, one := range tests.Tests {
		fired := map[string]bool{} // alerts that have fired in this test
		for _, c := range one.Checks {
			m := alert.FindStringSubmatch(c.Expr)
			switch {
			case m == nil:
			case len(c.Samples) > 0:
				fired[m[1]], fires[m[1]] = true, true
			case fired[m[1]]:
				clears[m[1]] = true
			}
		}
	}

	_, doc, _ := strings.Cut(string(readFile(t, operations)), "\n## Alerts\n")
	doc, _, _ = strings.Cut(doc, "\n## ")
	sections := regexp.MustCompile(`(?m)^### (\w+)\n\n\S`)
	var explained []string
	for _, m := range sections.FindAllStringSubmatch(doc, -1) {
		explained = append(explained, m[1])
	}
	var alerts []string
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			alerts = append(alerts, r.Alert)
			a := r.Annotations
			if url := "https://github.com/imagebatch/imagebatch/blob/main/docs/operations.md#" + strings.ToLower(r.Alert); a["runbook_url"] != url {
				t.Errorf("%s: runbook_url is %q, want %s", r.Alert, a["runbook_url"], url)
			}
			if a["summary"] == "" || a["description"] == "" || !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
				t.Errorf("%s: annotations %q, labels %q", r.Alert, a, r.Labels)
			}
			if !fires[r.Alert] || !clears[r.Alert] {
				t.Errorf("%s: tested to fire: %v, and to clear afterwards: %v", r.Alert, fires[r.Alert], clears[r.Alert])
			}
		}
	}
	if !slices.Equal(alerts, explained) || len(alerts) == 0 {
		t.Errorf("the alerts are %q, but the sections of docs/operations.md are %q", alerts, explained)
	}
}

// rabbitmqMetrics contains the metrics of RabbitMQ 4.0.5 that the rules read.
const rabbitmqMetrics = "rabbitmq-4.0.5-metrics.txt"

// TestRulesReadExistingMetrics verifies that the services or RabbitMQ have every metric
// that the rules read.
func TestRulesReadExistingMetrics(t *testing.T) {
	doc := string(readFile(t, operations)) // TestMetrics compares its table with the code
	name := regexp.MustCompile(`\b(?:imagebatch|rabbitmq)_\w+`)
	series := regexp.MustCompile(`_(bucket|sum|count)$`) // of a histogram
	rabbitmq := string(readFile(t, "testdata/"+rabbitmqMetrics))
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			for _, metric := range name.FindAllString(r.Expr, -1) {
				if strings.Contains(rabbitmq, "# TYPE "+metric+" ") {
					continue
				}
				if !strings.Contains(doc, "| `"+series.ReplaceAllString(metric, "")+"` |") {
					t.Errorf("%s%s reads %s, which does not exist", r.Record, r.Alert, metric)
				}
			}
		}
	}
}
