// Package release tells which release a program is of. It is the one place that
// knows: the programs, their metrics and what they say of themselves to other
// servers all ask here.
//
// The version is a constant that is raised together with CHANGELOG.md, so that a
// program has it however it was built. The commit is what the go command has noted of the
// checkout; a build without one, as in the Dockerfile, sets it by
//
//	-ldflags "-X github.com/imagebatch/imagebatch/shared/release.commit=…"
package release

import (
	"runtime"
	"runtime/debug"
)

// Version is the version of the release, or of the next one with -dev at its end.
const Version = "0.1.0-dev"

// commit is set by the linker where there is no checkout to ask.
var commit string

// Commit is the commit that was built, with -modified behind it where the checkout
// held something else, or unknown.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return given(commit)
	}
	return noted(info.Settings)
}

// Go is the version of Go that has built the program.
func Go() string { return runtime.Version() }

func noted(settings []debug.BuildSetting) string {
	found := map[string]string{}
	for _, s := range settings {
		found[s.Key] = s.Value
	}
	switch revision := found["vcs.revision"]; {
	case revision == "":
		return given(commit)
	case found["vcs.modified"] == "true":
		return revision + "-modified"
	default:
		return revision
	}
}

func given(commit string) string {
	if commit == "" {
		return "unknown"
	}
	return commit
}
