package helm

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/gateway/apikeys"
	"github.com/imagebatch/imagebatch/gateway/deadletters"
	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/tlstest"
)

// variables returns the names that a service reads, including `gateway dead-letters`.
func variables(part string) map[string]bool {
	names := map[string]bool{}
	for _, config := range map[string][]reflect.Type{
		"gateway":   {reflect.TypeFor[connect.Whole[gateway.Config]](), reflect.TypeFor[deadletters.Config]()},
		"analyzer":  {reflect.TypeFor[connect.Whole[analyzer.Config]]()},
		"processor": {reflect.TypeFor[connect.Whole[processor.Config]]()},
	}[program(part)] {
		for _, v := range service.Variables(config) {
			names[v.Name] = true
		}
	}
	return names
}

// TestNoUnknownVariables verifies that the service or the Go runtime reads every variable
// of the environment.
func TestNoUnknownVariables(t *testing.T) {
	each(t, func(t *testing.T, _ *manifests, part string, d *apps.Deployment) {
		known, seen := variables(part), map[string]bool{}
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			if name := e.Name; !known[name] && !known[strings.TrimSuffix(name, "_FILE")] && name != "GOMEMLIMIT" && name != "GODEBUG" {
				t.Errorf("%s is set, but not read", name)
			}
			if seen[e.Name] {
				t.Errorf("%s is set twice", e.Name)
			}
			seen[e.Name] = true
		}
	})
}

// owned are the variables that the chart sets from values with other names.
var owned = []string{
	"HTTP_ADDR", "METRICS_ADDR", "RABBITMQ_URL", "RABBITMQ_DECLARE", "TLS_CA_FILE", "DATA_DIR", "DATABASE_URL", "TLS_CERT_FILE", "TLS_KEY_FILE",
	"API_KEYS_FILE", "WEBHOOKS_FILE", "GATEWAY_API_KEY", "S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_REGION", "S3_BUCKET_ORIGINAL", "S3_BUCKET_PROCESSED",
	"S3_PREFIX_ORIGINAL", "S3_PREFIX_PROCESSED", "S3_PATH_STYLE", "S3_CREATE_BUCKETS",
	"ANALYZER_STEPS", "CAPTION_URL", "CAPTION_MODEL", "CAPTION_API_KEY",
}

// platform are the variables of a role, which the platform adds to the pod.
var platform = []string{
	"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
}

// secret are the variables that extraEnv accepts only from a Secret.
var secret = []string{"OTEL_EXPORTER_OTLP_HEADERS"}

// TestEveryVariableCanBeSet verifies that the schema accepts under a service's `env`
// exactly the variables of the service, except those that the chart sets itself, and that
// the chart sets those if every value is specified.
func TestEveryVariableCanBeSet(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Properties struct {
				Env struct{ Properties map[string]any }
			}
		}
	}
	var ofAll struct {
		Properties struct {
			Env struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(loadChart(t).Schema, &schema); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(loadChart(t).Schema, &ofAll); err != nil {
		t.Fatal(err)
	}
	all := ofAll.Properties.Env.Properties
	set := map[string]bool{}
	for _, given := range [][]string{{"tls"}, {"large"}} {
		for _, d := range install(t, given, "s3.existingSecret=s3").deployments {
			for _, e := range d.Spec.Template.Spec.Containers[0].Env {
				set[e.Name], set[strings.TrimSuffix(e.Name, "_FILE")] = true, true
			}
		}
	}
	for _, part := range append([]string{"captioner"}, parts...) {
		may := schema.Properties[part].Properties.Env.Properties
		known := variables(part)
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if slices.Contains(platform, name) || slices.Contains(secret, name) {
				continue
			}
			switch isOwned := slices.Contains(owned, name); {
			case isOwned && !set[name]:
				t.Errorf("%s: the chart does not set %s", part, name)
			case !isOwned && may[name] == nil:
				t.Errorf("%s: the schema has no %s.env.%s", part, part, name)
			}
			delete(may, name)
		}
		for name := range may {
			t.Errorf("the schema has %s.env.%s, which the service does not read", part, name)
		}
		for name := range all {
			if schema.Properties[part].Properties.Env.Properties[name] == nil && !known[name] {
				t.Errorf("the schema has env.%s, which the %s does not read", name, part)
			}
		}
	}
}

