package helm

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// examples are the files of imagebatch/ci.
var examples = []string{"minimal", "large", "tls"}

// each runs a test on every deployment of every example.
func each(t *testing.T, test func(t *testing.T, r *manifests, part string, d *apps.Deployment)) {
	t.Helper()
	for _, example := range examples {
		r := install(t, []string{example})
		want := len(parts)
		if example == "large" {
			want++ // the captioner
		}
		if len(r.deployments) != want {
			t.Errorf("%s: got %d deployments, want %d", example, len(r.deployments), want)
		}
		for _, d := range r.deployments {
			part := d.Labels["app.kubernetes.io/component"]
			t.Run(example+"/"+part, func(t *testing.T) { test(t, r, part, d) })
		}
	}
}

// TestPodsAreRestricted verifies that every pod runs without any privilege on its node.
func TestPodsAreRestricted(t *testing.T) {
	each(t, func(t *testing.T, _ *manifests, part string, d *apps.Deployment) {
		pod, c := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
		if s := pod.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser != 65532 || *s.FSGroup != 65532 ||
			s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
			t.Errorf("the pod runs as %+v", s)
		}
		if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem ||
			!slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
			t.Errorf("the container runs as %+v", s)
		}
		if *pod.AutomountServiceAccountToken || *pod.EnableServiceLinks || pod.HostNetwork {
			t.Error("the pod has a token, service links or the host network")
		}
		if len(pod.Containers) != 1 || c.Name != part || !strings.Contains(c.Image, program(part)) || strings.HasSuffix(c.Image, ":") {
			t.Errorf("container %s of %s", c.Name, c.Image)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("resources %+v", c.Resources)
		}
		for _, m := range c.VolumeMounts {
			if m.SubPath != "" {
				t.Errorf("%s is mounted by subPath, so it is never updated", m.Name)
			}
		}
	})
}

// responds reports whether the admin address of a service responds at that path.
func responds(t *testing.T, path string) bool {
	t.Helper()
	ops, err := service.Listen(t.Context(), "", telemetry.NewRegistry().Handler())
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	ops.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code == http.StatusOK
}

// TestProbesMatchServices verifies that the ports and paths are those of the programs,
// and that the grace period is longer than a drain.
func TestProbesMatchServices(t *testing.T) {
	each(t, func(t *testing.T, r *manifests, part string, d *apps.Deployment) {
		pod, c := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
		environment := literals(c)
		ops := environment["HTTP_ADDR"]
		if want := map[string]string{"gateway": gateway.DefaultAddr, "analyzer": analyzer.DefaultAddr, "processor": processor.DefaultAddr}[program(part)]; ops != want {
			t.Errorf("HTTP_ADDR is %s, and its default is %s", ops, want)
		}
		if part == "gateway" {
			// Untrusted clients can reach HTTP_ADDR.
			ops = environment["METRICS_ADDR"]
			if api := port(t, c, "api"); ":"+api != environment["HTTP_ADDR"] {
				t.Errorf("the API port is %s", api)
			}
		}
		if metrics := port(t, c, "metrics"); ":"+metrics != ops {
			t.Errorf("the metrics port is %s, but the admin address is %s", metrics, ops)
		}
		readiness := "/readyz"
		if part == "gateway" && !strings.Contains(t.Name(), "tls/") {
			readiness = "/healthz"
		}
		for _, p := range []struct {
			probe *core.Probe
			path  string
		}{{c.LivenessProbe, "/healthz"}, {c.ReadinessProbe, readiness}} {
			if !responds(t, p.probe.HTTPGet.Path) {
				t.Errorf("the service does not respond at %s", p.probe.HTTPGet.Path)
			}
			if p.probe.HTTPGet.Path != p.path || p.probe.HTTPGet.Port != intstr.FromString("metrics") || p.probe.HTTPGet.Scheme != "" {
				t.Errorf("a probe requests %s on port %v, want %s", p.probe.HTTPGet.Path, p.probe.HTTPGet.Port, p.path)
			}
			// /readyz checks the servers for at most 3 s.
			if p.probe.TimeoutSeconds <= 3 {
				t.Errorf("the timeout of %s is %d s", p.path, p.probe.TimeoutSeconds)
			}
		}
		// A gateway gets its first request when all its dependencies have responded, and
		// RabbitMQ may be unavailable for a long time.
		if s := c.StartupProbe; part == "gateway" && (s.HTTPGet.Path != "/readyz" || s.FailureThreshold*s.PeriodSeconds < 3600) {
			t.Errorf("the startup probe is %+v", s)
		}
		if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= service.DrainTime {
			t.Errorf("the grace period is %s, but a drain may take %s", grace, service.DrainTime)
		}
		if s := r.services[d.Name+"-metrics"]; s == nil || s.Spec.ClusterIP != "None" || !s.Spec.PublishNotReadyAddresses ||
			fmt.Sprint(s.Spec.Ports[0].Port) != port(t, c, "metrics") {
			t.Errorf("the metrics service is %+v", s)
		}
	})
}

