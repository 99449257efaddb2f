package buildinfo_test

import (
	"fmt"
	"strings"

	"github.com/imagebatch/imagebatch/shared/buildinfo"
)

// A program reports its version to other servers.
func Example() {
	agent := "Imagebatch/" + buildinfo.Version
	fmt.Println(strings.HasPrefix(agent, "Imagebatch/0."), buildinfo.Commit() != "")
	// Output: true true
}
