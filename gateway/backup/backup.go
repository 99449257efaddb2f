// Package backup provides the operator's commands that copy the job store and restore a
// copy, for a gateway that stores its jobs in SQLite. For PostgreSQL, use its own tools.
//
// A backup is complete or does not exist, and can be taken while the gateway runs.
// Neither command overwrites a file: a restore keeps the replaced store next to the
// new one.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/shared/service"
)

// The subcommands of the gateway, and their lines in the usage.
const (
	Name           = "backup"
	Summary        = "FILE: copy the job store to a new file, also while the gateway runs; see docs/operations.md"
	RestoreName    = "restore"
	RestoreSummary = "FILE: replace the job store with such a copy, while no gateway runs"
)

// Exit codes.
const (
	exitDone  = 0
	exitError = 1 // disk or file error; no file was overwritten
	exitUsage = 2 // invalid arguments or configuration
)

// Main backs up the job store to the file named by the only argument and returns the exit
// code.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	path, file, err := read(Name, args, environ,
		"use pg_dump --format=custom --file=FILE DATABASE_URL, without the URL parameters that start with pool_")
	if err != nil {
		return complain(stderr, Name, exitUsage, err)
	}
	c, err := sqlstore.Backup(ctx, path, file)
	if err != nil {
		return complain(stderr, Name, exitError, err)
	}
	_, _ = fmt.Fprintf(stdout, "copied %s\n", described(c, file))
	return exitDone
}

// Restore restores the backup in the file named by the only argument and returns the exit
// code.
func Restore(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	path, file, err := read(RestoreName, args, environ,
		"use pg_restore --clean --if-exists --dbname=DATABASE_URL FILE; see docs/operations.md for the other steps")
	if err != nil {
		return complain(stderr, RestoreName, exitUsage, err)
	}
	c, before, err := sqlstore.Restore(ctx, file, path)
	if before != "" {
		_, _ = fmt.Fprintf(stdout, "the previous job store is now %s\n", before)
	}
	if err != nil {
		return complain(stderr, RestoreName, exitError, err)
	}
	_, _ = fmt.Fprintf(stdout, "restored %s\n", described(c, path))
	return exitDone
}

func described(c sqlstore.Copied, to string) string {
	return fmt.Sprintf("%d jobs with %d open images to %s, %d bytes", c.Jobs, c.OpenImages, to, c.Bytes)
}

// read returns the file of the job store and the file that the argument names. It
// validates the gateway's whole environment.
func read(name string, args, environ []string, elsewhere string) (path, file string, err error) {
	if len(args) != 1 || args[0] == "" || strings.HasPrefix(args[0], "-") {
		return "", "", fmt.Errorf("want a file name: gateway %s FILE", name)
	}
	c, err := service.Load(environ, func(c *gateway.Config) (err error) {
		*c, err = c.Complete()
		return err
	})
	if err != nil {
		return "", "", err
	}
	path, ok := strings.CutPrefix(c.DatabaseURL.Reveal(), "sqlite:")
	if !ok {
		return "", "", errors.New("the job store is in PostgreSQL: " + elsewhere)
	}
	return path, args[0], nil
}

func complain(w io.Writer, name string, code int, err error) int {
	_, _ = fmt.Fprintf(w, "%s: %v\n", name, err)
	return code
}
