package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"time"
)

const handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// socket is a WebSocket on which anything can be sent.
type socket struct {
	net.Conn
	in *bufio.Reader
}

// open makes a WebSocket that watches a job.
func (t *target) open(ctx context.Context, id string) (*socket, error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &socket{conn, bufio.NewReader(conn)}
	if _, err := fmt.Fprintf(conn, "GET /api/v1/batch/%s/ws HTTP/1.1\r\nHost: %s\r\n%s\r\n", id, t.host, handshake); err != nil {
		return nil, errors.Join(fmt.Errorf("send handshake: %w", err), conn.Close())
	}
	resp, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read handshake: %w", err), conn.Close())
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		a, err := read(resp)
		return nil, errors.Join(fmt.Errorf("handshake: %s", a), err, conn.Close())
	}
	return s, nil
}

// frame is a frame as it goes over the wire: RFC 6455, section 5.2. A length of less
// than zero is that of the payload.
func frame(first byte, masked bool, length int64, payload []byte) []byte {
	if length < 0 {
		length = int64(len(payload))
	}
	var mask byte
	if masked {
		mask = 0x80
	}
	out := []byte{first}
	switch {
	case length < 126:
		out = append(out, mask|byte(length))
	case length <= math.MaxUint16:
		out = binary.BigEndian.AppendUint16(append(out, mask|126), uint16(length))
	default:
		out = binary.BigEndian.AppendUint64(append(out, mask|127), uint64(length))
	}
	if masked {
		out = append(out, 0, 0, 0, 0) // a mask that changes nothing
	}
	return append(out, payload...)
}

// next reads a frame of the server's.
func (s *socket) next() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return 0, nil, err
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		var n uint16
		err = binary.Read(s.in, binary.BigEndian, &n)
		length = uint64(n)
	case 127:
		err = binary.Read(s.in, binary.BigEndian, &length)
	}
	if err != nil {
		return 0, nil, err
	}
	if length > 1<<20 {
		return 0, nil, fmt.Errorf("a frame of %d bytes", length)
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(s.in, payload)
	return head[0] & 0x0f, payload, err
}

// attackFrames sends frames that no client may send, on a socket that would stay
// open otherwise. Refused is the end of the connection, with the close status that
// RFC 6455 has for it where there is time to say it.
func attackFrames(ctx context.Context, t *target, r *tally) {
	address, release := t.origin.hold()
	defer release()
	id, err := t.submit(ctx, source{URL: address})
	if err != nil {
		r.note("a job to watch", err)
		return
	}
	const text, binaryFrame, goOn, goodbye, ping, pong, final = 1, 2, 0, 8, 9, 10, 0x80
	long := bytes.Repeat([]byte("x"), 5000)
	join := func(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
	for name, frames := range map[string][]byte{
		"unmasked text":              frame(final|text, false, -1, []byte("hello")),
		"unmasked ping":              frame(final|ping, false, -1, nil),
		"unmasked close":             frame(final|goodbye, false, -1, nil),
		"message of 5 kB":            frame(final|text, true, -1, long),
		"binary message of 5 kB":     frame(final|binaryFrame, true, -1, long),
		"message of 1 MB":            frame(final|text, true, -1, bytes.Repeat(long, 200)),
		"claim of 2 GB":              frame(final|text, true, 1<<31, long),
		"claim of most of all":       frame(final|text, true, math.MaxInt64, long),
		"claim of a negative length": append([]byte{final | text}, bytes.Repeat([]byte{0xff}, 9)...),
		"5 kB in fragments":          join(frame(text, true, -1, long[:2500]), frame(goOn, true, -1, long[:2500]), frame(final|goOn, true, -1, nil)),
		"5 kB in tiny fragments":     join(frame(text, true, -1, nil), bytes.Repeat(frame(goOn, true, -1, []byte("x")), 5000), frame(final|goOn, true, -1, nil)),
		"reserved bit 1":             frame(final|0x40|text, true, -1, []byte("hello")),
		"reserved bit 2":             frame(final|0x20|text, true, -1, []byte("hello")),
		"reserved bit 3":             frame(final|0x10|text, true, -1, []byte("hello")),
		"reserved opcode 3":          frame(final|3, true, -1, nil),
		"reserved opcode 15":         frame(final|15, true, -1, nil),
		"long ping":                  frame(final|ping, true, -1, long[:126]),
		"long pong":                  frame(final|pong, true, -1, long[:126]),
		"long close":                 frame(final|goodbye, true, -1, long[:126]),
		"fragmented ping":            frame(ping, true, -1, nil),
		"fragmented close":           frame(goodbye, true, -1, nil),
		"close of one byte":          frame(final|goodbye, true, -1, []byte{3}),
		"close status 0":             frame(final|goodbye, true, -1, []byte{0, 0}),
		"close status 1005":          frame(final|goodbye, true, -1, []byte{0x03, 0xed}),
		"close status 65535":         frame(final|goodbye, true, -1, []byte{0xff, 0xff}),
		"continuation of nothing":    frame(final|goOn, true, -1, []byte("hello")),
		"a message inside another":   join(frame(text, true, -1, []byte("a")), frame(final|text, true, -1, []byte("b"))),
		"HTTP in place of frames":    []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"noise":                      bytes.Repeat([]byte{0xff, 0xfe, 0xfd}, 1000),
	} {
		r.try(name, func() error { return t.ended(ctx, id, frames) })
	}
	r.wg.Wait() // the job stays open for so long
	// What is allowed does not end it, so the others were not ended by something else.
	s, err := t.open(ctx, id)
	if err == nil {
		defer s.Close()
		_, err = s.Write(frame(final|ping, true, -1, []byte("still there")))
		for err == nil {
			opcode, payload, failed := s.next()
			if err = failed; opcode == pong && string(payload) == "still there" {
				break
			}
		}
	}
	r.note("an honest ping is answered", err)
}

// ended sends frames and holds that the connection ends soon.
func (t *target) ended(ctx context.Context, id string, frames []byte) error {
	s, err := t.open(ctx, id)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(8 * time.Second)); err != nil {
		return fmt.Errorf("bound: %w", err)
	}
	if _, err := s.Write(frames); err != nil && timeout(err) {
		return fmt.Errorf("send: %w", err)
	}
	for {
		opcode, payload, err := s.next()
		switch {
		case timeout(err):
			return errors.New("the socket stayed open")
		case err != nil:
			return nil
		case opcode == 8 && len(payload) >= 2:
			if status := binary.BigEndian.Uint16(payload); status == 1000 {
				return fmt.Errorf("closed with %d, as if nothing had been wrong", status)
			}
			return nil
		}
	}
}

