package api

import (
	"encoding/binary"
	"net"
)

// farewell is the connection under a WebSocket. It lets one close frame out and
// nothing after it: the library answers every close frame with one of its own, also
// when it was the first to send one. RFC 6455, section 5.5.1, forbids that, and a
// browser that sees it reports an error where the status should be.
type farewell struct {
	net.Conn
	left int64         // bytes of the frame in hand that are still to come
	said bool          // the close frame is out, or begins in this write
	out  chan struct{} // closed when the close frame is out
}

func newFarewell(conn net.Conn) *farewell { return &farewell{Conn: conn, out: make(chan struct{})} }

// Write implements net.Conn. The library writes one frame after the other, each
// from the beginning of a write.
func (f *farewell) Write(p []byte) (int, error) {
	if f.left <= 0 {
		if f.said {
			return len(p), nil
		}
		f.left, f.said = frameSize(p), isClose(p)
	}
	n, err := f.Conn.Write(p)
	f.left -= int64(n)
	if f.said && f.left <= 0 {
		close(f.out)
	}
	return n, err
}

// isClose reports whether a close frame begins here.
func isClose(p []byte) bool { return len(p) > 0 && p[0]&0x0f == 0x8 }

// frameSize is how long the frame is that begins here, one of a server, which
// masks nothing (RFC 6455, section 5.2).
func frameSize(p []byte) int64 {
	if len(p) < 2 {
		return 0
	}
	switch size := p[1] & 0x7f; {
	case size == 126 && len(p) >= 4:
		return 4 + int64(binary.BigEndian.Uint16(p[2:]))
	case size == 127 && len(p) >= 10:
		return 10 + int64(binary.BigEndian.Uint64(p[2:])) //nolint:gosec // We wrote it.
	default:
		return 2 + int64(size)
	}
}
