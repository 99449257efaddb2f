// Command attack does to a running gateway what strangers on the open internet do,
// all of it, and tells what was refused. It ends with a table: of each kind of
// attack how many were tried, refused and let through, and whether the service
// still did honest work afterwards. It fails when one was let through.
//
//	attack                                   against bin/standalone, which it starts and ends itself
//	GATEWAY=http://127.0.0.1:8080 attack     against a gateway that runs; only one that you may attack
//	GATEWAY=… ORIGIN=127.0.0.1:0 attack      with an origin of its own at that address, where the gateway's
//	                                         DOWNLOAD_ALLOW_NETWORKS has the address
//	attack -fast                             without the kinds that wait for the gateway's patience to end or send very much
//
// Every attack says what counts as refused: a status, the documented shape of
// errors, the error code of the image, or that the tool's own listeners saw nobody.
// All else is let through, a 500 included.
//
// It is a client and knows the services from outside only; of theirs it has no more than
// the bombs that they are tested with. All else is the standard library's, because other
// libraries are too polite to send most of this.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	var o options
	flag.StringVar(&o.program, "program", "bin/standalone", "what is started and attacked when GATEWAY is not set")
	flag.BoolVar(&o.fast, "fast", false, "without the kinds that wait for the gateway's patience to end or send very much")
	flag.Parse()
	o.gateway, o.origin = os.Getenv("GATEWAY"), os.Getenv("ORIGIN")
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		stop()
		os.Exit(1)
	}
}

// options say whom to attack.
type options struct {
	gateway string // URL of one that runs; empty: start program
	program string
	origin  string // address on which the attacked gateway may fetch images; empty: none
	fast    bool
}

// errLetThrough is what a run ends with that found something.
var errLetThrough = errors.New("attacks were let through, or the service did not survive them")

// run attacks and prints what became of it.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	targets, end, err := aim(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	t := &table{}
	for _, k := range kinds {
		if k.slow && o.fast {
			continue
		}
		target := targets.strict
		if k.fetches {
			target = targets.lenient
		}
		if target == nil {
			t.rows = append(t.rows, row{kind: k.name, skipped: "needs ORIGIN"})
			continue
		}
		var r tally
		within, cancel := context.WithTimeout(ctx, kindTime)
		k.attack(within, target, &r)
		r.wg.Wait()
		cancel()
		alive := target.alive(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.rows = append(t.rows, row{kind: k.name, tried: r.tried, through: r.through, alive: alive})
	}
	t.memory = targets.memory()
	if _, err := io.WriteString(out, t.String()); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	if t.bad() {
		return errLetThrough
	}
	return nil
}

// kindTime bounds one kind, so that a gateway that hangs is told of too.
const kindTime = 3 * time.Minute
