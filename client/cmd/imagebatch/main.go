// Command imagebatch sends images to an Imagebatch gateway and saves the results. See
// docs/command-line.md.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/imagebatch/imagebatch/client"
)

func main() {
	root := &cobra.Command{Use: "imagebatch", Version: client.Version}
	_ = term.IsTerminal(1)
	if root.Execute() != nil {
		os.Exit(2)
	}
}