// TestServicesAcceptTheirConfiguration verifies that each service accepts the environment
// and the files of its pod.
func TestServicesAcceptTheirConfiguration(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	certificate, key := authority.Issue()
	for name, given := range map[string]struct {
		files, set []string
	}{
		"minimal": {files: []string{"minimal"}},
		"large":   {files: []string{"large"}},
		"tls":     {files: []string{"tls"}},
		"by hand": {[]string{"minimal"}, []string{
			"gateway.env.MAX_IMAGE_BYTES=1073741824", "gateway.env.MAX_OPEN_IMAGES=12345678", "gateway.env.KEY_UPLOAD_BYTES_PER_MINUTE=2000000000000",
			"analyzer.env.MAX_PIXEL_BYTES=268435456", "captions.url=http://ollama.ai.svc:11434/v1", "captions.model=gemma3:4b", "analyzer.env.CAPTION_REQUESTS_PER_DAY=1000000", "processor.env.EMBED_SIGNED=true", "s3.pathStyle=false", "gateway.env.CONCURRENCY=0",
		}},
	} {
		for _, d := range install(t, given.files, given.set...).deployments {
			part := d.Labels["app.kubernetes.io/component"]
			t.Run(name+"/"+part, func(t *testing.T) {
				environ := asInPod(t, d, map[string]string{
					"RABBITMQ_URL": "amqp://user:secret@a/,amqp://user:secret@b/", "S3_ACCESS_KEY": "key", "S3_SECRET_KEY": "secret", "CAPTION_API_KEY": "sk-secret",
					"DATABASE_URL": "postgres://user:secret@db/jobs", "GATEWAY_API_KEY": "ib_secret", "api-keys": apiKey(t), "webhooks": "https://example.com/ whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "ca.crt": string(authority.PEM()),
					"tls.crt": string(certificate), "tls.key": string(key),
				})
				var err error
				switch part {
				case "gateway":
					_, err = connect.Load[gateway.Config](environ)
					if err == nil {
						_, err = service.Load(environ, func(*deadletters.Config) error { return nil })
					}
				case "analyzer", "captioner":
					_, err = connect.Load[analyzer.Config](environ)
				case "processor":
					_, err = connect.Load[processor.Config](environ)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// asInPod writes the files of the projected volume to a temporary folder and returns the
// environment with their paths there.
func asInPod(t *testing.T, d *apps.Deployment, contents map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for _, source := range volume(d, "secrets").Projected.Sources {
		var items []core.KeyToPath
		if source.Secret != nil {
			items = source.Secret.Items
		} else {
			items = source.ConfigMap.Items
		}
		for _, item := range items {
			content, known := contents[item.Path]
			if !known || item.Key == "" {
				t.Fatalf("unexpected file %s of the key %q", item.Path, item.Key)
			}
			if err := os.WriteFile(filepath.Join(dir, item.Path), []byte(content+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := d.Spec.Template.Spec.Containers[0]
	at := ""
	for _, m := range c.VolumeMounts {
		if m.Name == "secrets" && m.ReadOnly {
			at = m.MountPath
		}
	}
	var environ []string
	for _, e := range c.Env {
		environ = append(environ, e.Name+"="+strings.Replace(e.Value, at, dir, 1))
	}
	return environ
}

func apiKey(t *testing.T) string {
	t.Helper()
	var out, errs strings.Builder
	if apikeys.Main([]string{"new", "anna"}, &out, &errs) != 0 {
		t.Fatal(errs.String())
	}
	_, line, _ := strings.Cut(out.String(), "line: ")
	return line
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestVariables checks single variables: numbers have no exponent, a service's own value
// overrides the common one, and false is passed on.
func TestVariables(t *testing.T) {
	r := install(t, []string{"large"}, "env.LOG_LEVEL=warn", "processor.env.LOG_LEVEL=debug", "gateway.env.KEY_SOCKETS=0", "gateway.env.CONCURRENCY=0")
	for part, want := range map[string]map[string]string{
		"gateway": {
			"MAX_OPEN_IMAGES": "1000000", "MAX_IMAGE_BYTES": "20971520", "LOG_LEVEL": "warn", "S3_PATH_STYLE": "false", "DRAIN_DELAY": "5s", "KEY_SOCKETS": "0",
			"CONCURRENCY": "0", "GOMEMLIMIT": "966367641", "DATABASE_URL_FILE": "/run/secrets/imagebatch/DATABASE_URL", "DATA_DIR": "", "S3_ACCESS_KEY_FILE": "",
			"OTEL_TRACES_SAMPLER_ARG": "0.1", "TLS_CA_FILE": "/run/secrets/imagebatch/ca.crt", "API_KEYS_FILE": "/run/secrets/imagebatch/api-keys",
			"WEBHOOKS_FILE": "/run/secrets/imagebatch/webhooks", "CAPTION_URL": "https://api.example.com/v1", "CAPTION_MODEL": "large,small", "CAPTION_API_KEY_FILE": "",
			"ANALYZER_STEPS": "",
		},
		"analyzer": {
			"CONCURRENCY": "4", "METADATA_GPS": "coarse", "LOG_LEVEL": "warn", "DATABASE_URL_FILE": "", "API_KEYS_FILE": "", "DRAIN_DELAY": "",
			"ANALYZER_STEPS": "describe", "CAPTION_URL": "https://api.example.com/v1", "CAPTION_API_KEY_FILE": "", "CAPTION_CONCURRENCY": "8",
		},
		// It asks in the same way as the analyzers, and its own values override theirs.
		"captioner": {
			"ANALYZER_STEPS": "caption", "CAPTION_URL": "https://api.example.com/v1", "CAPTION_MODEL": "large,small", "CAPTION_LANGUAGE": "de", "LOG_LEVEL": "debug",
			"CAPTION_API_KEY_FILE": "/run/secrets/imagebatch/CAPTION_API_KEY", "CAPTION_CONCURRENCY": "8", "METADATA_GPS": "coarse",
		},
		"processor": {"CAPTION_URL": "", "STRIP_GPS": "true", "EMBED_SIGNED": "false", "LOG_LEVEL": "debug", "GOMEMLIMIT": "483183820"},
	} {
		got := literals(r.deployments["try-imagebatch-"+part].Spec.Template.Spec.Containers[0])
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %q, want %q", part, name, got[name], value)
			}
		}
	}
	// Without captioners, the analyzers run both steps.
	both := literals(install(t, []string{"minimal"}, "captions.url=http://ollama:11434/v1", "captions.model=m", "captions.existingSecret=s").deployments["try-imagebatch-analyzer"].Spec.Template.Spec.Containers[0])
	if both["ANALYZER_STEPS"] != "" || both["CAPTION_URL"] == "" || both["CAPTION_API_KEY_FILE"] == "" {
		t.Errorf("the analyzers have %v", both)
	}
	// The gateway shows clients the size of the pods that ask the model.
	for set, want := range map[string]string{
		"analyzer.env.CAPTION_PIXELS=512": "512", "captioner.env.CAPTION_PIXELS=640": "640", "gateway.env.CAPTION_PIXELS=896": "896", "captioner.enabled=true": "",
	} {
		if got := literals(install(t, []string{"large"}, set).deployments["try-imagebatch-gateway"].Spec.Template.Spec.Containers[0])["CAPTION_PIXELS"]; got != want {
			t.Errorf("with %s the gateway has CAPTION_PIXELS=%s, want %q", set, got, want)
		}
	}
	if got := literals(install(t, []string{"minimal"}, "analyzer.env.CAPTION_PIXELS=512").deployments["try-imagebatch-gateway"].Spec.Template.Spec.Containers[0])["CAPTION_PIXELS"]; got != "" {
		t.Errorf("without captions the gateway has CAPTION_PIXELS=%s", got)
	}
	for limit, want := range map[string]string{"2Gi": "1932735283", "512M": "460800000", "1073741824": "966367641", "1.5Gi": ""} {
		r := install(t, []string{"minimal"}, "processor.resources.limits.memory="+limit)
		if got := literals(r.deployments["try-imagebatch-processor"].Spec.Template.Spec.Containers[0])["GOMEMLIMIT"]; got != want {
			t.Errorf("with a limit of %s GOMEMLIMIT is %q, want %q", limit, got, want)
		}
	}
}

// TestEachServiceMayHaveItsOwnSecrets verifies which Secret each file comes from.
func TestEachServiceMayHaveItsOwnSecrets(t *testing.T) {
	r := install(t, []string{"tls"})
	for part, want := range map[string][]string{
		"gateway":   {"rabbitmq-gateway/amqps", "s3-gateway/access-key", "s3-gateway/secret-key", "authorities/ca.crt", "gateway-tls/tls.crt", "gateway-tls/tls.key"},
		"analyzer":  {"rabbitmq-analyzer/url", "s3-analyzer/id", "s3-analyzer/key", "authorities/ca.crt"},
		"processor": {"rabbitmq/url", "s3/access-key", "s3/secret-key", "authorities/ca.crt"},
	} {
		var got []string
		for _, s := range volume(r.deployments["images-"+part], "secrets").Projected.Sources {
			for _, item := range s.Secret.Items {
				got = append(got, s.Secret.Name+"/"+item.Key)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", part, got, want)
		}
	}
	for _, e := range r.deployments["images-gateway"].Spec.Template.Spec.Containers[0].Env {
		if e.Name == "GOMEMLIMIT" && e.Value != "700MiB" {
			t.Errorf("GOMEMLIMIT=%s overrides extraEnv", e.Value)
		}
	}
}
