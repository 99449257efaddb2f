package rabbitmq

import (
	"context"
	"net"
	"time"
)

// socket bounds every write. The client library writes without a deadline while
// it holds its locks, so one full send buffer would stop publishes, acks and
// even Close for good.
type socket struct {
	net.Conn
}

// dialSocket connects with a deadline on the whole handshake, which the library
// lifts once AMQP is up.
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

// Write closes the socket when it fails: half a frame is no stream to go on with,
// and closing frees the reader as well.
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
