//go:build cluster

package helm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	release "helm.sh/helm/v4/pkg/release/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestCluster installs the chart in a Kubernetes API server, with Helm's library: etcd and
// kube-apiserver run with all default admission plugins, and RBAC. There are no
// controllers and no nodes, so the test creates the pods of each deployment itself, and
// they stay pending.
func TestCluster(t *testing.T) {
	c := startCluster(t)
	t.Run("without the resources of KEDA", c.testMissingKinds)
	c.installCRDs(t)
	t.Run("examples", c.testExamples)
	t.Run("changes", c.testChanges)
	t.Run("scaling", c.testScaling)
	t.Run("refusals", c.testRefusals)
	t.Run("namespace admin", c.testNamespaceAdmin)
}

// testMissingKinds verifies that an installation that needs KEDA changes nothing in a
// cluster without it.
func (c *cluster) testMissingKinds(t *testing.T) {
	s := c.newSpace(t)
	if err := s.install(values(t, []string{"large"})); err == nil || !strings.Contains(err.Error(), `no matches for kind "ScaledObject"`) {
		t.Errorf("the installation ends with %v", err)
	}
	if d := s.deployments(t); len(d) > 0 {
		t.Errorf("there are deployments: %v", slices.Sorted(maps.Keys(d)))
	}
}

// testExamples verifies that the server accepts each example and its pods without a
// warning, in a namespace for restricted pods only. Another upgrade with the same values
// must change no object. Only the volume with the jobs survives the release.
func (c *cluster) testExamples(t *testing.T) {
	_, documented := kubernetesSection(t)
	all := map[string]map[string]any{"operations.md": documented}
	for _, example := range examples {
		all[example] = values(t, []string{example})
	}
	for example, v := range all {
		t.Run(example, func(t *testing.T) {
			s := c.newSpace(t)
			if example == "tls" { // It uses an account of the cluster.
				s.createAccount(t, "images")
			}
			must(t, s.install(v))
			s.createPods(t)
			before := s.versions(t)
			must(t, s.upgrade(v))
			if after := s.versions(t); !maps.Equal(before, after) {
				t.Errorf("an upgrade without changes changes the objects\n%v\nto\n%v", before, after)
			}
			if len(s.warnings.all) > 0 {
				t.Errorf("warnings: %q", s.warnings.all)
			}
			objects := slices.Sorted(maps.Keys(before))
			must(t, s.uninstall())
			left := slices.Sorted(maps.Keys(s.versions(t)))
			want := slices.DeleteFunc(objects, func(name string) bool { return !strings.HasPrefix(name, "PersistentVolumeClaim/") })
			if !slices.Equal(left, want) {
				t.Errorf("the release leaves %q, want %q", left, want)
			}
			must(t, s.install(v))
			for _, claim := range want {
				if s.versions(t)[claim] != before[claim] {
					t.Errorf("%s is another one", claim)
				}
			}
		})
	}
}

// testChanges verifies that an upgrade changes only the deployments that it must change,
// that a gateway on SQLite can become several on PostgreSQL, and that a rollback restores
// each deployment: as Helm 4 does it, which lets the server merge, and as Helm 3 does it.
func (c *cluster) testChanges(t *testing.T) {
	for _, server := range []bool{true, false} {
		t.Run(fmt.Sprintf("merged by the server %v", server), func(t *testing.T) {
			s := c.newSpace(t)
			s.onServer = server
			must(t, s.install(values(t, []string{"minimal"})))
			first := s.deployments(t)

			must(t, s.upgrade(values(t, []string{"minimal"}, "analyzer.env.CONCURRENCY=3")))
			for name, d := range s.deployments(t) {
				if changed := d.Generation != first[name].Generation; changed != strings.HasSuffix(name, "-analyzer") {
					t.Errorf("generation %d of %s, before %d", d.Generation, name, first[name].Generation)
				}
			}

			must(t, s.upgrade(values(t, []string{"minimal"}, "database.kind=postgres", "database.existingSecret=postgres", "gateway.replicas=2")))
			gateway := s.deployments(t)["try-imagebatch-gateway"]
			if *gateway.Spec.Replicas != 2 || gateway.Spec.Strategy.Type != apps.RollingUpdateDeploymentStrategyType || volume(gateway, "jobs") != nil {
				t.Errorf("on PostgreSQL, the gateway is %+v", gateway.Spec)
			}
			if _, err := c.client.CoreV1().PersistentVolumeClaims(s.name).Get(t.Context(), "try-imagebatch-gateway-jobs", meta.GetOptions{}); err != nil {
				t.Errorf("the jobs of SQLite are gone: %v", err)
			}

			must(t, s.rollback(1))
			for name, d := range s.deployments(t) {
				if !apiequality.Semantic.DeepEqual(d.Spec, first[name].Spec) {
					t.Errorf("the rollback leaves %+v, want %+v", d.Spec, first[name].Spec)
				}
			}
			if len(s.warnings.all) > 0 {
				t.Errorf("warnings: %q", s.warnings.all)
			}
		})
	}
}

