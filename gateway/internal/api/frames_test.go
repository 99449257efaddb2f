package api_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// opcodes are the kinds of frames (RFC 6455, section 5.2).
const (
	opText  = 1
	opClose = 8
	opPing  = 9
)

// rawSocket is a WebSocket client without a library, which sees every frame.
type rawSocket struct {
	*rig
	net.Conn
	in *bufio.Reader
}

func (r *rig) rawSocket(id string) rawSocket {
	r.Helper()
	conn := r.dial()
	_, err := fmt.Fprintf(conn, "GET /api/v1/batch/%s/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", id)
	r.must(err)
	return newRawSocket(r, conn)
}

// newRawSocket reads the response to a WebSocket handshake.
func newRawSocket(r *rig, conn net.Conn) rawSocket {
	r.Helper()
	s := rawSocket{rig: r, Conn: conn, in: bufio.NewReader(conn)}
	resp, err := http.ReadResponse(s.in, nil)
	r.must(err)
	_ = resp.Body.Close() // a 101 has no body
	if resp.StatusCode != http.StatusSwitchingProtocols {
		r.Fatalf("got status %d, want 101", resp.StatusCode)
	}
	return s
}

// next reads one frame from the server.
func (s rawSocket) next() (opcode byte, payload []byte, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(s.in, head); err != nil {
		return 0, nil, err
	}
	size := int(head[1])
	if size == 126 {
		long := make([]byte, 2)
		if _, err := io.ReadFull(s.in, long); err != nil {
			return 0, nil, err
		}
		size = int(binary.BigEndian.Uint16(long))
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(s.in, payload)
	return head[0] & 0x0f, payload, err
}

// frame reads one frame from the server, or ends the test.
func (s rawSocket) frame() (opcode byte, payload []byte) {
	s.Helper()
	opcode, payload, err := s.next()
	s.must(err)
	return opcode, payload
}

// sendClose sends a close frame with 1000, masked with zeros.
func (s rawSocket) sendClose() {
	s.Helper()
	_, err := s.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8})
	s.must(err)
}

// A browser reports an error instead of the status if a second close frame follows the
// first (RFC 6455, section 5.5.1).
func TestOneCloseFrame(t *testing.T) {
	r := setup(t, options{})
	for name, clientFirst := range map[string]bool{"the server closes": false, "the client closes": true} {
		id := r.create(1)
		s := r.rawSocket(id)
		s.frame() // the current state of the job
		if clientFirst {
			s.sendClose()
		} else {
			r.end(id, 0, nil)
		}
		opcode, payload := s.frame()
		for opcode == opText {
			opcode, payload = s.frame()
		}
		if opcode != opClose || binary.BigEndian.Uint16(payload) != 1000 {
			t.Errorf("%s: got opcode %d, %x", name, opcode, payload)
		}
		if !clientFirst {
			s.sendClose()
		}
		r.must(s.SetReadDeadline(time.Now().Add(20 * time.Second)))
		if rest, err := io.ReadAll(s.in); len(rest) > 0 || err != nil {
			t.Errorf("%s: got %x, %v after the close frame", name, rest, err)
		}
		r.must(s.Close())
	}
}

// TestLongFrame verifies that a frame written in pieces is sent whole, although a piece
// may look like a close frame.
func TestLongFrame(t *testing.T) {
	r := setup(t, options{})
	for shift := range 2 {
		id := r.create(1)
		s := r.rawSocket(id)
		s.frame()
		text := strings.Repeat("x", shift) + strings.Repeat("ш", 5000) // every other byte is the first byte of a close frame
		r.end(id, 0, &pipeline.Failure{Code: pipeline.CodeDamaged, Text: text})
		if _, payload := s.frame(); !strings.Contains(string(payload), text) {
			t.Errorf("got %.200s", payload)
		}
		if opcode, payload := s.frame(); opcode != opText || !strings.Contains(string(payload), "job_complete") {
			t.Errorf("then got opcode %d %.200s", opcode, payload)
		}
		r.must(s.Close())
	}
}
