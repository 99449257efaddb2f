package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/imagebatch/imagebatch/client"
)

// TestGoInstall publishes the client, the shared module and the command line from the checkout in a module proxy of
// its own, as their tags would, and installs the command as a user does: with the go command, outside
// of the workspace, at the latest version.
func TestGoInstall(t *testing.T) {
	t.Parallel()
	proxy, version := t.TempDir(), "v"+strings.TrimSuffix(client.Version, "-dev")
	for path, dir := range map[string]string{base + "client": "../../client", base + "shared": "../../shared", base + "client/cmd/imagebatch": "../../client/cmd/imagebatch"} {
		publish(t, proxy, module.Version{Path: path, Version: version}, dir)
	}
	env := func(name string) string {
		out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	bin, cache := t.TempDir(), t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install", base+"client/cmd/imagebatch@latest") //nolint:gosec // The path is ours.
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(),
		"GOPROXY=file://"+proxy+",file://"+env("GOMODCACHE")+"/cache/download", // the libraries were downloaded for the build
		"GONOSUMDB=*", "GOWORK=off", "GOFLAGS=-modcacherw", "GOMODCACHE="+cache, "GOBIN="+bin,
	)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go install: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "imagebatch"), "version").CombinedOutput() //nolint:gosec // It was just built.
	if err != nil || !strings.HasPrefix(string(out), "imagebatch "+strings.TrimPrefix(version, "v")+"\n") {
		t.Errorf("imagebatch version: %v\n%s\nwant version %s", err, out, version)
	}
}

// publish adds a version of a module to a proxy in a folder (go.dev/ref/mod#goproxy-protocol).
func publish(t *testing.T, proxy string, m module.Version, dir string) {
	t.Helper()
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	writeFile(t, filepath.Join(folder, "list"), []byte(m.Version+"\n"))
	writeFile(t, filepath.Join(folder, m.Version+".info"), fmt.Appendf(nil, `{"Version":%q,"Time":"2026-11-28T18:00:00Z"}`, m.Version))
	writeFile(t, filepath.Join(folder, m.Version+".mod"), readFile(t, filepath.Join(dir, "go.mod")))
	out, err := os.Create(filepath.Join(folder, m.Version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(zip.CreateFromDir(out, m, dir), out.Close()); err != nil {
		t.Fatal(err)
	}
}
