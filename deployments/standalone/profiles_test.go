package main

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/shared/service"
)

// dryRun returns the commands of `make up` with these settings.
func dryRun(t *testing.T, settings ...string) []string {
	t.Helper()
	need(t, "make", "--version")
	arguments := append([]string{"-C", "../..", "--no-print-directory", "--dry-run", "up"}, settings...)
	cmd := exec.CommandContext(t.Context(), "make", arguments...) //nolint:gosec // The settings are ours.
	// Clear the settings of the `make test` that runs this test.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "PROFILE=", "S3=", "SCALE=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// up returns what `make up` with these settings passes to the `up` of Compose: the
// environment, the profiles, and the services to scale.
func up(t *testing.T, settings ...string) (env, profiles, scale []string) {
	t.Helper()
	commands := dryRun(t, settings...)
	i := slices.IndexFunc(commands, func(c string) bool { return strings.Contains(c, " up --") })
	if i < 0 {
		t.Fatalf("no command starts the services: %q", commands)
	}
	// The shell expands the variables and prints the arguments of the command.
	command := strings.Replace(commands[i], "docker compose", `sh -c 'env; echo; echo "$@"' compose`, 1)
	shell := exec.CommandContext(t.Context(), "env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", command) //nolint:gosec // The command is from our Makefile.
	shown, err := shell.Output()
	if err != nil {
		t.Fatalf("%v in %s", err, command)
	}
	variables, rest, _ := strings.Cut(string(shown), "\n\n")
	for line := range strings.Lines(variables + "\n") {
		if name, _, _ := strings.Cut(line, "="); name != "PATH" && name != "PWD" && name != "_" {
			env = append(env, strings.TrimSpace(line))
		}
	}
	words := strings.Fields(rest)
	for i, w := range words {
		switch w {
		case "--profile":
			profiles = append(profiles, words[i+1])
		case "--scale":
			scale = append(scale, words[i+1])
		}
	}
	return env, profiles, scale
}

// TestProfiles verifies which services each profile of `make up` starts, and the
// configuration of the gateways.
func TestProfiles(t *testing.T) {
	always := []string{"analyzer", "gateway", "grafana", "minio", "processor", "prometheus", "rabbitmq"}
	const onPostgres = "postgres://imagebatch:imagebatch@postgres:5432/imagebatch"
	for _, c := range []struct {
		settings []string
		more     []string
		database string
		traces   string
		captions string
	}{
		{nil, nil, "", "", ""},
		{[]string{"PROFILE=postgres"}, []string{"postgres"}, onPostgres, "", ""},
		{[]string{"PROFILE=gateways"}, []string{"gateway-2", "postgres"}, onPostgres, "", ""},
		{[]string{"PROFILE=tracing"}, []string{"jaeger"}, "", "http://jaeger:4318", ""},
		{[]string{"PROFILE=captions"}, []string{"ollama"}, "", "", "http://ollama:11434/v1 gemma3:4b"},
		{[]string{"S3=versitygw"}, []string{"versitygw"}, "", "", ""},
		{[]string{"PROFILE=gateways,tracing,captions", "S3=versitygw"}, []string{"gateway-2", "jaeger", "ollama", "postgres", "versitygw"}, onPostgres, "http://jaeger:4318", "http://ollama:11434/v1 gemma3:4b"},
	} {
		t.Run(strings.Join(c.settings, " "), func(t *testing.T) {
			env, profiles, _ := up(t, c.settings...)
			project := loadProfiles(t, profiles, env...)
			if got, want := slices.Sorted(maps.Keys(project.Services)), slices.Sorted(slices.Values(append(c.more, always...))); !slices.Equal(got, want) {
				t.Errorf("got the services %q, want %q", got, want)
			}
			for name, s := range project.Services {
				if program := strings.TrimSuffix(name, "-2"); program == "gateway" {
					if got := *s.Environment["DATABASE_URL"]; got != c.database {
						t.Errorf("%s uses the database %q, want %q", name, got, c.database)
					}
				} else if name != "analyzer" && name != "processor" {
					continue
				}
				if name != "processor" {
					if got := strings.TrimSpace(*s.Environment["CAPTION_URL"] + " " + *s.Environment["CAPTION_MODEL"]); got != c.captions {
						t.Errorf("%s has captions by %q, want %q", name, got, c.captions)
					}
				}
				if s.Build == nil {
					continue
				}
				if got := *s.Build.Args["COMMIT"]; !slices.Contains(env, "COMMIT="+got) || len(got) != 40 {
					t.Errorf("%s is built of the commit %q", name, got)
				}
				if got := *s.Environment["OTEL_EXPORTER_OTLP_ENDPOINT"]; got != c.traces {
					t.Errorf("%s sends its traces to %q, want %q", name, got, c.traces)
				}
				if minio, err := project.GetService("minio"); err != nil || (minio.GetScale() == 0) != slices.Contains(c.more, "versitygw") {
					t.Errorf("MinIO has the scale %d, %v", minio.GetScale(), err)
				}
			}
		})
	}
}

// TestUnwantedServices verifies that `make up` first removes the services that its profiles
// do not have, and no others, that it builds MinIO only if it starts it, and that RabbitMQ
// belongs to the job store of the profile at the end.
func TestUnwantedServices(t *testing.T) {
	all := slices.Sorted(maps.Keys(loadCompose(t).Services))
	for _, settings := range [][]string{
		nil, {"PROFILE=postgres"}, {"PROFILE=gateways"}, {"PROFILE=tracing"}, {"PROFILE=captions"}, {"S3=versitygw"}, {"PROFILE=gateways,tracing,captions", "S3=versitygw"},
	} {
		commands := dryRun(t, settings...)
		rest, ok := strings.CutPrefix(commands[0], `docker compose rm --stop --force `)
		if !ok {
			t.Fatalf("make up %q starts with %s", settings, commands[0])
		}
		env, profiles, _ := up(t, settings...)
		started := loadProfiles(t, profiles, env...).Services
		var unwanted []string
		for _, name := range all {
			if s, ok := started[name]; !ok || s.GetScale() == 0 {
				unwanted = append(unwanted, name)
			}
		}
		if got := slices.Sorted(slices.Values(strings.Fields(rest))); !slices.Equal(got, unwanted) {
			t.Errorf("make up %q removes %q, want %q", settings, got, unwanted)
		}
		builds, wanted := strings.Join(commands[1:], "\n"), "up --build "
		if slices.Contains(unwanted, "minio") {
			wanted = "build gateway analyzer processor\n"
		}
		if !strings.Contains(builds, wanted) || strings.Contains(builds, "up --build ") == slices.Contains(unwanted, "minio") {
			t.Errorf("make up %q builds by\n%s", settings, builds)
		}
		if pull := strings.Index(builds, ` exec -T ollama ollama pull "${CAPTION_MODEL:-gemma3:4b}"`); slices.Contains(unwanted, "ollama") != (pull < 0) || pull > strings.Index(builds, " up --") {
			t.Errorf("make up %q does not download the model before the start, or does it without the profile:\n%s", settings, builds)
		}
		if !strings.HasSuffix(builds, " exec -T gateway /service take-over") {
			t.Errorf("make up %q ends with\n%s", settings, builds)
		}
	}
}

// TestSecondGatewayNeedsPostgres verifies that the second gateway does not start with a
// database of its own if there is no common one.
func TestSecondGatewayNeedsPostgres(t *testing.T) {
	second, err := loadProfiles(t, []string{"gateways"}).GetService("gateway-2")
	if err != nil {
		t.Fatal(err)
	}
	_, err = service.Load([]string{"DATABASE_URL=" + *second.Environment["DATABASE_URL"]}, func(c *gateway.Config) error {
		_, err := c.Complete()
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("configuration of the second gateway: %v, want an error about DATABASE_URL", err)
	}
	if len(second.Volumes) != 0 {
		t.Errorf("the second gateway has the volumes %v", second.Volumes)
	}
}

// TestScaling verifies that Compose can start any number of analyzers and processors, and
// that Prometheus scrapes each of them and both gateways.
func TestScaling(t *testing.T) {
	if _, _, scale := up(t, "SCALE=analyzer=4 processor=2"); !slices.Equal(scale, []string{"analyzer=4", "processor=2"}) {
		t.Errorf("the scale arguments for Compose are %q", scale)
	}
	var config struct {
		Scrapes []struct {
			Job  string `yaml:"job_name"`
			Path string `yaml:"metrics_path"`
			DNS  []struct {
				Names []string
				Type  string
				Port  string
			} `yaml:"dns_sd_configs"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(readFile(t, "../prometheus/prometheus.yml"), &config); err != nil {
		t.Fatal(err)
	}
	project := loadCompose(t)
	found := map[string]bool{}
	for _, scrape := range config.Scrapes {
		for _, static := range scrape.Static {
			for _, target := range static.Targets {
				host, _, _ := strings.Cut(target, ":")
				if _, err := project.GetService(host); err != nil {
					t.Errorf("Prometheus scrapes %s: %v", target, err)
				}
				found[host+scrape.Path] = true
			}
		}
		for _, dns := range scrape.DNS {
			// Each container of a service has an A record.
			if len(dns.Names) != 1 || dns.Names[0] != scrape.Job || dns.Type != "A" {
				t.Errorf("the discovery of %s is %+v", scrape.Job, dns)
			}
			for name, s := range project.Services {
				if !hasName(s, name, scrape.Job) {
					continue
				}
				if addr := *s.Environment["HTTP_ADDR"]; addr != ":"+dns.Port {
					t.Errorf("Prometheus scrapes %s on port %s, but it listens on %s", name, dns.Port, addr)
				}
				found[name] = true
			}
		}
	}
	for _, name := range []string{"gateway", "gateway-2", "analyzer", "processor", "rabbitmq", "rabbitmq/metrics/detailed"} {
		if !found[name] {
			t.Errorf("Prometheus does not scrape %s", name)
		}
	}
	for _, name := range []string{"analyzer", "processor"} {
		if s, err := project.GetService(name); err != nil || len(s.Ports) > 0 || len(s.Volumes) > 0 {
			t.Errorf("%s has ports %v and volumes %v, so it cannot be scaled", name, s.Ports, s.Volumes)
		}
	}
}

// hasName reports whether a service has that name in the network.
func hasName(s types.ServiceConfig, name, host string) bool {
	if name == host {
		return true
	}
	for _, network := range s.Networks {
		if network != nil && slices.Contains(network.Aliases, host) {
			return true
		}
	}
	return false
}
