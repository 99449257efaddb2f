package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	grafana "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"go.yaml.in/yaml/v3"
)

// dashboard contains the fields of Grafana's JSON that the tests check.
type dashboard struct {
	file              string
	UID, Title        string
	Tags              []string
	Editable          bool
	Templating        struct{ List []variable }
	Panels            []panel
	Description, text string
}

type variable struct {
	Name, Type, AllValue string
	IncludeAll           bool
	Query                json.RawMessage
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ UID string }
	FieldConfig              struct {
		Defaults struct {
			Unit     string
			Decimals *int
		}
	}
	Targets []struct{ RefID, Expr, LegendFormat string }
}

const dashboardFolder = "../grafana/dashboards"

// readDashboards reads all dashboards of the folder.
func readDashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob(dashboardFolder + "/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("dashboards %q, %v", files, err)
	}
	var all []dashboard
	for _, file := range files {
		d := dashboard{file: file, text: string(readFile(t, file))}
		if err := json.Unmarshal([]byte(d.text), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

// TestDashboardsFollowTheSchema verifies that the dashboards match Grafana's own schema: the
// types that Grafana generates from it accept every member, none is unknown, and all required
// ones exist. Grafana's module is only used here, because its dashboard linter is not a module.
func TestDashboardsFollowTheSchema(t *testing.T) {
	kinds := cog.NewRuntime()
	kinds.RegisterPanelcfgVariant(timeseries.VariantConfig())
	kinds.RegisterPanelcfgVariant(stat.VariantConfig())
	kinds.RegisterDataqueryVariant(prometheus.VariantConfig())
	for _, d := range readDashboards(t) {
		schema := grafana.NewDashboard()
		// It returns an empty list of errors when there are none.
		if err := schema.UnmarshalJSONStrict([]byte(d.text)); err != nil && err.Error() != "" {
			t.Errorf("%s: %v", d.file, err)
		} else if err := schema.Validate(); err != nil {
			t.Errorf("%s: %v", d.file, err)
		}
	}
}

// TestDashboardsAreComplete verifies that dashboards work with any data source, namespace
// and job, and that each panel has a title, a description, a unit and a query.
func TestDashboardsAreComplete(t *testing.T) {
	all := readDashboards(t)
	seen := map[string]bool{}
	for _, d := range all {
		name := strings.TrimSuffix(filepath.Base(d.file), ".json")
		if d.UID != "imagebatch-"+name || seen[d.Title] || d.Description == "" || d.Editable || !slices.Equal(d.Tags, []string{"imagebatch"}) {
			t.Errorf("%s: uid %s, title %q, description %q, editable %v, tags %q", name, d.UID, d.Title, d.Description, d.Editable, d.Tags)
		}
		seen[d.Title] = true
		checkVariables(t, d)
		for _, p := range d.Panels {
			if p.Type != "row" {
				checkPanel(t, d, p)
			}
		}
		for _, link := range regexp.MustCompile(`"/d/([^?"]*)`).FindAllStringSubmatch(d.text, -1) {
			if !slices.ContainsFunc(all, func(o dashboard) bool { return o.UID == link[1] }) {
				t.Errorf("%s: linked dashboard %s does not exist", name, link[1])
			}
		}
		if !strings.Contains(d.text, `"type": "dashboards"`) || !strings.Contains(d.text, `"includeVars": true`) {
			t.Errorf("%s: no links to the others", name)
		}
	}
}

func checkVariables(t *testing.T, d dashboard) {
	t.Helper()
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
		if v.Name == "datasource" {
			continue
		}
		// A label that a Prometheus does not set, such as the namespace, must not hide series.
		if want := map[bool]string{true: ".+", false: ".*"}[v.Name == "job"]; v.Type != "query" || !v.IncludeAll || v.AllValue != want {
			t.Errorf("%s: %s has the type %s and the all value %q", d.file, v.Name, v.Type, v.AllValue)
		}
		if !strings.Contains(d.text, `=~\"$`+v.Name+`\"`) {
			t.Errorf("%s: no query uses the variable %s", d.file, v.Name)
		}
	}
	if !slices.Equal(names[:3], []string{"datasource", "namespace", "job"}) {
		t.Errorf("%s: the variables are %q", d.file, names)
	}
	for _, used := range regexp.MustCompile(`=~\\"\$(\w+)`).FindAllStringSubmatch(d.text, -1) {
		if !slices.Contains(names, used[1]) {
			t.Errorf("%s: there is no variable %s", d.file, used[1])
		}
	}
}

// selectors matches a metric with its labels and its range; ranges matches the allowed ranges.
var (
	selectors = regexp.MustCompile(`\b(imagebatch_\w+|imagebatch:[\w:]+|rabbitmq_\w+|process_\w+|go_\w+)(\{[^}]*\})?(\[[^\]]*\])?`)
	ranges    = regexp.MustCompile(`^\[(\$__rate_interval|1h)\]$`)
)

func checkPanel(t *testing.T, d dashboard, p panel) {
	t.Helper()
	where := filepath.Base(d.file) + ": " + p.Title
	if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
		t.Errorf("%s: panel %d: %+v", d.file, p.ID, p)
	}
	for i, q := range p.Targets {
		if p.FieldConfig.Defaults.Unit == "ops" && !strings.Contains(q.Expr, "_operations_total") {
			t.Errorf("%s: the unit says operations: choose mps, reqps or count:images/s", where)
		}
		if p.FieldConfig.Defaults.Unit == "short" && p.FieldConfig.Defaults.Decimals == nil && strings.Contains(q.Expr, "increase(") {
			t.Errorf("%s: an increase is not an integer: without decimals, one event is 1.01", where)
		}
		if q.LegendFormat == "" || q.RefID != string(rune('A'+i)) {
			t.Errorf("%s: %s has the ref ID %q and the legend %q", where, q.Expr, q.RefID, q.LegendFormat)
		}
		found := selectors.FindAllStringSubmatch(q.Expr, -1)
		if len(found) == 0 && !strings.HasPrefix(q.Expr, "count(ALERTS{") {
			t.Errorf("%s: %s selects no metric", where, q.Expr)
		}
		for _, m := range found {
			name, labels, over := m[1], m[2], m[3]
			needed := []string{`namespace=~"$namespace"`, `job=~"$job"`}
			switch {
			case strings.HasPrefix(name, "imagebatch:"): // a rule, which sums over jobs
				needed = needed[:1]
			case strings.HasPrefix(name, "rabbitmq_detailed_"):
				needed = []string{`namespace=~"$rabbitmq_namespace"`, `vhost=~"$vhost"`}
			case strings.HasPrefix(name, "rabbitmq_"):
				needed = []string{`namespace=~"$rabbitmq_namespace"`}
			}
			for _, n := range needed {
				if !strings.Contains(labels, n) {
					t.Errorf("%s: %s%s lacks %s", where, name, labels, n)
				}
			}
			if strings.Contains(labels, `method="`) && !strings.Contains(labels, `route="`) {
				t.Errorf("%s: %s%s sums over routes", where, name, labels)
			}
			checkQueues(t, where, labels)
			counts := strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_bucket") || strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_count")
			if counts != (over != "") || over != "" && !ranges.MatchString(over) {
				t.Errorf("%s: %s%s%s: read a counter as a rate over $__rate_interval or as an increase, and a gauge directly", where, name, labels, over)
			}
		}
	}
}

