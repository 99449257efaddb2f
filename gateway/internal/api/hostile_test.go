package api_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// masked returns a frame as a client sends it, masked with zeros.
func masked(first byte, payload string) []byte {
	frame := []byte{first}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0xfe), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0xff), uint64(n))
	}
	return append(append(frame, 0, 0, 0, 0), payload...)
}

// The first bytes of frames.
const (
	finText  = 0x81
	finPing  = 0x89
	finPong  = 0x8a
	openText = 0x01 // first fragment of a message
	openMore = 0x00 // middle fragment of a message
	finMore  = 0x80
)

// closeStatus reads to the end of the connection and returns the status of the close frame before
// it, or 0 if there was none.
func (s rawSocket) closeStatus() (status int) {
	for {
		opcode, payload, err := s.next()
		if err != nil {
			return status
		}
		if opcode == opClose && len(payload) >= 2 {
			status = int(binary.BigEndian.Uint16(payload))
		}
	}
}

// repeat sends frames until the server closes the connection or stops reading.
func repeat(frame []byte) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			if _, err := conn.Write(frame); err != nil {
				return
			}
		}
	}
}

func send(frames ...[]byte) func(net.Conn) {
	return func(conn net.Conn) {
		for _, f := range frames {
			if _, err := conn.Write(f); err != nil {
				return
			}
		}
	}
}

// TestAttackFrames verifies that a WebSocket client that breaks the protocol or sends too
// much is disconnected with the close status for it, and that other clients of the job
// get every event.
func TestAttackFrames(t *testing.T) {
	for name, c := range map[string]struct {
		does func(net.Conn)
		want int // 0: no close frame
	}{
		"a message over the limit":        {send(masked(finText, strings.Repeat("x", 4097))), 1009},
		"a message of 2^62 bytes":         {send([]byte{finText, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 8000)), 1009},
		"fragments over the limit":        {send(masked(openText, strings.Repeat("x", 4000)), masked(finMore, strings.Repeat("x", 97))), 1009},
		"a message of 2^31 bytes":         {send([]byte{finText, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 8000)), 1009},
		"a message of 2^63-1 bytes":       {send([]byte{finText, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, make([]byte, 8000)), 1009},
		"a message of negative length":    {send(append([]byte{finText}, bytes.Repeat([]byte{0xff}, 9)...)), 0},
		"a binary message over the limit": {send(masked(0x82, strings.Repeat("x", 5000))), 1009},
		"a message of 1 MB":               {send(masked(finText, strings.Repeat("x", 1<<20))), 1009},
		"tiny fragments over the limit":   {send(masked(openText, ""), bytes.Repeat(masked(openMore, "x"), 5000), masked(finMore, "")), 1008},
		"a frame without a mask":          {send([]byte{finText, 1, 'x'}), 0},
		"a ping without a mask":           {send([]byte{finPing, 0}), 0},
		"a close frame without a mask":    {send([]byte{0x88, 0}), 0},
		"a pong that is too long":         {send(masked(0x8a, strings.Repeat("x", 126))), 1002},
		"a close frame that is too long":  {send(masked(0x88, strings.Repeat("x", 126))), 1002},
		"a close frame in fragments":      {send(masked(0x08, "")), 1002},
		"the close status 0":              {send(masked(0x88, "\x00\x00")), 1002},
		"the close status 1005":           {send(masked(0x88, "\x03\xed")), 1002},
		"the close status 65535":          {send(masked(0x88, "\xff\xff")), 1002},
		"the opcode 15":                   {send(masked(0x8f, "")), 1002},
		"the second reserved bit":         {send(masked(0xa1, "x")), 1002},
		"the third reserved bit":          {send(masked(0x91, "x")), 1002},
		"HTTP in place of frames":         {send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")), 1002},
		"noise":                           {send(bytes.Repeat([]byte{0xff, 0xfe, 0xfd}, 1000)), 1002},
		"a ping that is too long":         {send(masked(finPing, strings.Repeat("x", 126))), 1002},
		"a ping in fragments":             {send(masked(0x09, "x")), 1002},
		"a kind of frame that is not":     {send(masked(0x83, "x")), 1002},
		"compressed without agreement":    {send(masked(0xc1, "x")), 1002},
		"a fragment of nothing":           {send(masked(finMore, "x")), 1002},
		"a message inside another":        {send(masked(openText, "x"), masked(finText, "x")), 1002},
		"a close frame of one byte":       {send(masked(0x88, "x")), 1002},
		"text that is not UTF-8":          {send(masked(finText, "\xff")), 1007},
		"text that is not, in fragments":  {send(masked(openText, "\xd1"), masked(finMore, "x")), 1007},
		"pings without end":               {repeat(masked(finPing, "x")), 1008},
		"empty messages without end":      {repeat(masked(finText, "")), 1008},
		"small messages without end":      {repeat(masked(0x82, "xxx")), 1008},
		"a message of fragments, no end":  {repeat(masked(openMore, "")), 1002}, // without a first fragment
		"empty fragments without end":     {func(k net.Conn) { send(masked(openText, ""))(k); repeat(masked(openMore, ""))(k) }, 1008},
		"pings inside a message, no end":  {func(k net.Conn) { send(masked(openText, ""))(k); repeat(masked(finPing, ""))(k) }, 1008},
		"pongs without a ping":            {repeat(masked(0x8a, "x")), 1008},
		"half a frame, and then no more":  {send([]byte{finText, 0x84, 0, 0, 0, 0, 'x'}), 1008}, // silent
		"half a header, and then no more": {send([]byte{finText}), 1008},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := setup(t, options{listener: newPipes()})
				id := r.create(1)
				other := r.dialSocket(id)
				received := make(chan []frame)
				go func() {
					all, err := frames(t.Context(), other)
					if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
						t.Errorf("the other client ended with %v", err)
					}
					received <- all
				}()
				s := r.rawSocket(id)
				started := time.Now()
				var sending sync.WaitGroup
				sending.Go(func() { c.does(s) })
				if got := s.closeStatus(); got != c.want {
					t.Errorf("got close status %d, want %d", got, c.want)
				}
				r.must(s.Close())
				sending.Wait()
				if took, most := time.Since(started), 62*time.Second; took > most {
					t.Errorf("closed after %v", took)
				}
				r.end(id, 0, nil)
				if all := <-received; len(all) != 3 {
					t.Errorf("the other client got %v", all)
				}
			})
		})
	}
}