// testScaling verifies that an upgrade keeps the number of replicas that KEDA has set, and
// that the server refuses one after another program has set the number of the chart.
func (c *cluster) testScaling(t *testing.T) {
	const name = "try-imagebatch-analyzer"
	s := c.newSpace(t)
	scaled := []string{"analyzer.autoscaling.enabled=true", "keda.existingSecret=management"}
	must(t, s.install(values(t, []string{"minimal"}, scaled...)))
	// KEDA creates it from the ScaledObject.
	_, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(s.name).Create(t.Context(), &autoscaling.HorizontalPodAutoscaler{
		ObjectMeta: meta.ObjectMeta{Name: "keda-hpa"},
		Spec: autoscaling.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			MaxReplicas:    10,
			Metrics: []autoscaling.MetricSpec{{Type: autoscaling.ExternalMetricSourceType, External: &autoscaling.ExternalMetricSource{
				Metric: autoscaling.MetricIdentifier{Name: "s0-rabbitmq-image_upload"},
				Target: autoscaling.MetricTarget{Type: autoscaling.AverageValueMetricType, AverageValue: new(resource.MustParse("100"))},
			}}},
		},
	}, meta.CreateOptions{})
	must(t, err)
	s.scale(t, name, 7)
	must(t, s.upgrade(values(t, []string{"minimal"}, append(scaled, "analyzer.env.CONCURRENCY=3")...)))
	if n := *s.deployments(t)[name].Spec.Replicas; n != 7 {
		t.Errorf("the upgrade sets %d replicas, want 7", n)
	}

	// docs/operations.md: without KEDA, the chart sets the number.
	s.scale(t, "try-imagebatch-processor", 5)
	v := values(t, []string{"minimal"}, scaled...)
	if err := s.upgrade(v); err == nil || !strings.Contains(err.Error(), ".spec.replicas") {
		t.Errorf("an upgrade after kubectl scale: %v", err)
	}
	s.force = true
	must(t, s.upgrade(v))
	if n := *s.deployments(t)["try-imagebatch-processor"].Spec.Replicas; n == 5 {
		t.Errorf("the forced upgrade keeps %d replicas", n)
	}
}

// testRefusals verifies that the server checks what the other tests rely on: unknown
// fields, and pods with privileges.
func (c *cluster) testRefusals(t *testing.T) {
	s := c.newSpace(t)
	err := s.install(values(t, []string{"minimal"}, "analyzer.affinity.nodeAfinity.a=b"))
	if err == nil || !strings.Contains(err.Error(), "nodeAfinity") {
		t.Errorf("a misspelled field: %v", err)
	}

	s = c.newSpace(t)
	must(t, s.install(values(t, []string{"minimal"}, "analyzer.extraVolumes[0].name=host", "analyzer.extraVolumes[0].hostPath.path=/")))
	if len(s.warnings.all) != 1 || !strings.Contains(s.warnings.all[0], "PodSecurity") {
		t.Errorf("a volume of the node: warnings %q", s.warnings.all)
	}
	if err := s.createPod(t, s.deployments(t)["try-imagebatch-analyzer"]); !apierrors.IsForbidden(err) {
		t.Errorf("a pod with a volume of the node: %v", err)
	}
}

// testNamespaceAdmin verifies that Helm needs no permissions outside the namespace.
func (c *cluster) testNamespaceAdmin(t *testing.T) {
	s := c.newSpace(t)
	// A controller would combine these roles into the role admin.
	for _, role := range []string{"admin", "edit", "view"} {
		_, err := c.client.RbacV1().RoleBindings(s.name).Create(t.Context(), &rbac.RoleBinding{
			ObjectMeta: meta.ObjectMeta{Name: role},
			Subjects:   []rbac.Subject{{Kind: rbac.UserKind, APIGroup: rbac.GroupName, Name: "anna"}},
			RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: "system:aggregate-to-" + role},
		}, meta.CreateOptions{})
		must(t, err)
	}
	s.user = "anna"
	must(t, s.install(values(t, []string{"minimal"})))
	must(t, s.upgrade(values(t, []string{"minimal"}, "processor.replicas=3")))
	must(t, s.rollback(1))
	must(t, s.uninstall())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cluster is an API server.
