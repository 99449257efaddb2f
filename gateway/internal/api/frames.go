package api

import (
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// frameSize returns the length of the frame that starts with p, or 0 if p is too short to
// determine it (RFC 6455, section 5.2).
func frameSize(p []byte) uint64 {
	if len(p) < 2 {
		return 0
	}
	mask := uint64(p[1]>>7) * 4
	switch size := uint64(p[1] & 0x7f); {
	case size < 126:
		return 2 + mask + size
	case size == 126 && len(p) >= 4:
		return 4 + mask + uint64(binary.BigEndian.Uint16(p[2:]))
	case size == 127 && len(p) >= 10:
		return 10 + mask + binary.BigEndian.Uint64(p[2:])&^(1<<63)
	}
	return 0
}

// closeFrameConn is the write side of the connection under a WebSocket. It writes one
// close frame and nothing after it: the library responds to every close frame with one
// of its own, even if it sent the first. RFC 6455, section 5.5.1, forbids that, and a
// browser that sees it reports an error instead of the status.
type closeFrameConn struct {
	net.Conn
	in     *frameLimitConn
	left   int64         // unwritten bytes of the current frame
	closed bool          // the current frame, or an earlier one, is a close frame
	out    chan struct{} // closed when the close frame is written
}

// Write implements net.Conn. The library starts each frame with a separate write. The client
// must take each frame in time: a context for each write would cost more.
func (c *closeFrameConn) Write(p []byte) (int, error) {
	if c.left <= 0 {
		if c.closed {
			return len(p), nil
		}
		c.left, c.closed = int64(frameSize(p)), len(p) > 0 && p[0]&0x0f == 0x8
		_ = c.SetWriteDeadline(time.Now().Add(frameTime)) // a write to a closed connection returns the error
	}
	n, err := c.Conn.Write(p)
	c.left -= int64(n)
	if c.closed && c.left <= 0 {
		close(c.out)
	}
	return n, err
}

// heard returns the time of the last sign of the client.
func (c *closeFrameConn) heard() time.Time { return c.in.start.Add(time.Duration(c.in.heard.Load())) }

// Limits for the frames of a client. A client that follows a job only has to respond to
// a ping every half minute.
const (
	framesAtOnce = 256
	frameEvery   = 100 * time.Millisecond
)

var errFlood = errors.New("too many messages")

// frameLimitConn is the read side of the connection under a WebSocket. It counts frames
// and fails if there are too many: the library responds to every ping and accepts the
// fragments of an endless message as fast as they arrive, without reporting them.
type frameLimitConn struct {
	net.Conn
	start  time.Time
	heard  atomic.Int64 // time of the last read, in nanoseconds since start
	header []byte       // header of the current frame, while it is incomplete
	skip   uint64       // bytes of the current frame that follow its header

	paid    time.Time // time up to which the frame rate is used
	flooded bool
}

// Read implements net.Conn.
func (c *frameLimitConn) Read(p []byte) (int, error) {
	if c.flooded {
		return 0, errFlood
	}
	n, err := c.Conn.Read(p)
	now := time.Now()
	if n > 0 {
		c.heard.Store(int64(now.Sub(c.start)))
	}
	c.count(p[:n], now)
	return n, err
}

// count counts the frames whose headers end in p, which arrived at now.
func (c *frameLimitConn) count(p []byte, now time.Time) {
	if oldest := now.Add(-framesAtOnce * frameEvery); c.paid.Before(oldest) {
		c.paid = oldest
	}
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, uint64(len(p)))
			c.skip, p = c.skip-n, p[n:]
			continue
		}
		c.header, p = append(c.header, p[0]), p[1:]
		if size := frameSize(c.header); size > 0 {
			c.skip, c.header = size-uint64(len(c.header)), c.header[:0]
			c.paid = c.paid.Add(frameEvery)
		}
	}
	c.flooded = c.flooded || c.paid.After(now)
}
