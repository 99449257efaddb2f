package rabbitmq

import (
	"context"
	"net"
	"time"
)

// socket sets a deadline for every write. The client library writes without a deadline
// while it holds its locks, so one full send buffer would permanently block publishes,
// acks and even Close.
type socket struct {
	net.Conn
}

// dialSocket connects with a deadline for the whole handshake, which the library
// removes once AMQP is established.
func dialSocket(ctx context.Context, network, addr string) (*socket, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &socket{Conn: conn}, nil
}

// Write closes the socket on an error: the stream cannot continue after half a frame,
// and closing also unblocks the reader.
func (s *socket) Write(p []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := s.Conn.Write(p)
	if err != nil {
		_ = s.Close()
	}
	return n, err
}