// TestWellBehavedClients verifies that allowed frames keep a socket open: messages in
// fragments with pings between them, multi-byte text split at any byte, the maximum number
// of frames in a burst, and then one frame after the other for an hour.
func TestWellBehavedClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()})
		id := r.create(1)
		s := r.rawSocket(id)
		ended := make(chan int)
		go func() { ended <- s.closeStatus() }()
		send(masked(openText, "\xd1"), masked(finPing, "x"), masked(openMore, ""), masked(finMore, "\x88"))(s)
		for range 252 {
			send(masked(finText, strings.Repeat("x", 4096)))(s)
		}
		for range 10 * 3600 {
			time.Sleep(100 * time.Millisecond)
			send(masked(finText, "x"))(s)
		}
		synctest.Wait()
		select {
		case status := <-ended:
			t.Fatalf("got close status %d", status)
		default:
		}
		r.end(id, 0, nil)
		synctest.Wait()
		s.sendClose()
		if status := <-ended; status != 1000 {
			t.Errorf("got close status %d", status)
		}
	})
}

// Frames that arrive with the request, before the response, are counted like the others.
func TestFramesBeforeTheAnswer(t *testing.T) {
	for frames, want := range map[int]int{200: 1000, 300: 1008} {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t, options{listener: newPipes()})
			id := r.create(1)
			conn := r.dial()
			early := strings.Repeat(string(masked(finPing, "")), frames)
			var sending sync.WaitGroup
			sending.Go(func() {
				_, err := fmt.Fprintf(conn, "GET /api/v1/batch/%s/ws HTTP/1.1\r\nHost: x\r\n%s\r\n%s", id, headerLines(upgrade), early)
				if err != nil {
					t.Error(err)
				}
			})
			s := newRawSocket(r, conn)
			sending.Wait()
			ended := make(chan int)
			go func() { ended <- s.closeStatus() }()
			synctest.Wait()
			r.end(id, 0, nil)
			if status := <-ended; status != want {
				t.Errorf("%d frames: got close status %d, want %d", frames, status, want)
			}
		})
	}
}

