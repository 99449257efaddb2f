package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ListenTCP listens on the address that the variable of that name holds. Its
// error says what the operator can do.
func ListenTCP(ctx context.Context, variable, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %w: end the program that answers there, or set another address such as :8090", variable, err)
	default:
		return nil, fmt.Errorf("%s: %w: want an address of this machine such as :8080 or 127.0.0.1:8080", variable, err)
	}
}
