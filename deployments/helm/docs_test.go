package helm

import (
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

// kubernetesSection returns the section about Kubernetes of docs/operations.md, and the
// values in it.
func kubernetesSection(t *testing.T) (string, map[string]any) {
	t.Helper()
	_, section, _ := strings.Cut(read(t, "../../docs/operations.md"), "\n## Kubernetes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var given string
	for _, b := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(section, -1) {
		given += b[1]
	}
	v, err := loader.LoadValues(strings.NewReader(given))
	if err != nil {
		t.Fatal(err)
	}
	return section, v
}

// TestOperationsExample follows docs/operations.md: it verifies that the chart accepts the
// values, and that the commands create every Secret that pods and KEDA then read.
func TestOperationsExample(t *testing.T) {
	section, v := kubernetesSection(t)
	created := map[string]bool{}
	for _, b := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		commands := strings.ReplaceAll(b[1], "\\\n", " ")
		for _, m := range regexp.MustCompile(`create secret generic (\S+)(.*)`).FindAllStringSubmatch(commands, -1) {
			for _, key := range regexp.MustCompile(`--from-(?:literal|file)=([^= ]+)`).FindAllStringSubmatch(m[2], -1) {
				created[m[1]+"/"+key[1]] = true
			}
		}
	}
	r := decoded(t, v)
	wanted := map[string]bool{}
	for _, d := range r.deployments {
		for _, source := range volume(d, "secrets").Projected.Sources {
			for _, item := range source.Secret.Items {
				wanted[source.Secret.Name+"/"+item.Key] = true
			}
		}
	}
	for _, auth := range r.triggerAuth {
		for _, s := range auth.Spec.SecretTargetRef {
			wanted[s.Name+"/"+s.Key] = true
		}
	}
	for key := range wanted {
		if !created[key] {
			t.Errorf("%s is read, but no command creates it", key)
		}
	}
	for key := range created {
		if !wanted[key] {
			t.Errorf("%s is created, but not read", key)
		}
	}
	if len(r.scaled) != 2 || len(r.rules) != 1 || len(r.ingresses) != 1 {
		t.Error("part of the example is not installed")
	}
	for _, d := range r.deployments {
		if name := "deployment/" + d.Name; strings.Contains(d.Name, "gateway") && !strings.Contains(section, strings.Replace(name, "try-", "images-", 1)+" ") {
			t.Errorf("the commands do not name %s", name)
		}
	}
}
