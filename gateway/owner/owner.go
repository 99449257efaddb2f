// Package owner provides the operator's commands for the ID of the job store, which decides
// whose the broker is: a gateway uses only a broker that belongs to its own job store.
package owner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
)

// The subcommands of the gateway, and their lines in the usage.
const (
	TakeOverName    = "take-over"
	TakeOverSummary = "let the job store use a RabbitMQ vhost that belongs to another job store"
	NewIDName       = "new-store-id"
	NewIDSummary    = "make a copy of a job store distinct from its original, while no gateway uses it"
)

// Exit codes.
const (
	exitDone  = 0
	exitError = 1 // a server or a file is unavailable; run it again
	exitUsage = 2 // invalid arguments or configuration
)

// TakeOver makes the broker belong to the configured job store and returns the exit code. The
// gateways of the previous owner may run; they notice and stop.
func TakeOver(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	database, code := read(TakeOverName, args, environ, stderr)
	if code != exitDone {
		return code
	}
	c, err := service.Load(environ, (*connect.BrokerConfig).Validate)
	if err != nil {
		return complain(stderr, TakeOverName, exitUsage, err)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	id, err := storeID(ctx, database, log)
	if err != nil {
		return complain(stderr, TakeOverName, exitError, err)
	}
	b, err := c.Open("gateway take-over", false, log, nil) //nolint:contextcheck // It is closed below.
	if err != nil {
		return complain(stderr, TakeOverName, exitUsage, err)
	}
	_, _ = fmt.Fprintf(stdout, "taking over RabbitMQ for the job store %s\n", id)
	previous, err := b.TakeOver(ctx, id, intake.EpochMarker(id))
	if err := errors.Join(err, b.Close()); err != nil {
		return complain(stderr, TakeOverName, exitError, err)
	}
	if previous == "" {
		_, _ = fmt.Fprintln(stdout, "it did not belong to another job store")
	} else {
		_, _ = fmt.Fprintf(stdout, "it belonged to the job store %s… before; the gateway sends all open images again\n", previous)
	}
	return exitDone
}

// storeID returns the ID of the job store, which a gateway may be using.
func storeID(ctx context.Context, database string, log *slog.Logger) (id string, err error) {
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		return sqlstore.ReadID(ctx, path)
	}
	store, err := sqlstore.OpenPostgres(ctx, database, log)
	if err != nil {
		return "", err
	}
	return store.ID(), store.Close()
}

// NewID gives the configured job store another ID and returns the exit code.
func NewID(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	database, code := read(NewIDName, args, environ, stderr)
	if code != exitDone {
		return code
	}
	store, err := sqlstore.Open(ctx, database, slog.New(slog.DiscardHandler))
	if err != nil {
		return complain(stderr, NewIDName, exitError, err)
	}
	id, err := store.NewID(ctx)
	if err := errors.Join(err, store.Close()); err != nil {
		return complain(stderr, NewIDName, exitError, err)
	}
	_, _ = fmt.Fprintf(stdout, "the job store has the ID %s, before %s\n", id, store.ID())
	return exitDone
}

// read checks that there are no arguments and returns DATABASE_URL.
func read(name string, args, environ []string, stderr io.Writer) (database string, code int) {
	if len(args) != 0 {
		return "", complain(stderr, name, exitUsage, fmt.Errorf("want no arguments: gateway %s", name))
	}
	c, err := service.Load(environ, func(c *gateway.Config) (err error) {
		*c, err = c.Complete()
		return err
	})
	if err != nil {
		return "", complain(stderr, name, exitUsage, err)
	}
	return c.DatabaseURL.Reveal(), exitDone
}

func complain(w io.Writer, name string, code int, err error) int {
	_, _ = fmt.Fprintf(w, "%s: %v\n", name, err)
	return code
}
