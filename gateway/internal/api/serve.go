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
	drainTime   = 20 * time.Second // for running requests after the signal to stop, including the drain delay
	arrivalTime = time.Second      // for requests on connections accepted before
)

// Serve serves on l until ctx is done. It continues for the drain delay, in which a load
// balancer notices that the server is not ready, and asks clients to close their
// connections. Then it accepts no new connections, responds on the connections that it
// has accepted, closes WebSockets with 1001, ends event streams, lets running requests finish until 20 s
// after the end of ctx and aborts the rest. No handler runs after it returns. It is called
// once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      writeTime, // for responses of net/http itself; handlers have their own limit
		IdleTimeout:       s.config.KeepAlive,
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
	s.close()
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

// awaitArrivals waits, for a limited time, until no accepted connection has an arriving
// request: Shutdown would read such a request and drop the connection without a response.
// Like Shutdown, it polls.
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
