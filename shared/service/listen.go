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
		return nil, unusable(variable, err)
	}
}

// CheckListening returns the errors with which the service would reject its addresses. It
// checks everything but the port: whether it is free is only known when the service starts.
func (b Base) CheckListening() error {
	return errors.Join(checkListen("HTTP_ADDR", b.HTTPAddr), checkListen("METRICS_ADDR", b.MetricsAddr))
}

func checkListen(variable, addr string) error {
	if addr == "" {
		return nil
	}
	ctx := context.Background() // a name in an address is looked up, within the resolver's own limit
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(ctx, "tcp", port)
	}
	if err != nil {
		return unusable(variable, err)
	}
	// Any free port shows whether the host is one of this machine.
	l, err := ListenTCP(ctx, variable, net.JoinHostPort(host, "0"))
	if err != nil {
		return err
	}
	return l.Close()
}

func unusable(variable string, err error) error {
	return fmt.Errorf("%s: %w: want an address of this machine such as :8080 or 127.0.0.1:8080", variable, err)
}

// SameListener reports whether a process cannot listen on both addresses, because they
// have the same port of the same host, or of all hosts. Invalid addresses, and port 0, for
// which the system chooses another each time, are not the same.
func SameListener(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" || portA == "" {
		return false
	}
	every := func(host string) bool { ip := net.ParseIP(host); return host == "" || ip != nil && ip.IsUnspecified() }
	return hostA == hostB || every(hostA) || every(hostB)
}