// checkQueues verifies that a pattern of queues that matches those of two steps matches those of the caption step too.
func checkQueues(t *testing.T, where, labels string) {
	t.Helper()
	m := regexp.MustCompile(`queue=~"([^"]*)"`).FindStringSubmatch(labels)
	if m == nil {
		return
	}
	pattern := regexp.MustCompile("^(?:" + strings.ReplaceAll(m[1], `\\`, `\`) + ")$")
	for _, suffix := range []string{"", ".dead", ".suspect", ".retry.1s"} {
		matches := func(queue string) bool { return pattern.MatchString(queue + suffix) }
		if matches("image_upload") && matches("metadata_generated") && !matches("image_described") {
			t.Errorf("%s: %s lacks image_described%s", where, m[1], suffix)
		}
	}
}

// TestStoppedAnalyzers verifies what the panels show while no analyzer runs or all of them hang: 0 analyzers instead of the
// last number, and no time for the waiting messages instead of an absurd one.
func TestStoppedAnalyzers(t *testing.T) {
	exprs := map[string]string{}
	for _, d := range readDashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				exprs[p.Title+"/"+q.LegendFormat] = expand(q.Expr, ".*")
			}
		}
	}
	check := func(panel string, samples ...any) any {
		if exprs[panel] == "" {
			t.Fatalf("there is no %s", panel)
		}
		return map[string]any{"expr": exprs[panel], "eval_time": "60m", "exp_samples": samples}
	}
	zero := map[string]any{"labels": "{}", "value": 0}
	text, err := yaml.Marshal(map[string]any{"evaluation_interval": "1m", "tests": []any{map[string]any{
		"interval": "1m",
		"input_series": []any{
			map[string]string{"series": `imagebatch_stage_messages_total{job="analyzer",queue="image_upload",outcome="done"}`, "values": "7x60"},
			map[string]string{"series": `rabbitmq_detailed_queue_messages_ready{vhost="/",queue="image_upload"}`, "values": "100x60"},
		},
		"promql_expr_test": []any{
			check("Analyzers/Analyzers", zero), check("Analyzers, actual and needed/actual", zero),
			check("Retried/Retried", zero), check("Waiting messages/time to process"),
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := promtool(t, "", "test", "rules", file); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDashboardsAreProvisioned verifies that Grafana loads all dashboards of the folder.
func TestDashboardsAreProvisioned(t *testing.T) {
	var provisioning struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	if err := yaml.Unmarshal(readFile(t, "../grafana/provisioning/dashboards/imagebatch.yml"), &provisioning); err != nil {
		t.Fatal(err)
	}
	service, err := loadCompose(t).GetService("grafana")
	if err != nil {
		t.Fatal(err)
	}
	mounted := func(source, target string) bool {
		return slices.ContainsFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Target == target && v.ReadOnly && strings.HasSuffix(v.Source, source)
		})
	}
	if len(provisioning.Providers) != 1 || provisioning.Providers[0].Type != "file" || !mounted("/deployments/grafana/dashboards", provisioning.Providers[0].Options.Path) {
		t.Errorf("providers %+v, volumes %+v", provisioning.Providers, service.Volumes)
	}
	if !mounted("/deployments/grafana/provisioning", "/etc/grafana/provisioning") {
		t.Errorf("volumes %+v", service.Volumes)
	}
	home := service.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if home == nil || *home != fmt.Sprintf("%s/overview.json", provisioning.Providers[0].Options.Path) {
		t.Error("the overview is not the home dashboard")
	}
}

// TestAnalyzersNeeded verifies the arithmetic of the query that recommends a number of
// analyzers: two analyzers with two slots each, whose attempts take half a second, process
// 8 images per second, and 6.4 with a fifth of the slots free.
func TestAnalyzersNeeded(t *testing.T) {
	var expr string
	for _, d := range readDashboards(t) {
		for _, p := range d.Panels {
			if p.Title == "Analyzers needed" {
				expr = expand(p.Targets[0].Expr, ".*")
			}
		}
	}
	for name, c := range map[string]struct {
		arriving float64 // images per second
		waiting  int
		attempts string // series of the count of attempts
		want     int
	}{
		"capacity left":             {6, 0, "0+60x60", 2},
		"no capacity left":          {7, 0, "0+60x60", 3},
		"a backlog of five minutes": {6, 1200, "0+60x60", 4}, // 4 per second more: 6.25 slots
		"idle":                      {0, 0, "7x60", 1},
		"only a backlog":            {0, 3000, "0+60x60", 4},
	} {
		series := func(name, values string) map[string]string {
			return map[string]string{"series": name, "values": values}
		}
		seconds := strings.Replace(c.attempts, "60x", "30x", 1)
		test := map[string]any{
			"evaluation_interval": "1m",
			"tests": []any{map[string]any{
				"interval": "1m",
				"input_series": []any{
					series(`imagebatch_uploads_sent_total{job="gateway"}`, fmt.Sprintf("0+%gx60", 60*c.arriving)),
					series(`imagebatch_stage_concurrency{job="analyzer",instance="a",queue="image_upload"}`, "2x60"),
					series(`imagebatch_stage_concurrency{job="analyzer",instance="b",queue="image_upload"}`, "2x60"),
					series(`imagebatch_stage_concurrency{job="processor",instance="p",queue="metadata_generated"}`, "8x60"),
					series(`imagebatch_stage_duration_seconds_count{job="analyzer",instance="a",queue="image_upload"}`, c.attempts),
					series(`imagebatch_stage_duration_seconds_sum{job="analyzer",instance="a",queue="image_upload"}`, seconds),
					series(`rabbitmq_detailed_queue_messages_ready{vhost="/",queue="image_upload"}`, fmt.Sprintf("%dx60", c.waiting)),
				},
				"promql_expr_test": []any{map[string]any{
					"expr": expr, "eval_time": "60m", "exp_samples": []any{map[string]any{"labels": "{}", "value": c.want}},
				}},
			}},
		}
		text, err := yaml.Marshal(test)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "test.yml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := promtool(t, "", "test", "rules", file); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