// attackReaders opens many sockets that take nothing, and some that ping without
// end. Refused is: one who reads is told everything, and soon.
func attackReaders(ctx context.Context, t *target, r *tally) {
	const silent, pinging = 200, 20
	address, release := t.origin.hold()
	defer release()
	batch := []source{{URL: address}}
	for range 40 {
		batch = append(batch, inline(photograph))
	}
	id, err := t.submit(ctx, batch...)
	if err != nil {
		r.note("a job to watch", err)
		return
	}
	for i := range silent + pinging {
		s, err := t.open(ctx, id)
		if err == nil {
			defer s.Close()
			if tcp, ok := s.Conn.(*net.TCPConn); ok {
				err = tcp.SetReadBuffer(1024)
			}
		}
		if err == nil && i >= silent { // pongs pile up on the way to it
			_, err = s.Write(bytes.Repeat(frame(0x80|9, true, -1, bytes.Repeat([]byte("x"), 125)), 20))
		}
		r.note("a socket that does not read", err)
	}
	r.note("one that reads is told everything", t.watched(ctx, id, len(batch), release))
}

// watched watches a job to its end, which comes after release.
func (t *target) watched(ctx context.Context, id string, images int, release func()) error {
	s, err := t.open(ctx, id)
	if err != nil {
		return err
	}
	defer s.Close()
	release()
	began := time.Now()
	seen := 0
	for {
		opcode, payload, err := s.next()
		if err != nil {
			return fmt.Errorf("after %d images: %w", seen, err)
		}
		if opcode != 1 {
			continue
		}
		var event struct{ Type string }
		if err := json.Unmarshal(payload, &event); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		switch event.Type {
		case "image_complete":
			seen++
		case "job_complete":
			if took := time.Since(began); seen != images || took > 20*time.Second {
				return fmt.Errorf("%d of %d images after %s", seen, images, took)
			}
			return nil
		}
	}
}

// attackOrigins speaks for hosts and pages that are not the gateway's. Refused is:
// 403 for a WebSocket of a foreign page, 400 for a Host that is none, and no answer that
// lets another page read or that repeats a host it was given.
func attackOrigins(ctx context.Context, t *target, r *tally) {
	id, err := t.submit(ctx, inline(photograph))
	if err != nil {
		r.note("a job to watch", err)
		return
	}
	for _, origin := range []string{
		"https://evil.example", "http://evil.example", "null", "file://", "http://" + t.host + ".evil.example", "http://evil.example/" + t.host, "http://evil.example#" + t.host,
		"http://evil.example@" + t.host + ".evil.example", "http://" + strings.TrimSuffix(t.host, t.host[strings.LastIndexByte(t.host, ':'):]) + ":1", "x", "*", "http://", t.host + ", http://evil.example",
		"http://" + t.host + " http://evil.example", "http://" + t.host + "\r\nOrigin: http://evil.example",
	} {
		a, err := t.raw(ctx, "GET /api/v1/batch/"+id+"/ws HTTP/1.1\r\nHost: "+t.host+"\r\n"+handshake+"Origin: "+origin+"\r\n\r\n")
		r.note("WebSocket of "+origin, refused(a, err, http.StatusForbidden))
	}
	for name, head := range map[string]string{
		"no Host": "", "two Hosts": "Host: a\r\nHost: b\r\n", "Host with a path": "Host: a/b\r\n", "Host with brackets": "Host: <script>\r\n", "Host with a space": "Host: a b\r\n", "Host with NUL": "Host: a\x00b\r\n",
	} {
		a, err := t.raw(ctx, "GET /healthz HTTP/1.1\r\n"+head+"\r\n")
		r.note(name, refused(a, err, http.StatusBadRequest))
	}
	for _, header := range []string{"Host", "X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"} {
		host := "Host: x\r\n"
		if header == "Host" {
			host = ""
		}
		a, err := t.raw(ctx, fmt.Sprintf("POST /api/v1/batch HTTP/1.1\r\n%s%s: evil.example\r\nContent-Length: %d\r\n\r\n%s", host, header, len(honest), honest))
		if err == nil && (a.status != http.StatusCreated || strings.Contains(fmt.Sprint(a.header, string(a.body)), "evil")) {
			err = fmt.Errorf("got %s with %v", a, a.header)
		}
		r.note(header+" in an answer", err)
	}
	for _, method := range []string{http.MethodOptions, http.MethodGet} {
		for _, path := range []string{"/api/v1/batch", "/api/v1/batch/" + id, "/api/v1/batch/" + id + "/images/0/file"} {
			a, err := t.do(ctx, method, path, nil, "Origin", "https://evil.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-api-key")
			if allowed := a.header.Get("Access-Control-Allow-Origin"); err == nil && allowed != "" {
				err = fmt.Errorf("lets %q read", allowed)
			}
			r.note(method+" "+path+" by a foreign page", err)
		}
	}
}
