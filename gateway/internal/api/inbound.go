package api

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// How often a client may send a frame of any kind. One that follows a job has
// nothing to say but the answer to a ping every half a minute.
const (
	framesAtOnce = 256
	frameEvery   = 100 * time.Millisecond
)

// errFlood says that a client sends frames without end.
var errFlood = errors.New("too many messages")

// inbound is the connection under a WebSocket as it is read. It counts frames and
// reads no more when there are too many: the library answers every ping, and follows
// the fragments of a message that never ends, as fast as they come and without
// telling anybody.
type inbound struct {
	net.Conn
	header [10]byte // of the frame in hand, without its mask
	have   int      // bytes of header that came
	skip   uint64   // bytes of the frame that are to come after it

	paid    time.Time // until when the frames that came are accounted for
	flooded bool
}

// Read implements net.Conn.
func (c *inbound) Read(p []byte) (int, error) {
	if c.flooded {
		return 0, errFlood
	}
	n, err := c.Conn.Read(p)
	c.take(p[:n], time.Now())
	return n, err
}

// take counts the frames whose headers end in p, which came now.
func (c *inbound) take(p []byte, now time.Time) {
	if oldest := now.Add(-framesAtOnce * frameEvery); c.paid.Before(oldest) {
		c.paid = oldest
	}
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, uint64(len(p)))
			c.skip, p = c.skip-n, p[n:]
			continue
		}
		c.header[c.have], p = p[0], p[1:]
		c.have++
		rest, ok := c.frame()
		if !ok {
			continue
		}
		c.have, c.skip = 0, rest
		c.paid = c.paid.Add(frameEvery)
	}
	c.flooded = c.flooded || c.paid.After(now)
}

// frame returns how much of the frame follows its header once that is complete
// (RFC 6455, section 5.2).
func (c *inbound) frame() (rest uint64, complete bool) {
	if c.have < 2 {
		return 0, false
	}
	size, length := 2, uint64(c.header[1]&0x7f)
	switch length {
	case 126:
		size, length = 4, uint64(binary.BigEndian.Uint16(c.header[2:]))
	case 127:
		size, length = 10, binary.BigEndian.Uint64(c.header[2:])&^(1<<63)
	}
	if c.header[1]&0x80 != 0 {
		length += 4 // the mask
	}
	return length, c.have == size
}