func literals(c core.Container) map[string]string {
	all := map[string]string{}
	for _, e := range c.Env {
		all[e.Name] = e.Value
	}
	return all
}

func port(t *testing.T, c core.Container, name string) string {
	t.Helper()
	for _, p := range c.Ports {
		if p.Name == name {
			return strconv.Itoa(int(p.ContainerPort))
		}
	}
	t.Fatalf("%s has no port %s", c.Name, name)
	return ""
}

// TestSelectorsFindTheirPods verifies that every selector matches the pods of exactly one
// deployment.
func TestSelectorsFindTheirPods(t *testing.T) {
	for _, example := range examples {
		r := install(t, []string{example})
		chosen := func(what string, selector map[string]string) {
			t.Helper()
			var found []string
			for _, d := range r.deployments {
				if within(selector, d.Spec.Template.Labels) {
					found = append(found, d.Name)
				}
			}
			if len(found) != 1 || !strings.HasPrefix(what, found[0]) {
				t.Errorf("%s: %s selects the pods of %q", example, what, found)
			}
		}
		for name, d := range r.deployments {
			chosen(name, d.Spec.Selector.MatchLabels)
			for _, spread := range d.Spec.Template.Spec.TopologySpreadConstraints {
				if !within(spread.LabelSelector.MatchLabels, d.Spec.Template.Labels) {
					t.Errorf("%s: the spread constraint of %s selects %v", example, name, spread.LabelSelector.MatchLabels)
				}
			}
		}
		for name, s := range r.services {
			chosen(name, s.Spec.Selector)
		}
		for name, b := range r.budgets {
			chosen(name, b.Spec.Selector.MatchLabels)
		}
		for name, p := range r.policies {
			chosen(name, p.Spec.PodSelector.MatchLabels)
		}
		for _, m := range r.monitors {
			var found int
			for _, s := range r.services {
				if within(m.Spec.Selector.MatchLabels, s.Labels) && s.Spec.Ports[0].Name == m.Spec.Endpoints[0].Port {
					found++
				}
			}
			if found != len(r.deployments) || m.Spec.JobLabel != "app.kubernetes.io/component" || !responds(t, m.Spec.Endpoints[0].Path) {
				t.Errorf("%s: Prometheus finds %d services by %+v", example, found, m.Spec)
			}
		}
	}
}

func within(some, all map[string]string) bool {
	for k, v := range some {
		if all[k] != v {
			return false
		}
	}
	return len(some) > 0
}

// TestGatewaysByDatabase verifies that SQLite has one gateway with a volume, which never
// runs twice, and that PostgreSQL has several without a volume, replaced one at a time.
func TestGatewaysByDatabase(t *testing.T) {
	r := install(t, []string{"minimal"})
	one := r.deployments["try-imagebatch-gateway"]
	if *one.Spec.Replicas != 1 || one.Spec.Strategy.Type != apps.RecreateDeploymentStrategyType {
		t.Errorf("on SQLite: %d replicas with strategy %s", *one.Spec.Replicas, one.Spec.Strategy.Type)
	}
	claim := r.volumes["try-imagebatch-gateway-jobs"]
	if v := volume(one, "jobs"); claim == nil || v == nil || v.PersistentVolumeClaim.ClaimName != claim.Name {
		t.Errorf("the volume of SQLite is %+v", v)
	} else if claim.Annotations["helm.sh/resource-policy"] != "keep" || claim.Spec.AccessModes[0] != core.ReadWriteOnce {
		t.Errorf("the claim is %+v", claim)
	}
	if r.budgets["try-imagebatch-gateway"] != nil {
		t.Error("a single gateway has a disruption budget, which would block the drain of its node")
	}
	if literals(one.Spec.Template.Spec.Containers[0])["DATA_DIR"] != "/data" {
		t.Error("SQLite is not on the volume")
	}

	r = install(t, []string{"tls"})
	if v := volume(r.deployments["images-gateway"], "jobs"); len(r.volumes) != 0 || v.PersistentVolumeClaim.ClaimName != "jobs" {
		t.Errorf("the existing volume is %+v, and there are %d new ones", v, len(r.volumes))
	}

	r = install(t, []string{"large"})
	many := r.deployments["try-imagebatch-gateway"]
	if *many.Spec.Replicas != 3 || many.Spec.Strategy.RollingUpdate == nil || many.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Errorf("on PostgreSQL: %d replicas with strategy %+v", *many.Spec.Replicas, many.Spec.Strategy)
	}
	if len(r.volumes) != 0 || volume(many, "jobs") != nil {
		t.Error("on PostgreSQL there is a volume")
	}
	for _, part := range append([]string{"captioner"}, parts...) {
		if b := r.budgets["try-imagebatch-"+part]; b == nil || b.Spec.MaxUnavailable.IntValue() != 1 ||
			*b.Spec.UnhealthyPodEvictionPolicy != policy.AlwaysAllow {
			t.Errorf("the budget of the %ss is %+v", part, b)
		}
	}
}

