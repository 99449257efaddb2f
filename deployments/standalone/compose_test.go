package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
)

// loadCompose reads compose.yaml as Compose itself does, with all its profiles.
func loadCompose(t *testing.T, env ...string) *types.Project {
	t.Helper()
	return loadProfiles(t, []string{"*"}, env...)
}

func loadProfiles(t *testing.T, profiles []string, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../../compose.yaml"}, cli.WithEnv(env), cli.WithProfiles(profiles))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestCompose verifies that compose.yaml sets only variables that the services read, and
// that it isolates the containers from their host.
func TestCompose(t *testing.T) {
	project := loadCompose(t)
	known := map[string]bool{"GOMEMLIMIT": true}
	for _, part := range []reflect.Type{reflect.TypeFor[config](), reflect.TypeFor[connect.Config]()} {
		for _, v := range service.Variables(part) {
			known[v.Name] = true
		}
	}
	for _, name := range []string{"gateway", "gateway-2", "analyzer", "processor"} {
		s, err := project.GetService(name)
		if err != nil {
			t.Fatal(err)
		}
		program := strings.TrimSuffix(name, "-2")
		for variable := range s.Environment {
			if !known[variable] {
				t.Errorf("%s: no service reads %s", name, variable)
			}
		}
		if s.HealthCheck == nil || strings.Join(s.HealthCheck.Test, " ") != "CMD /service health" || !slices.Equal(s.Tmpfs, []string{"/tmp"}) {
			t.Errorf("%s: health check %v, writes to %v", name, s.HealthCheck, s.Tmpfs)
		}
		if grace := s.StopGracePeriod; grace == nil || time.Duration(*grace) <= service.DrainTime {
			t.Errorf("%s is killed after %v, but a drain may take %s", name, grace, service.DrainTime)
		}
		if _, ok := s.DependsOn["rabbitmq"]; !ok || s.Image != "imagebatch/"+program {
			t.Errorf("%s: depends on %v, runs %s", name, s.DependsOn, s.Image)
		}
		// The second gateway runs the image that the first one builds.
		if name == "gateway-2" {
			if s.Build != nil || s.PullPolicy != types.PullPolicyNever {
				t.Errorf("%s: built by %v, pulled %s", name, s.Build, s.PullPolicy)
			}
			continue
		}
		if s.Build == nil || *s.Build.Args["SERVICE"] != program {
			t.Errorf("%s: built by %v", name, s.Build)
			continue
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Error(err)
		}
	}
	for name, s := range project.Services {
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes port %s to the network", name, p.Published)
			}
		}
		if s.Build == nil && s.PullPolicy != types.PullPolicyNever && (!strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest")) {
			t.Errorf("%s runs %s, which is not pinned", name, s.Image)
		}
		if s.ContainerName != "" {
			t.Errorf("%s has the container name %s, so it cannot be scaled", name, s.ContainerName)
		}
	}
	for _, other := range []string{"rabbitmq", "minio", "versitygw", "prometheus", "grafana"} {
		if _, err := project.GetService(other); err != nil {
			t.Error(err)
		}
	}
	if minio, err := loadCompose(t, "MINIO_SCALE=0").GetService("minio"); err != nil || minio.GetScale() != 0 {
		t.Errorf("with MINIO_SCALE=0, MinIO has the scale %d, %v", minio.GetScale(), err)
	}
}

// TestContainersAreIsolated verifies that no container has a capability or can change its
// file system, and that its memory and its log are bounded.
func TestContainersAreIsolated(t *testing.T) {
	goPrograms := []string{"gateway", "gateway-2", "analyzer", "processor", "minio", "versitygw", "jaeger", "prometheus", "grafana"}
	for name, s := range loadCompose(t).Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: read-only %v, dropped %v, added %v, security options %v", name, s.ReadOnly, s.CapDrop, s.CapAdd, s.SecurityOpt)
		}
		if s.Privileged || s.NetworkMode == "host" || s.Pid != "" || s.Ipc != "" || !slices.Contains(s.Tmpfs, "/tmp") {
			t.Errorf("%s: privileged %v, network %q, processes of %q, memory of %q, writes to %v", name, s.Privileged, s.NetworkMode, s.Pid, s.Ipc, s.Tmpfs)
		}
		if s.Restart != types.RestartPolicyUnlessStopped {
			t.Errorf("%s restarts %q", name, s.Restart)
		}
		if s.Logging == nil || s.Logging.Driver != "json-file" || s.Logging.Options["max-size"] != "10m" || s.Logging.Options["max-file"] != "3" {
			t.Errorf("%s: the log is %+v", name, s.Logging)
		}
		if s.MemLimit <= 0 {
			t.Errorf("%s has no memory limit", name)
		}
		if slices.Contains(goPrograms, name) {
			var limit types.UnitBytes
			if value := s.Environment["GOMEMLIMIT"]; value == nil {
				t.Errorf("%s has no GOMEMLIMIT", name)
			} else if err := limit.DecodeMapstructure(strings.ReplaceAll(*value, "iB", "b")); err != nil || limit < s.MemLimit*88/100 || limit > s.MemLimit*91/100 {
				t.Errorf("%s: GOMEMLIMIT is %s with a memory limit of %d, %v", name, *value, s.MemLimit, err)
			}
		}
	}
}

