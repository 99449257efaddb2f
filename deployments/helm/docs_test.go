package helm

import (
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

// TestOperationsInstallsWhatItSays follows docs/operations.md: the values are taken,
// and whatever they make pods and KEDA read has been put into Secrets before.
func TestOperationsInstallsWhatItSays(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "../../docs/operations.md"), "\n## Kubernetes\n")
	blocks := regexp.MustCompile("(?s)```(sh|yaml)\n(.*?)```").FindAllStringSubmatch(section, -1)
	made := map[string]bool{}
	var given string
	for _, b := range blocks {
		if b[1] == "yaml" {
			given += b[2]
			continue
		}
		commands := strings.ReplaceAll(b[2], "\\\n", " ")
		for _, m := range regexp.MustCompile(`create secret generic (\S+)(.*)`).FindAllStringSubmatch(commands, -1) {
			for _, key := range regexp.MustCompile(`--from-(?:literal|file)=([^= ]+)`).FindAllStringSubmatch(m[2], -1) {
				made[m[1]+"/"+key[1]] = true
			}
		}
	}
	v, err := loader.LoadValues(strings.NewReader(given))
	if err != nil {
		t.Fatal(err)
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
		if !made[key] {
			t.Errorf("%s is read, and nothing says how to make it", key)
		}
	}
	for key := range made {
		if !wanted[key] {
			t.Errorf("%s is made, and nothing reads it", key)
		}
	}
	if len(r.scaled) != 2 || len(r.rules) != 1 || len(r.ingresses) != 1 {
		t.Error("not all of the example is installed")
	}
	for _, d := range r.deployments {
		if name := "deployment/" + d.Name; strings.Contains(d.Name, "gateway") && !strings.Contains(section, strings.Replace(name, "try-", "images-", 1)+" ") {
			t.Errorf("the commands do not name %s", name)
		}
	}
}