// A client that never reads is disconnected when it has not taken a frame for ten
// seconds. In the meantime the other clients get their frames without delay.
func TestAClientThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes(), progress: progress.Config{MaxWatchers: 2}})
		id := r.create(20)
		stuck := r.rawSocket(id)
		quick := r.dialSocket(id)
		r.wantFrames(quick, "progress: processing 0+0/20")
		started := time.Now()
		for i := range 19 {
			r.end(id, i, nil)
			r.wantFrames(quick, fmt.Sprintf("image_complete %d completed: processing %d+0/20", i, i+1))
		}
		if took := time.Since(started); took > 0 {
			t.Errorf("the other client got its frame %v late", took)
		}
		wantError(t, r.do("GET", "/api/v1/batch/"+id+"/ws", nil, upgrade...), 503, "Too many WebSocket connections, event streams and waiting requests, try again later")
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if _, err := stuck.Write(masked(finText, "")); err == nil {
			t.Error("the client is not disconnected")
		}
		again := r.dialSocket(id) // there is room again
		all := 20                 // the current state of the job and the ended images
		for range all {
			if _, _, err := again.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.end(id, 19, nil)
		for _, k := range []*websocket.Conn{quick, again} {
			r.wantFrames(k, "image_complete 19 completed: completed 20+0/20", "job_complete: completed 20+0/20")
			r.wantClose(k, websocket.StatusNormalClosure)
		}
	})
}

// A slow client gets a frame for every image, with counters that may be newer than the
// frame and never decrease, or it is disconnected.
func TestASlowReaderHasNoGap(t *testing.T) {
	for name, pause := range map[string]time.Duration{"slow": 9 * time.Second, "too slow": 11 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t, options{listener: newPipes()})
			id := r.create(20)
			s := r.rawSocket(id)
			s.frame()
			for i := range 20 {
				r.end(id, i, nil)
			}
			synctest.Wait()
			var received []string
			for s.head() == finText {
				_, payload := s.frame()
				received = append(received, string(payload))
				time.Sleep(pause)
			}
			last := received[len(received)-1]
			if complete := strings.Contains(last, `"job_complete"`); complete != (pause < 10*time.Second) {
				t.Errorf("%s: got %d frames, and the last is %s", name, len(received), last)
			} else if complete && len(received) != 21 {
				t.Errorf("%s: got %d frames", name, len(received))
			}
		})
	}
}

// head returns the first byte of the next frame, or 0 at the end of the connection.
func (s rawSocket) head() byte {
	head, err := s.in.Peek(1)
	if err != nil {
		return 0
	}
	return head[0]
}

// TestLateCloseFrame verifies that a client that reads late still gets the close frame,
// and that its second for the response starts then.
func TestLateCloseFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()})
		id := r.create(1)
		s := r.rawSocket(id)
		s.frame()
		r.end(id, 0, nil)
		s.frame()
		s.frame()
		time.Sleep(3 * time.Second)
		if opcode, payload := s.frame(); opcode != opClose || binary.BigEndian.Uint16(payload) != 1000 {
			t.Errorf("got opcode %d, %x", opcode, payload)
		}
		started := time.Now()
		if rest, err := io.ReadAll(s.in); len(rest) > 0 || err != nil {
			t.Errorf("got %x, %v after the close frame", rest, err)
		}
		if took := time.Since(started); took != time.Second {
			t.Errorf("a client that does not respond was disconnected after %v", took)
		}
	})
}

// After many clients have disconnected, each in its own way, no goroutine, descriptor or
// memory of theirs is left.
func TestNothingIsLeftOfSockets(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(entries)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // the second run frees what the first one only released
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	const clients = 200
	r := setup(t, options{})
	id := r.create(1)
	visit := func() {
		var open []rawSocket
		for i := range clients {
			s := r.rawSocket(id)
			switch i % 4 {
			case 0:
				s.frame()
				s.sendClose()
			case 1:
				send(masked(finText, strings.Repeat("x", 5000)))(s)
			case 2: // half-closed
				r.must(s.Conn.(*net.TCPConn).CloseWrite())
			case 3:
				r.must(s.Conn.(*net.TCPConn).SetLinger(0))
				r.must(s.Close())
				continue
			}
			open = append(open, s)
		}
		for _, s := range open {
			s.closeStatus()
			r.must(s.Close())
		}
		r.noSockets()
		r.client.CloseIdleConnections()
	}
	visit() // allocates everything that is allocated only once
	ignore := goleak.IgnoreCurrent()
	beforeHeap, before := heap(), descriptors()
	visit()
	goleak.VerifyNone(t, ignore)
	if now := descriptors(); now > before {
		t.Errorf("got %d descriptors, want %d as before", now, before)
	}
	if grown := int64(heap()) - int64(beforeHeap); grown > clients*1000 {
		t.Errorf("the heap grew by %d bytes for each closed socket", grown/clients)
	}
	if s := r.dialSocket(id); s == nil {
		t.Error("no client can connect afterwards")
	}
	r.end(id, 0, &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged image"})
}
