// Package apikeys is the operator's command that creates API keys. It prints a key once
// and does not store it.
package apikeys

import (
	"fmt"
	"io"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
)

// Name is the subcommand of the gateway, and Summary its line in the usage.
const (
	Name    = "api-keys"
	Summary = "new NAME: create an API key and its line for API_KEYS_FILE; see docs/api-extensions.md"
)

const usage = `usage: gateway api-keys new NAME

Create an API key. The first line of the output is the key for the client; it is printed only once. The second line is for
the file that API_KEYS_FILE names. A name may have several keys. Append options to the line; they apply to all keys of the name:

  operator                    see the jobs of all names, and cancel and retry them
  requests_per_minute=N       limit the requests; likewise upload_bytes_per_minute, open_images and sockets; 0: no limit
`

// Main executes the command and returns the exit code: 0, or 2 for invalid arguments.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) != 2 || args[0] != "new" {
		_, _ = io.WriteString(stderr, usage)
		return 2
	}
	key, line, err := apikey.New(args[1])
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %q: %v\n", Name, args[1], err)
		return 2
	}
	if _, err := fmt.Fprintf(stdout, "key:  %s\nline: %s\n", key, line); err != nil {
		return 1 // The key was not shown.
	}
	return 0
}
