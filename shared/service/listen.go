package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ListenTCP listens on addr, which is the value of the named variable. Its error
// explains how to fix the problem.
func ListenTCP(ctx context.Context, variable, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %w: stop the program that listens there, or set another address such as :8090", variable, err)
	default:
		return nil, fmt.Errorf("%s: %w: want an address of this machine such as :8080 or 127.0.0.1:8080", variable, err)
	}
}
