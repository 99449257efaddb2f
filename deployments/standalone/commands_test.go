package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/buildinfo"
)

// command runs a program with arguments and returns its output and its exit code.
func command(t *testing.T, env []string, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, name), args...) //nolint:gosec // The binary is ours.
	cmd.Env = env
	cmd.Dir = t.TempDir()
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

var programs = []string{"gateway", "analyzer", "processor", "standalone"}

// TestConfigCommand verifies what each program prints of its configuration: every variable
// of its tables in docs/configuration.md in their order, no secret, in a format that a
// shell can read and that results in the same configuration.
func TestConfigCommand(t *testing.T) {
	t.Parallel()
	tables := map[string][]string{
		"gateway": {"all services", "traces", "servers", "gateway"}, "analyzer": {"all services", "traces", "servers", "analyzer", "captions"},
		"processor": {"all services", "traces", "servers", "processor"}, "standalone": {"all services", "traces", "TLS_CA_FILE", "gateway", "analyzer", "captions", "processor"},
	}
	doc := string(readFile(t, configuration))
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hu5h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"LOG_LEVEL=warn", "CONCURRENCY=5", "S3_ACCESS_KEY=anna", "S3_SECRET_KEY_FILE=" + secret, "RABBITMQ_URL=amqp://anna:hu5h@a/,amqp://anna:hu5h@b/",
		"DATABASE_URL=postgres://anna:hu5h@host/jobs?password=hu5h", "DOWNLOAD_ALLOW_NETWORKS=10.0.0.0/8,192.168.0.0/16", "JOB_RETENTION=90m",
	}
	for _, name := range programs {
		var want []string
		for _, table := range tables[name] {
			_, rest, ok := strings.Cut(doc, "<!-- variables: "+table+" -->")
			if !ok {
				want = append(want, table) // a single variable instead of a table
			}
			text, _, _ := strings.Cut(rest, "<!-- end -->")
			for _, cell := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(text, -1) {
				for variable := range strings.SplitSeq(cell[1], ", ") {
					if variable = strings.Trim(variable, "`"); !slices.Contains(want, variable) {
						want = append(want, variable)
					}
				}
			}
		}
		out, errOut, code := command(t, env, name, "config")
		var got []string
		for line := range strings.Lines(out) {
			variable, _, _ := strings.Cut(strings.TrimPrefix(line, "# "), "=")
			got = append(got, variable)
		}
		if code != 0 || errOut != "" || !slices.Equal(got, want) {
			t.Errorf("%s config exits with %d and prints\n%q, want\n%q\n%s", name, code, got, want, errOut)
		}
		if strings.Contains(out, "hu5h") || !regexp.MustCompile(`(?m)^LOG_LEVEL=warn +# environment$`).MatchString(out) ||
			name != "standalone" && !strings.Contains(out, "# file "+secret) {
			t.Errorf("%s config prints\n%s", name, out)
		}
		if name == "gateway" {
			// A database URL without its password could not be read back.
			env = append(env, "DATABASE_URL=sqlite:x.db")
			out, _, _ = command(t, env, name, "config")
		}
		dir, _ := binaries()
		shell := exec.CommandContext(t.Context(), "bash", "-euc", `set -a; . /dev/stdin; exec "$0" config`, filepath.Join(dir, name)) //nolint:gosec // The binary is ours.
		shell.Env, shell.Stdin = []string{"PATH=" + os.Getenv("PATH"), "S3_SECRET_KEY=another"}, strings.NewReader(out)
		again, err := shell.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, again)
		}
		if before, after := whole(out), whole(string(again)); before != after {
			t.Errorf("%s: when the shell reads\n%sthe configuration is\n%s", name, before, after)
		}
	}
}

// whole returns the assignments without the comments.
func whole(config string) string {
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(config, "")
	return regexp.MustCompile(`(?m) +# .*$`).ReplaceAllString(text, "")
}

// TestCommandErrors verifies that each program exits with 2 for an invalid configuration or
// argument, and reports all errors together.
func TestCommandErrors(t *testing.T) {
	t.Parallel()
	for _, name := range programs {
		_, errOut, code := command(t, []string{"LOG_LEVEL=loud", "CONCURRENCY=-1", "METRICS_ADDR=:1", "METRICS_ADDR_FILE=/x"}, name, "config")
		if code != 2 || !strings.Contains(errOut, "LOG_LEVEL") || !strings.Contains(errOut, "CONCURRENCY") || !strings.Contains(errOut, "METRICS_ADDR_FILE") {
			t.Errorf("%s config exits with %d and prints\n%s", name, code, errOut)
		}
		for _, args := range [][]string{{"confg"}, {"config", "all"}, {"version", "-v"}} {
			if _, errOut, code := command(t, nil, name, args...); code != 2 || !strings.Contains(errOut, name+" config") {
				t.Errorf("%s %q exits with %d and prints\n%s", name, args, code, errOut)
			}
		}
	}
}

// TestVersionCommand verifies that each program prints its build information, and that its
// metrics contain the version.
func TestVersionCommand(t *testing.T) {
	t.Parallel()
	for _, name := range programs {
		out, _, code := command(t, nil, name, "version")
		want := "^" + name + " " + regexp.QuoteMeta(buildinfo.Version) + `
commit:   ([0-9a-f]{40}(-modified)?|unknown)
go:       go1\.\S+ \w+/\w+
messages: writes version \d+, reads \d+ to \d+
$`
		if code != 0 || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s version exits with %d and prints\n%s", name, code, out)
		}
	}
	s := forms["standalone"](t)
	if text := s.scrape(t); !strings.Contains(text, `imagebatch_build_info{`) || !strings.Contains(text, `version="`+buildinfo.Version+`"`) {
		t.Error("the metrics lack the version")
	}
}

// TestHealthCommand runs the health command, with an admin address of its own that is read
// from a file.
func TestHealthCommand(t *testing.T) {
	t.Parallel()
	ops := freeAddr(t)
	file := filepath.Join(t.TempDir(), "address")
	if err := os.WriteFile(file, []byte(ops+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"METRICS_ADDR_FILE=" + file}
	if _, errOut, code := command(t, env, "standalone", "health"); code != 1 || errOut == "" {
		t.Errorf("health without a process exits with %d: %s", code, errOut)
	}
	binary, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: filepath.Join(binary, "standalone"), addr: freeAddr(t), env: append(env, "DATA_DIR="+t.TempDir())}
	p.start()
	t.Cleanup(func() { _ = p.end(os.Kill) })
	await(t, func() (bool, string) {
		_, errOut, code := command(t, env, "standalone", "health")
		return code == 0, errOut
	})
}

// TestOperationsTranscripts runs the transcripts of docs/operations.md.
func TestOperationsTranscripts(t *testing.T) {
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	blocks := examples(t, operations)
	for _, section := range []string{"Install", "Configure"} {
		s := &system{process: &process{t: t}}
		if n := s.follow(t, t.TempDir(), pick(t, blocks, section, "console"), func(command string) string {
			return "export PATH='" + dir + "':$PATH; " + command
		}); n == 0 {
			t.Errorf("there is no command under %s", section)
		}
	}
}
