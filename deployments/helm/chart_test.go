package helm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const chartFolder = "imagebatch"

// TestMain silences Helm, which logs each symbolic link that it follows.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}

// parts are the three services; each is a deployment. A captioner is an analyzer that runs only the caption step.
var parts = []string{"gateway", "analyzer", "processor"}

// program returns the service that a part runs.
func program(part string) string { return strings.ReplaceAll(part, "captioner", "analyzer") }

// manifests are the rendered objects, by kind and name.
type manifests struct {
	deployments map[string]*apps.Deployment
	services    map[string]*core.Service
	accounts    map[string]*core.ServiceAccount
	configs     map[string]*core.ConfigMap
	volumes     map[string]*core.PersistentVolumeClaim
	budgets     map[string]*policy.PodDisruptionBudget
	policies    map[string]*networking.NetworkPolicy
	ingresses   map[string]*networking.Ingress
	monitors    map[string]*monitoring.ServiceMonitor
	rules       map[string]*monitoring.PrometheusRule
	scaled      map[string]*scaledObject
	triggerAuth map[string]*triggerAuthentication
	notes       string
	text        string // all manifests
}

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// values reads files of imagebatch/ci and then applies settings in the syntax of --set.
func values(t *testing.T, files []string, set ...string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, name := range files {
		f, err := os.Open(filepath.Join(chartFolder, "ci", name+"-values.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		v, err := loader.LoadValues(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		all = loader.MergeMaps(all, v)
	}
	for _, s := range set {
		if err := strvals.ParseInto(s, all); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return all
}

// render renders the manifests as `helm install` does.
func render(t *testing.T, v map[string]any) (map[string]string, error) {
	t.Helper()
	c := loadChart(t)
	options := common.ReleaseOptions{Name: "try", Namespace: "images", IsInstall: true, Revision: 1}
	top, err := util.ToRenderValues(c, v, options, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, top)
}

// install renders the chart with examples and settings.
func install(t *testing.T, files []string, set ...string) *manifests {
	t.Helper()
	return decoded(t, values(t, files, set...))
}

// decoded renders the chart and decodes the manifests strictly.
func decoded(t *testing.T, v map[string]any) *manifests {
	t.Helper()
	rendered, err := render(t, v)
	if err != nil {
		t.Fatal(err)
	}
	r := &manifests{
		deployments: map[string]*apps.Deployment{},
		services:    map[string]*core.Service{},
		accounts:    map[string]*core.ServiceAccount{},
		configs:     map[string]*core.ConfigMap{},
		volumes:     map[string]*core.PersistentVolumeClaim{},
		budgets:     map[string]*policy.PodDisruptionBudget{},
		policies:    map[string]*networking.NetworkPolicy{},
		ingresses:   map[string]*networking.Ingress{},
		monitors:    map[string]*monitoring.ServiceMonitor{},
		rules:       map[string]*monitoring.PrometheusRule{},
		scaled:      map[string]*scaledObject{},
		triggerAuth: map[string]*triggerAuthentication{},
	}
	for _, file := range slices.Sorted(maps.Keys(rendered)) {
		text := rendered[file]
		if strings.HasSuffix(file, "NOTES.txt") {
			r.notes = text
			continue
		}
		r.text += text
		documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if err := r.add(document); err != nil {
				t.Fatalf("%s: %v in\n%s", file, err, document)
			}
		}
	}
	return r
}

// add decodes one manifest. A field that its kind does not have is an error, and so is a
// duplicate name.
func (r *manifests) add(document []byte) error {
	if len(bytes.TrimSpace(withoutComments(document))) == 0 {
		return nil
	}
	var head struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(document, &head); err != nil {
		return err
	}
	if head.APIVersion == "keda.sh/v1alpha1" {
		return r.addScaling(head.Kind, document)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		apps.AddToScheme, core.AddToScheme, networking.AddToScheme, policy.AddToScheme, monitoring.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	object, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode(document, nil, nil)
	if err != nil {
		return err
	}
	switch o := object.(type) {
	case *apps.Deployment:
		return put(r.deployments, o.Name, o)
	case *core.Service:
		return put(r.services, o.Name, o)
	case *core.ServiceAccount:
		return put(r.accounts, o.Name, o)
	case *core.ConfigMap:
		return put(r.configs, o.Name, o)
	case *core.PersistentVolumeClaim:
		return put(r.volumes, o.Name, o)
	case *policy.PodDisruptionBudget:
		return put(r.budgets, o.Name, o)
	case *networking.NetworkPolicy:
		return put(r.policies, o.Name, o)
	case *networking.Ingress:
		return put(r.ingresses, o.Name, o)
	case *monitoring.ServiceMonitor:
		return put(r.monitors, o.Name, o)
	case *monitoring.PrometheusRule:
		return put(r.rules, o.Name, o)
	}
	return fmt.Errorf("unexpected object %T", object)
}

func (r *manifests) addScaling(kind string, document []byte) error {
	switch kind {
	case "ScaledObject":
		o, err := strictly[scaledObject](document)
		if err != nil {
			return err
		}
		return put(r.scaled, o.Metadata.Name, o)
	case "TriggerAuthentication":
		o, err := strictly[triggerAuthentication](document)
		if err != nil {
			return err
		}
		return put(r.triggerAuth, o.Metadata.Name, o)
	}
	return fmt.Errorf("unexpected kind %s", kind)
}

// strictly decodes a manifest into T. A field that T does not have is an error.
func strictly[T any](document []byte) (*T, error) {
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, err
	}
	o := new(T)
	strict, err := strictjson.UnmarshalStrict(text, o)
	if err == nil && len(strict) > 0 {
		err = strict[0]
	}
	return o, err
}

func put[T any](all map[string]T, name string, object T) error {
	if _, twice := all[name]; twice || name == "" || len(name) > 63 {
		return fmt.Errorf("the name %q is duplicate, missing or too long", name)
	}
	all[name] = object
	return nil
}

func withoutComments(document []byte) []byte {
	var rest []byte
	for line := range bytes.Lines(document) {
		if trimmed := bytes.TrimSpace(line); !bytes.HasPrefix(trimmed, []byte("#")) && !bytes.Equal(trimmed, []byte("---")) {
			rest = append(rest, line...)
		}
	}
	return rest
}
