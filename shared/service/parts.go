package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// Part is a named component of a service that runs until its context is done.
type Part struct {
	Name string
	Run  func(context.Context) error
}

// RunParts runs the admin server and all parts. When ctx is done or a part ends, the
// server reports that the service is no longer ready, and RunParts stops the parts one
// at a time in reverse order. It stops a part only when the next one has ended, so a
// part can rely on the parts before it until it ends. The errors are joined.
func RunParts(ctx context.Context, log *slog.Logger, ops *Server, parts ...Part) error {
	parts = append([]Part{{"admin address", ops.run}}, parts...)
	type running struct {
		stop context.CancelFunc
		done chan struct{}
	}
	var (
		all      []running
		errs     = make([]error, len(parts))
		ended    = make(chan struct{}, len(parts)) // one value for each part that has ended
		detached = context.WithoutCancel(ctx)
	)
	for i, p := range parts {
		partCtx, stop := context.WithCancel(detached)
		r := running{stop, make(chan struct{})}
		all = append(all, r)
		go func() {
			defer func() { close(r.done); ended <- struct{}{} }()
			if err := p.Run(partCtx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", p.Name, err)
			}
		}()
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	ops.stopping.Store(true)
	for i, r := range slices.Backward(all) {
		r.stop()
		<-r.done
		log.DebugContext(detached, "stopped", "part", parts[i].Name)
	}
	return errors.Join(errs...)
}
