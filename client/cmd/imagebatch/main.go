// Command imagebatch sends images to an Imagebatch gateway, follows the jobs and saves the
// results. See docs/command-line.md.
//
// Its commands use github.com/spf13/cobra (Apache-2.0), which provides the help and the completion for
// shells, and golang.org/x/term (BSD-3-Clause), which finds out whether a stream is a terminal
// and how wide that is. Lock files use github.com/gofrs/flock, and the watched folder github.com/fsnotify/fsnotify;
// their packages say why.
package main

import (
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
