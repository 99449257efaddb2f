// Package buildinfo provides the version and the commit of a program, for its version
// command, its metrics, and requests to other servers.
//
// The version is a constant that is raised together with CHANGELOG.md, so that every
// build has it. The commit is recorded by the go command from the checkout. A build
// without a checkout, as in the Dockerfile, sets it with
//
//	-ldflags "-X github.com/imagebatch/imagebatch/shared/buildinfo.commit=…"
package buildinfo

import (
	"cmp"
	"runtime/debug"
)

// Version is the version of the release, or the next version with the suffix -dev.
const Version = "0.1.0-dev"

// UserAgent identifies the program in requests to other servers, with an address at which
// their operators learn what it is (RFC 9110, section 10.1.5).
const UserAgent = "Imagebatch/" + Version + " (+https://github.com/imagebatch/imagebatch)"

// commit is set by the linker in a build without a checkout.
var commit string

// Commit returns the commit of the build, with the suffix -modified if the checkout had
// local changes, or "unknown".
func Commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return recorded(info.Settings)
	}
	return recorded(nil)
}

func recorded(settings []debug.BuildSetting) string {
	found := map[string]string{}
	for _, s := range settings {
		found[s.Key] = s.Value
	}
	revision := found["vcs.revision"]
	if revision != "" && found["vcs.modified"] == "true" {
		return revision + "-modified"
	}
	return cmp.Or(revision, commit, "unknown")
}
