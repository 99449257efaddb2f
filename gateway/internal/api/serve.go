package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	drainTime   = 20 * time.Second // for running requests after the signal to stop, the drain delay included
	arrivalTime = time.Second      // for requests on connections that were accepted before
)

// Serve serves on l until ctx is done. It goes on for the drain delay, in which a
// load balancer sees that the server is not ready, and asks every client that comes
// meanwhile to take another connection next. Then it accepts no new connections,
// responds on those that it has accepted, closes WebSockets with 1001, lets running
// requests finish until 20 s after the end of ctx and cuts off the rest; when it
// returns no handler runs any more. It is called once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      writeTime, // for responses of net/http itself; handlers have their own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64<<10 - 4096, // net/http adds 4096
		ErrorLog:          slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState:         connState,

		// net/http would wait for the body of OPTIONS * without a limit.
		DisableGeneralOptionsHandler: true,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener{l, s}) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	close(s.leaving)
	if err == nil {
		delay := time.NewTimer(s.config.DrainDelay)
		defer delay.Stop()
		select {
		case err = <-served:
		case <-delay.C:
		}
	}
	close(s.closing)
	if err == nil {
		closed := l.Close()
		if err = <-served; errors.Is(err, net.ErrClosed) {
			err = closed
			server.SetKeepAlivesEnabled(false) // closes idle connections
			s.awaitArrivals(drain)
		}
	}
	if err != nil {
		err = fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	if fault := server.Shutdown(drain); fault != nil {
		err = errors.Join(err, fmt.Errorf("finish requests: %w", fault), server.Close())
	}
	s.mu.Lock()
	s.drained = true
	s.mu.Unlock()
	s.running.Wait()
	return err
}

// awaitArrivals waits, for a while, until no accepted connection has a request on its
// way: Shutdown would read such a request and drop the connection without a response.
// Like Shutdown it polls.
func (s *Server) awaitArrivals(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, arrivalTime)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for s.arriving.Load() > 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}