func volume(d *apps.Deployment, name string) *core.Volume {
	for i, v := range d.Spec.Template.Spec.Volumes {
		if v.Name == name {
			return &d.Spec.Template.Spec.Volumes[i]
		}
	}
	return nil
}

// TestServiceAccounts verifies that each service has an account of its own, so that it can
// have a role, and that no account mounts a Kubernetes token.
func TestServiceAccounts(t *testing.T) {
	each(t, func(t *testing.T, r *manifests, part string, d *apps.Deployment) {
		name := d.Spec.Template.Spec.ServiceAccountName
		a := r.accounts[name]
		if part == "processor" && d.Name == "images-processor" {
			if a != nil || name != "images" {
				t.Errorf("the account is %s: %+v", name, a)
			}
			return
		}
		if a == nil || name != d.Name || *a.AutomountServiceAccountToken {
			t.Fatalf("the account %s is %+v", name, a)
		}
		if strings.Contains(t.Name(), "large") && a.Annotations["eks.amazonaws.com/role-arn"] == "" {
			t.Error("the account has no role")
		}
	})
}

// TestIngressReachesAPI follows a request from the ingress to the port.
func TestIngressReachesAPI(t *testing.T) {
	r := install(t, []string{"large"})
	in := r.ingresses["try-imagebatch-gateway"]
	backend := in.Spec.Rules[0].HTTP.Paths[0].Backend.Service
	s := r.services[backend.Name]
	if s == nil || s.Spec.Ports[0].Port != backend.Port.Number || s.Spec.Ports[0].TargetPort != intstr.FromString("api") ||
		s.Spec.Ports[0].Name != "http" {
		t.Errorf("the ingress leads to %+v, which is %+v", backend, s)
	}
	if *in.Spec.IngressClassName != "nginx" || in.Spec.Rules[0].Host != "images.example.com" || in.Spec.TLS[0].SecretName != "images-tls" {
		t.Errorf("the ingress is %+v", in.Spec)
	}
	if !strings.Contains(r.notes, "https://images.example.com/api/v1/batch") {
		t.Errorf("the notes are\n%s", r.notes)
	}

	r = install(t, []string{"tls"})
	if s := r.services["images-gateway"]; s.Spec.Type != core.ServiceTypeLoadBalancer || s.Spec.Ports[0].Port != 443 ||
		s.Spec.Ports[0].Name != "https" || len(r.ingresses) != 0 {
		t.Errorf("the service is %+v", s.Spec)
	}
	if !strings.Contains(r.notes, "gateway.apiKeys.existingSecret") || !strings.Contains(r.notes, "8080:443") {
		t.Errorf("the notes are\n%s", r.notes)
	}
}

// TestImages verifies the names of the container images.
func TestImages(t *testing.T) {
	version := loadChart(t).Metadata.AppVersion
	for example, want := range map[string]map[string]string{
		"minimal": {"gateway": "imagebatch/gateway:" + version, "analyzer": "imagebatch/analyzer:" + version},
		"large":   {"processor": "registry.example.com/team/imagebatch/processor:1.2.3"},
		"tls":     {"gateway": "mirror.example.com/gateway@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	} {
		for _, d := range install(t, []string{example}).deployments {
			if image := want[d.Labels["app.kubernetes.io/component"]]; image != "" && d.Spec.Template.Spec.Containers[0].Image != image {
				t.Errorf("%s: the image is %s, want %s", example, d.Spec.Template.Spec.Containers[0].Image, image)
			}
		}
	}
}
