package buildinfo

import (
	"os"
	"regexp"
	"runtime/debug"
	"testing"
)

func TestCommit(t *testing.T) {
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	for want, settings := range map[string][]debug.BuildSetting{
		"unknown":         nil,
		"c0ffee":          {setting("vcs.revision", "c0ffee"), setting("vcs.modified", "false")},
		"c0ffee-modified": {setting("vcs.modified", "true"), setting("vcs.revision", "c0ffee")},
	} {
		if got := recorded(settings); got != want {
			t.Errorf("commit of %v is %s, want %s", settings, got, want)
		}
	}
	commit = "cafe"
	defer func() { commit = "" }()
	if got := recorded(nil); got != commit {
		t.Errorf("commit without a checkout is %s, want the linker's %s", got, commit)
	}
}

// TestChangelog verifies that the version and the changelog are raised together: an
// unreleased version has the suffix -dev.
func TestChangelog(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Skip("no changelog:", err)
	}
	newest := regexp.MustCompile(`(?m)^## (\S+)`).FindSubmatch(text)
	if newest == nil {
		t.Fatal("no heading in the changelog")
	}
	released := regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(Version)
	unreleased := regexp.MustCompile(`^\d+\.\d+\.\d+-dev$`).MatchString(Version)
	switch heading := string(newest[1]); {
	case heading == "Unreleased" && !unreleased, heading != "Unreleased" && (!released || heading != Version):
		t.Errorf("the version is %s, but the changelog starts with %s", Version, heading)
	}
}
