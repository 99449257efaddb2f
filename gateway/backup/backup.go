// Package backup is the operator's commands that copy the job store and bring a copy
// back, for a gateway that keeps its jobs in SQLite. PostgreSQL has tools of its own,
// and is left to them.
//
// A backup is whole or is not there, and may be made while the gateway works. Neither
// command ever writes over a file: what a restore replaces stays beside it.
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

// The commands of the gateway, and what the usage says of them.
const (
	Name           = "backup"
	Summary        = "FILE: copy the job store into a new file, also while the gateway runs; see docs/operations.md"
	RestoreName    = "restore"
	RestoreSummary = "FILE: put such a copy in the place of the job store, while no gateway runs"
)

// Exit codes.
const (
	exitDone  = 0
	exitError = 1 // a disk, or the file; nothing was written over
	exitUsage = 2 // the arguments or the configuration are wrong
)

// Main makes a backup into the file that the one argument names and returns the exit
// code.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	path, file, err := read(Name, args, environ,
		"PostgreSQL makes its own: pg_dump --format=custom --file=FILE DATABASE_URL, without the parameters of the URL that begin with pool_")
	if err != nil {
		return complain(stderr, Name, exitUsage, err)
	}
	c, err := sqlstore.Backup(ctx, path, file)
	if err != nil {
		return complain(stderr, Name, exitError, err)
	}
	_, _ = fmt.Fprintf(stdout, "copied %s\n", tell(c, file))
	return exitDone
}

// Restore brings back the backup in the file that the one argument names and returns the
// exit code.
func Restore(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	path, file, err := read(RestoreName, args, environ,
		"PostgreSQL brings its own back: pg_restore --clean --if-exists --dbname=DATABASE_URL FILE; docs/operations.md tells what else it takes")
	if err != nil {
		return complain(stderr, RestoreName, exitUsage, err)
	}
	c, before, err := sqlstore.Restore(ctx, file, path)
	if before != "" {
		_, _ = fmt.Fprintf(stdout, "what was there is now %s\n", before)
	}
	if err != nil {
		return complain(stderr, RestoreName, exitError, err)
	}
	_, _ = fmt.Fprintf(stdout, "restored %s\n", tell(c, path))
	return exitDone
}

func tell(c sqlstore.Copied, to string) string {
	return fmt.Sprintf("%d jobs with %d open images to %s, %d bytes", c.Jobs, c.OpenImages, to, c.Bytes)
}

// read returns the file of the job store and the one that the argument names. It takes
// the gateway's whole environment, which must be right.
func read(name string, args, environ []string, elsewhere string) (path, file string, err error) {
	if len(args) != 1 || args[0] == "" || strings.HasPrefix(args[0], "-") {
		return "", "", fmt.Errorf("want the name of a file: gateway %s FILE", name)
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
		return "", "", errors.New("the job store is in PostgreSQL. " + elsewhere)
	}
	return path, args[0], nil
}

func complain(w io.Writer, name string, code int, err error) int {
	_, _ = fmt.Fprintf(w, "%s: %v\n", name, err)
	return code
}
