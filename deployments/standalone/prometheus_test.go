package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/imagebatch/imagebatch/analyzer/visiontest"
)

// TestDashboardsShowData runs the query of every panel on a Prometheus with our
// configuration, after an image has killed its analyzers and become a dead letter. It
// verifies that every query returns a value: 0 for events that have not happened.
func TestDashboardsShowData(t *testing.T) {
	t.Parallel()
	broker, metrics := ownRabbitMQ(t)
	g := startPoisoned(t, broker, 1, captionEnv(visiontest.Start(t, "secret"))...)
	at := startPrometheus(t, map[string][]string{
		"gateway": {g.parts[0].addr}, "processor": {g.parts[1].addr}, "analyzer": {g.parts[2].addr}, "rabbitmq": {metrics}, "rabbitmq-queues": {metrics},
	})
	// A rate needs a sample from before the counted events. Some metrics have one only after a
	// first batch.
	for _, ended := range []string{"4", "7"} {
		id := g.submit(t, everyEnd(t)...)
		watch(t, g.system, id)
		g.ended(t, id)
		after := float64(time.Now().UnixMilli()) / 1000
		at.await(t, `sum(imagebatch_images_ended_total{status="completed"})`, func(v string) bool { return v == ended })
		// Prometheus has a later sample of each service.
		at.await(t, fmt.Sprintf("count(timestamp(imagebatch_build_info) > %.3f)", after), func(v string) bool { return v == "3" })
	}
	dashboards := readDashboards(t)
	for _, d := range dashboards {
		for _, v := range d.Templating.List {
			checkChoices(t, at, d, v)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				// RabbitMQ may be in any namespace: its targets have none here.
				for _, namespace := range []string{".*", "pictures"} {
					at.await(t, expand(q.Expr, namespace), func(v string) bool {
						return v != "NaN" && (p.Title != "Dead letters" || v == "1")
					})
				}
			}
		}
	}
	at.await(t, `ALERTS{alertname="DeadLetters",alertstate="firing",queue="image_upload.dead"}`, func(v string) bool { return v == "1" })

	// Another namespace must show none of our series.
	for _, d := range dashboards {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				values, err := at.query(t, expand(q.Expr, "another"))
				if err != nil || strings.Contains(q.Expr, "imagebatch_") && !strings.Contains(q.Expr, "vector(") && len(values) > 0 {
					t.Errorf("%s: %s shows %q from another namespace, %v", p.Title, q.Expr, values, err)
				}
			}
		}
	}
}

// expand replaces the variables of a query as Grafana does. Grafana's interval is shorter than
// an hour; this one still contains the batches on a slow machine.
func expand(query, namespace string) string {
	return strings.NewReplacer("$__rate_interval", "1h", "$job", ".+", "$namespace", namespace, "$rabbitmq_namespace", ".*", "$vhost", ".*").Replace(query)
}

// checkChoices verifies that a variable has values to choose from.
func checkChoices(t *testing.T, at *prometheusServer, d dashboard, v variable) {
	t.Helper()
	if v.Name == "datasource" || v.Name == "rabbitmq_namespace" {
		return
	}
	var query struct{ Query string }
	if err := json.Unmarshal(v.Query, &query); err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(query.Query)
	if m == nil {
		t.Fatalf("%s: %s has the query %s", d.file, v.Name, query.Query)
	}
	at.await(t, expand(fmt.Sprintf("count by (%s) (%s)", m[2], m[1]), ".*"), func(string) bool { return true })
}

// ownRabbitMQ starts a RabbitMQ for this test and returns its URL and the address of its
// metrics.
func ownRabbitMQ(t *testing.T) (broker, metrics string) {
	t.Helper()
	script := os.Getenv("TEST_SERVERS")
	if script == "" {
		t.Skip("TEST_SERVERS is not set")
	}
	dir := t.TempDir()
	servers := func(verb string) {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), script, verb, dir, "rabbitmq") //nolint:gosec // The script is ours.
		cmd.Env = append(os.Environ(), "RABBITMQ_METRICS=yes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s RabbitMQ: %v\n%s", verb, err, out)
		}
	}
	t.Cleanup(func() { servers("stop") })
	servers("start")
	env := string(readFile(t, filepath.Join(dir, "env")))
	value := func(name string) string {
		_, rest, _ := strings.Cut(env, name+"='")
		value, _, _ := strings.Cut(rest, "'")
		return value
	}
	return value("TEST_RABBITMQ_URL"), value("TEST_RABBITMQ_METRICS")
}

// prometheusServer is a running Prometheus.
type prometheusServer struct{ addr string }

// startPrometheus starts a Prometheus with our configuration. It scrapes every job at the
// given addresses each second. The services are in the namespace pictures.
func startPrometheus(t *testing.T, targets map[string][]string) *prometheusServer {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed")
	}
	var config map[string]any
	if err := yaml.Unmarshal(readFile(t, "../prometheus/prometheus.yml"), &config); err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs("../prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config["global"] = map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
	config["rule_files"] = []string{rules}
	for _, one := range config["scrape_configs"].([]any) { //nolint:forcetypeassert // promtool has checked it.
		job := one.(map[string]any)      //nolint:forcetypeassert // As above.
		name := job["job_name"].(string) //nolint:forcetypeassert // As above.
		delete(job, "dns_sd_configs")
		labels := map[string]string{}
		if !strings.HasPrefix(name, "rabbitmq") {
			labels["namespace"] = "pictures"
		}
		job["static_configs"] = []any{map[string]any{"targets": targets[name], "labels": labels}}
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheusServer{freeAddr(t)}
	log := new(strings.Builder)
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.addr) //nolint:gosec,noctx // The cleanup stops it.
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
	p.await(t, "sum(up)", func(v string) bool { return v == fmt.Sprint(len(targets)) })
	return p
}

// await repeats a query until right accepts one of its values.
func (p *prometheusServer) await(t *testing.T, query string, right func(value string) bool) {
	t.Helper()
	await(t, func() (bool, string) {
		values, err := p.query(t, query)
		return slices.ContainsFunc(values, right), fmt.Sprintf("%s shows %q, %v", query, values, err)
	})
}

// query returns the values of an instant query.
func (p *prometheusServer) query(t *testing.T, query string) ([]string, error) {
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
	var response struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&response); err != nil {
		return nil, fmt.Errorf("read response: %w", err)
	}
	if response.Error != "" {
		t.Fatalf("%s: %s", query, response.Error)
	}
	var values []string
	for _, r := range response.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values, nil
}
