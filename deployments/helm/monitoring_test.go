package helm

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"sigs.k8s.io/yaml"
)

// TestRulesAndDashboards verifies that the chart installs the rules and dashboards that
// compose.yaml uses; the chart has symbolic links to these files.
func TestRulesAndDashboards(t *testing.T) {
	r := install(t, []string{"large"})
	var want monitoring.PrometheusRuleSpec
	if err := yaml.Unmarshal([]byte(read(t, "../prometheus/rules.yml")), &want); err != nil {
		t.Fatal(err)
	}
	rule := r.rules["try-imagebatch"]
	if rule == nil || !reflect.DeepEqual(rule.Spec, want) || len(want.Groups) == 0 {
		t.Errorf("the rules differ from rules.yml: %+v", rule)
	}
	if rule.Labels["release"] != "prometheus" || r.monitors["try-imagebatch"].Labels["release"] != "prometheus" {
		t.Error("the operator does not find them by their labels")
	}
	files, err := filepath.Glob("../grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	if len(r.configs) != len(files) {
		t.Errorf("%d dashboards are installed, want %d", len(r.configs), len(files))
	}
	for _, file := range files {
		name := filepath.Base(file)
		c := r.configs["try-imagebatch-"+name[:len(name)-len(".json")]]
		if c == nil || c.Data[name] != read(t, file) || c.Labels["grafana_dashboard"] != "1" {
			t.Errorf("%s is not installed unchanged", name)
		}
	}

	r = install(t, []string{"minimal"})
	if len(r.rules)+len(r.monitors)+len(r.configs)+len(r.scaled) != 0 {
		t.Error("objects of the Prometheus operator are installed by default")
	}
}

// TestPackage verifies that a packaged chart contains the files that the links point to.
func TestPackage(t *testing.T) {
	archive, err := chartutil.Save(loadChart(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	packed, err := loader.LoadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range packed.Files {
		files[f.Name] = string(f.Data)
	}
	if files["files/rules.yml"] != read(t, "../prometheus/rules.yml") || files["files/dashboards/overview.json"] != read(t, "../grafana/dashboards/overview.json") {
		t.Errorf("the package contains %q", slices.Sorted(maps.Keys(files)))
	}
	for name := range files {
		if filepath.Dir(name) == "ci" {
			t.Errorf("the package contains %s, which is only for tests", name)
		}
	}
}
