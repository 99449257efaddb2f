// Package apikeys is the operator's command that makes API keys. It prints a key
// once and stores it nowhere.
package apikeys

import (
	"fmt"
	"io"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
)

// Name is the argument of the gateway that asks for this command, and Summary what
// the usage says of it.
const (
	Name    = "api-keys"
	Summary = "new NAME: make an API key, and its line for API_KEYS_FILE; see docs/api-extensions.md"
)

const usage = `usage: gateway api-keys new NAME

Makes an API key. The first line that it prints is for the client, and is told only now; the second is for the file that
API_KEYS_FILE names. A name may have several keys. The rest of a line may set, for all keys of its name:

  operator                    sees the jobs of all, and may cancel and retry them
  requests_per_minute=N       and the same for upload_bytes_per_minute, open_images and sockets; 0 for no limit
`

// Main does what the arguments say and returns the exit code: 0, or 2 when they are
// wrong.
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
		return 1 // Nobody has seen the key.
	}
	return 0
}
