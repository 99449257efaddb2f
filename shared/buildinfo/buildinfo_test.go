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
			t.Errorf("%v is the commit %s, want %s", settings, got, want)
		}
	}
	commit = "cafe"
	defer func() { commit = "" }()
	if got := recorded(nil); got != commit {
		t.Errorf("without a checkout the commit is %s, want the linker's, %s", got, commit)
	}
}

// TestChangelog holds that the version and the changelog are raised together: what is not
// released is the next version's -dev.
func TestChangelog(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Skip("built alone:", err)
	}
	newest := regexp.MustCompile(`(?m)^## (\S+)`).FindSubmatch(text)
	if newest == nil {
		t.Fatal("no heading in the changelog")
	}
	released := regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(Version)
	developed := regexp.MustCompile(`^\d+\.\d+\.\d+-dev$`).MatchString(Version)
	switch heading := string(newest[1]); {
	case heading == "Unreleased" && !developed, heading != "Unreleased" && (!released || heading != Version):
		t.Errorf("the version is %s, and the changelog begins with %s", Version, heading)
	}
}
