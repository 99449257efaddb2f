package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// Part is a named piece of a service that works until its context ends.
type Part struct {
	Name string
	Run  func(context.Context) error
}

// RunParts runs the operator's server and all parts. When ctx ends, or a part
// does, the server says that the service is not ready any more, and the parts are
// stopped one after the other, the last one first, each only when the one after
// it has ended: a part may rely on those before it to its end. The errors are
// joined.
func RunParts(ctx context.Context, log *slog.Logger, ops *Server, parts ...Part) error {
	parts = append([]Part{{"operator's address", ops.run}}, parts...)
	type running struct {
		stop context.CancelFunc
		done chan struct{}
	}
	var (
		all      []running
		errs     = make([]error, len(parts))
		some     = make(chan struct{}, len(parts)) // one token for each part that has ended
		detached = context.WithoutCancel(ctx)
	)
	for i, p := range parts {
		partCtx, stop := context.WithCancel(detached)
		r := running{stop, make(chan struct{})}
		all = append(all, r)
		go func() {
			defer func() { close(r.done); some <- struct{}{} }()
			if err := p.Run(partCtx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", p.Name, err)
			}
		}()
	}
	select {
	case <-ctx.Done():
	case <-some:
	}
	ops.stopping.Store(true)
	for i, r := range slices.Backward(all) {
		r.stop()
		<-r.done
		log.DebugContext(detached, "stopped", "part", parts[i].Name)
	}
	return errors.Join(errs...)
}