// TestBrokerKnowsItsMemory verifies that RabbitMQ, which reads the memory of the machine,
// gets the memory limit of its container.
func TestBrokerKnowsItsMemory(t *testing.T) {
	broker, err := loadCompose(t).GetService("rabbitmq")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("-rabbit total_memory_available_override_value %d", broker.MemLimit); *broker.Environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] != want {
		t.Errorf("RabbitMQ gets %q, want %q", *broker.Environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"], want)
	}
}

// TestResourceAttributes verifies that the attributes that the docker command sets for its
// plugins do not reach the services, and that ours do.
func TestResourceAttributes(t *testing.T) {
	for _, s := range loadCompose(t, "OTEL_RESOURCE_ATTRIBUTES=docker.cli.cobra.command_path=docker", "IMAGEBATCH_RESOURCE_ATTRIBUTES=a=b").Services {
		if got := s.Environment["OTEL_RESOURCE_ATTRIBUTES"]; got != nil && *got != "a=b" {
			t.Errorf("%s has the attributes %q", s.Name, *got)
		}
	}
}

// TestImagesDoNotRunAsRoot verifies that our container images do not run as root.
func TestImagesDoNotRunAsRoot(t *testing.T) {
	for _, file := range []string{"../Dockerfile", "../minio/Dockerfile"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		last := string(text)[max(0, strings.LastIndex(string(text), "\nFROM ")):]
		if !strings.Contains(last, "\nUSER 65532:65532\n") {
			t.Errorf("%s: the last stage runs as root", file)
		}
	}
}

// TestImagesBuildAlone follows the steps of the Dockerfile. It verifies that each service
// builds as a static binary from only shared/ and its own folder.
func TestImagesBuildAlone(t *testing.T) {
	t.Parallel()
	if !strings.Contains(string(readFile(t, "../Dockerfile")), "-X "+base+"shared/buildinfo.commit=${COMMIT}") {
		t.Error("the Dockerfile does not set the commit")
	}
	for _, name := range []string{"gateway", "analyzer", "processor"} {
		src := t.TempDir()
		for _, part := range []string{"shared", name} {
			if err := os.CopyFS(filepath.Join(src, part), os.DirFS(filepath.Join("..", "..", part))); err != nil {
				t.Fatal(err)
			}
		}
		binary := filepath.Join(src, "service")
		build := exec.CommandContext(t.Context(), "go", "-C", filepath.Join(src, name), "build", "-ldflags=-s -w -X "+base+"shared/buildinfo.commit=c0ffee", "-o", binary, "./cmd/"+name) //nolint:gosec // Our own folders.
		build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=-trimpath -tags=grpcnotrace")
		if out, err := build.CombinedOutput(); err != nil {
			t.Errorf("build %s alone: %v\n%s", name, err, out)
			continue
		}
		run := exec.CommandContext(t.Context(), binary, "version") //nolint:gosec // The test built it.
		if out, err := run.Output(); err != nil || !strings.HasPrefix(string(out), name+" ") || !strings.Contains(string(out), "\ncommit:   c0ffee\n") {
			t.Errorf("%s version: %q, %v", name, out, err)
		}
		if out, err := exec.CommandContext(t.Context(), "go", "version", "-m", binary).Output(); err != nil || !strings.Contains(string(out), "CGO_ENABLED=0") { //nolint:gosec // The test built it.
			t.Errorf("%s is not static: %v\n%s", name, err, out)
		}
	}
}