type cluster struct {
	config *rest.Config // of a user with all permissions
	client *kubernetes.Clientset
}

// startCluster starts etcd and kube-apiserver on loopback, and waits until they are ready.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("KUBECONFIG", filepath.Join(dir, "none"))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	keyFile := filepath.Join(dir, "accounts.key")
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	token, tokens := rand.Text(), filepath.Join(dir, "tokens.csv")
	must(t, os.WriteFile(tokens, []byte(token+",root,root,system:masters\n"), 0o600))

	etcd := "http://" + freeAddress(t)
	start(t, "TEST_ETCD", "--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd, "--listen-peer-urls=http://127.0.0.1:0")
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	must(t, err)
	certificates := filepath.Join(dir, "certificates")
	ended := start(t, "TEST_KUBE_APISERVER", "--etcd-servers="+etcd, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", "--secure-port="+port,
		"--cert-dir="+certificates, "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC", "--token-auth-file="+tokens,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-signing-key-file="+keyFile, "--service-account-key-file="+keyFile)

	config := &rest.Config{Host: "https://" + address, BearerToken: token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{
		CAFile: filepath.Join(certificates, "apiserver.crt"),
	}}
	deadline := time.Now().Add(5 * time.Minute)
	for {
		client, err := kubernetes.NewForConfig(config)
		if err == nil {
			_, err = client.RESTClient().Get().AbsPath("/readyz").DoRaw(t.Context())
		}
		if err == nil {
			return &cluster{config, client}
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		select {
		case <-ended:
			t.Fatal("the API server has ended")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// start starts the program that an environment variable names, and stops it at the end of
// the test. After a failure, it prints the end of its output. The channel is closed when
// the program ends.
func start(t *testing.T, variable string, args ...string) <-chan struct{} {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		t.Fatalf("set %s to the path of the program; `make kube-test` does", variable)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	cmd := exec.Command(program, args...) //nolint:noctx,gosec // Stopped below, with a signal.
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		<-ended
		kill.Stop()
		if t.Failed() {
			text := read(t, log.Name())
			t.Logf("%s:\n%s", program, text[max(0, len(text)-5000):])
		}
		log.Close()
	})
	return ended
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // Closed at once.
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// definitions are the files that define the resources of KEDA and of the Prometheus
// operator, by the module that contains them.
var definitions = map[string][]string{
	"github.com/kedacore/keda/v2": {
		"config/crd/bases/keda.sh_scaledobjects.yaml",
		"config/crd/bases/keda.sh_triggerauthentications.yaml",
	},
	"github.com/prometheus-operator/prometheus-operator": {
		"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
		"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
	},
}

// installCRDs installs the definitions.
func (c *cluster) installCRDs(t *testing.T) {
	t.Helper()
	var text strings.Builder
	for path, files := range definitions {
		out, err := exec.CommandContext(t.Context(), "go", "-C", "../tools/crds", "mod", "download", "-json", path).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var module struct{ Dir string }
		must(t, json.Unmarshal(out, &module))
		for _, file := range files {
			text.WriteString("\n---\n" + read(t, filepath.Join(module.Dir, file)))
		}
	}
	k := kube.New(c.getter(t, "default", "", nil))
	list, err := k.Build(strings.NewReader(text.String()), true)
	must(t, err)
	_, err = k.Create(list, kube.ClientCreateOptionServerSideApply(true, false))
	must(t, err)
	waiter, err := k.GetWaiter(kube.StatusWatcherStrategy)
	must(t, err)
	must(t, waiter.Wait(list, time.Minute))
}

// getter returns the configuration of a user for Helm. Without a name, the user has all
// permissions.
func (c *cluster) getter(t *testing.T, namespace, user string, w *warnings) genericclioptions.RESTClientGetter {
	t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	flags.CacheDir, flags.Namespace = new(t.TempDir()), &namespace
	flags.APIServer, flags.BearerToken, flags.CAFile = &c.config.Host, &c.config.BearerToken, &c.config.CAFile
	if user != "" {
		flags.Impersonate = &user
	}
	flags.WrapConfigFn = func(config *rest.Config) *rest.Config {
		config.QPS = -1
		if w != nil {
			config.WarningHandler = w
		}
		return config
	}
	return flags
}

// warnings collects the warnings of the server.
type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

// space is a namespace for restricted pods only, with one release.
type space struct {
	*cluster
	t        *testing.T
	name     string
	user     string
	onServer bool // the server merges changes
	force    bool // --force-conflicts
	warnings warnings
	manifest string // of the last revision
}

func (c *cluster) newSpace(t *testing.T) *space {
	t.Helper()
	n, err := c.client.CoreV1().Namespaces().Create(t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{
		GenerateName: "images-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"},
	}}, meta.CreateOptions{})
	must(t, err)
	return &space{cluster: c, t: t, name: n.Name, onServer: true}
}

func (s *space) helm() *action.Configuration {
	s.t.Helper()
	config := action.NewConfiguration()
	must(s.t, config.Init(s.getter(s.t, s.name, s.user, &s.warnings), s.name, "secret"))
	return config
}

func (s *space) install(v map[string]any) error {
	s.t.Helper()
	i := action.NewInstall(s.helm())
	i.ReleaseName, i.Namespace, i.WaitStrategy, i.ServerSideApply = "try", s.name, kube.HookOnlyStrategy, s.onServer
	r, err := i.RunWithContext(s.t.Context(), loadChart(s.t), v)
	if err == nil {
		s.manifest = r.(*release.Release).Manifest
	}
	return err
}

func (s *space) upgrade(v map[string]any) error {
	s.t.Helper()
	u := action.NewUpgrade(s.helm())
	u.Namespace, u.WaitStrategy, u.ForceConflicts = s.name, kube.HookOnlyStrategy, s.force
	r, err := u.RunWithContext(s.t.Context(), "try", loadChart(s.t), v)
	if err == nil {
		s.manifest = r.(*release.Release).Manifest
	}
	return err
}

func (s *space) rollback(revision int) error {
	s.t.Helper()
	r := action.NewRollback(s.helm())
	r.Version, r.WaitStrategy = revision, kube.HookOnlyStrategy
	return r.Run("try")
}

func (s *space) uninstall() error {
	s.t.Helper()
	u := action.NewUninstall(s.helm())
	u.WaitStrategy = kube.HookOnlyStrategy
	_, err := u.Run("try")
	return err
}

// versions returns the resource version of each object of the last revision that exists,
// of a claim its ID.
func (s *space) versions(t *testing.T) map[string]string {
	t.Helper()
	list, err := s.helm().KubeClient.Build(strings.NewReader(s.manifest), false)
	must(t, err)
	all := map[string]string{}
	for _, info := range list {
		if err := info.Get(); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		kind, version := info.Mapping.GroupVersionKind.Kind, info.ResourceVersion
		if kind == "PersistentVolumeClaim" { // The server stores a claim a second time, without a visible change.
			object, err := apimeta.Accessor(info.Object)
			must(t, err)
			version = string(object.GetUID())
		}
		all[kind+"/"+info.Name] = version
	}
	return all
}

func (s *space) deployments(t *testing.T) map[string]*apps.Deployment {
	t.Helper()
	list, err := s.client.AppsV1().Deployments(s.name).List(t.Context(), meta.ListOptions{})
	must(t, err)
	all := map[string]*apps.Deployment{}
	for i := range list.Items {
		all[list.Items[i].Name] = &list.Items[i]
	}
	return all
}

// createPods creates a pod of each deployment.
func (s *space) createPods(t *testing.T) {
	t.Helper()
	all := s.deployments(t)
	if len(all) < len(parts) {
		t.Errorf("got %d deployments", len(all))
	}
	for _, d := range all {
		if err := s.createPod(t, d); err != nil {
			t.Error(err)
		}
	}
}

func (s *space) createPod(t *testing.T, d *apps.Deployment) error {
	t.Helper()
	_, err := s.client.CoreV1().Pods(s.name).Create(t.Context(), &core.Pod{
		ObjectMeta: meta.ObjectMeta{GenerateName: d.Name + "-", Labels: d.Spec.Template.Labels, Annotations: d.Spec.Template.Annotations},
		Spec:       d.Spec.Template.Spec,
	}, meta.CreateOptions{FieldValidation: meta.FieldValidationStrict})
	return err
}

func (s *space) createAccount(t *testing.T, name string) {
	t.Helper()
	_, err := s.client.CoreV1().ServiceAccounts(s.name).Create(t.Context(), &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: name}}, meta.CreateOptions{})
	must(t, err)
}

// scale sets the number of replicas as an autoscaler and `kubectl scale` do.
func (s *space) scale(t *testing.T, name string, replicas int32) {
	t.Helper()
	scales := s.client.AppsV1().Deployments(s.name)
	scale, err := scales.GetScale(t.Context(), name, meta.GetOptions{})
	must(t, err)
	scale.Spec.Replicas = replicas
	_, err = scales.UpdateScale(t.Context(), name, scale, meta.UpdateOptions{FieldManager: "kubectl"})
	must(t, err)
}
