package service

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

type effective struct {
	Remote struct {
		Password Secret      `env:"PASSWORD"`
		Servers  []SecretURL `env:"SERVERS" envDefault:"amqp://guest:guest@host/"`
		Endpoint SecretURL   `env:"ENDPOINT" envDefault:"http://host"`
	}
	Service struct {
		Base
		Names []string      `env:"NAMES"`
		Wait  time.Duration `env:"WAIT" envDefault:"90s"`
		Deep  bool          `env:"DEEP" envDefault:"true"`
		Count int           `env:"COUNT" envDefault:"0"`
	}
	Other struct {
		Base
		Count int `env:"COUNT" envDefault:"0"`
	}
}

func loadEffective(t *testing.T, environ []string) effective {
	t.Helper()
	c, err := Load(environ, func(c *effective) error {
		if c.Service.Count == 0 {
			c.Service.Count = 7
		}
		if c.Other.Count == 0 {
			c.Other.Count = 8
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWriteConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hu5h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"PASSWORD_FILE=" + file, "NAMES=a b,it's", "ENDPOINT=http://anna:hu5h@host", "LOG_LEVEL=debug", "HOME=/"}
	var out strings.Builder
	if err := WriteConfig(&out, loadEffective(t, environ), environ); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"HTTP_ADDR= # default",
		"METRICS_ADDR= # default",
		"LOG_LEVEL=debug # environment",
		"LOG_FORMAT=json # default",
		"# PASSWORD=xxxxx # file " + file,
		"# SERVERS=amqp://guest:xxxxx@host/ # default",
		"# ENDPOINT=http://anna:xxxxx@host # environment",
		`NAMES='a b,it'\''s' # environment`,
		"WAIT=1m30s # default",
		"DEEP=true # default",
		"# COUNT=7, 8 # default",
	}
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for i, line := range got {
		got[i] = strings.Join(strings.Fields(line), " ")
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWrittenConfigIsReadBack verifies that the written configuration, read back by a
// shell, results in the same configuration, whatever characters the values contain.
func TestWrittenConfigIsReadBack(t *testing.T) {
	for _, value := range []string{
		"plain", "", "two words", "it's", `back\slash`, `"quoted"`, "$HOME `id` $(id)", "a\nLOG_LEVEL=debug\nb", "tab\tbell\aX", `\x41`, "Zürich", "#", "~", "a#b", "*",
	} {
		environ := []string{"NAMES=" + value, "COUNT=3", "WAIT=36h30m"}
		before := loadEffective(t, environ)
		var out strings.Builder
		if err := WriteConfig(&out, before, environ); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(out.String(), "\n"); lines != 11 {
			t.Errorf("%q: got %d lines:\n%s\nwant 11", value, lines, out.String())
		}
		shell := exec.CommandContext(t.Context(), "bash", "-euc", `set -a; eval "$(cat)"; env -0`)
		shell.Env = []string{"PATH=" + os.Getenv("PATH")}
		shell.Stdin = strings.NewReader(out.String())
		env, err := shell.Output()
		if err != nil {
			t.Fatalf("%v in:\n%s", err, out.String())
		}
		if after := loadEffective(t, strings.Split(string(env), "\x00")); !reflect.DeepEqual(after, before) {
			t.Errorf("%q: %+v becomes %+v after reading back\n%s\nwant %v", value, before, after, out.String(), before)
		}
	}
}

// TestVariableSharedByParts verifies that a variable used by several parts of a process
// is read from its file for all of them, and that a mistake in it is reported once.
func TestVariableSharedByParts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "level")
	if err := os.WriteFile(file, []byte("warn\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := loadEffective(t, []string{"LOG_LEVEL_FILE=" + file}); c.Service.LogLevel != "warn" || c.Other.LogLevel != "warn" {
		t.Errorf("configuration %+v, want the log level warn in both parts", c)
	}
	_, err := Load([]string{"COUNT=many", "LOG_LEVEL_FILE=/does/not/exist"}, func(*effective) error { return nil })
	if err == nil || strings.Count(err.Error(), "COUNT") != 1 || strings.Count(err.Error(), "LOG_LEVEL_FILE") != 1 {
		t.Errorf("got %v, want COUNT and LOG_LEVEL_FILE once each", err)
	}
}
