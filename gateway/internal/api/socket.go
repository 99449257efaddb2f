package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"golang.org/x/net/http/httpguts"
	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
)

const (
	inboundLimit = 4 << 10          // bytes of a message from a client, whose content means nothing
	frameTime    = 10 * time.Second // for the client to take one frame
	goodbyeTime  = time.Second      // for the client to answer a close, once it is sent

	// closedGone is the close status of a job that was deleted while it was watched,
	// from the range for private use (RFC 6455, section 7.4.2).
	closedGone websocket.StatusCode = 4404
)

var (
	errNoText = errors.New("message is not UTF-8")          // of a text message (RFC 6455, section 8.1)
	errDeaf   = errors.New("client takes no frame in time") // though its connection stands
)

// watch lets a client watch a job over a WebSocket. Whatever is wrong is answered
// before the upgrade.
func (s *Server) watch(c echo.Context) error {
	r := c.Request()
	if err := checkHandshake(r); err != nil {
		return err
	}
	select {
	case <-s.closing:
		return errClosing
	default:
	}
	id := c.Param("job_id")
	if !isUUID(id) {
		return job.ErrNotFound
	}
	by := detailsOf(c).by
	closed, err := s.openSocket(by)
	if err != nil {
		return err
	}
	watcher, err := s.deps.Hub.Subscribe(r.Context(), id)
	if err == nil && !viewerOf(by).Sees(watcher.Job()) {
		watcher.Close()
		err = job.ErrNotFound
	}
	if err != nil {
		closed()
		return err
	}
	conn, err := websocket.Accept(c.Response(), r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // it would compare origins once more, and not with ours
		CompressionMode:    websocket.CompressionDisabled,
		Subprotocols:       []string{socketProtocol},
	})
	if err != nil {
		closed()
		watcher.Close()
		return fmt.Errorf("upgrade: %w", err)
	}
	// A goroutine of its own lets go of the request and of the stack that it needed,
	// which is half of what a socket costs. Serve waits for it.
	s.running.Add(1)
	ctx := context.WithoutCancel(r.Context())
	conn.SetReadLimit(inboundLimit)
	wire := c.Response().Writer.(*responseWriter).socket //nolint:forcetypeassert // Accept has hijacked it
	k := &socket{conn: conn, wire: wire, idle: s.config.WSIdleTimeout, start: time.Now()}
	go func() {
		defer closed()
		s.follow(ctx, id, by.Removed(), watcher, k)
	}()
	return nil
}

// checkHandshake refuses a request that is no WebSocket handshake by RFC 6455,
// section 4.2.1. The library checks the same and would respond in plain text, so
// nothing that passes here may fail there.
func checkHandshake(r *http.Request) error {
	h := r.Header
	keys := h.Values("Sec-WebSocket-Key")
	switch {
	case r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || !httpguts.HeaderValuesContainsToken(h.Values("Connection"), "upgrade") ||
		!httpguts.HeaderValuesContainsToken(h.Values("Upgrade"), "websocket"):
		return errNoUpgrade
	case h.Get("Sec-WebSocket-Version") != "13":
		return errSocketVersion
	case len(keys) != 1:
		return errSocketKeys
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(key) != 16 {
		return errSocketKey
	}
	return nil
}

// follow serves one socket to its end.
func (s *Server) follow(ctx context.Context, id string, removed <-chan struct{}, watcher *progress.Watcher, k *socket) {
	defer s.running.Done()
	defer watcher.Close()
	defer func() {
		if p := recover(); p != nil { // it is this socket's end and not the process's
			s.deps.Log.ErrorContext(ctx, "panic in a socket", "job_id", id, "panic", bounded(fmt.Sprint(p)), "stack", string(debug.Stack()))
		}
	}()
	s.metrics.sockets.Add(1)
	defer s.metrics.sockets.Add(-1)
	why := k.serve(ctx, watcher, s.closing, removed)
	s.metrics.closes.Inc(why)
	s.deps.Log.DebugContext(ctx, "websocket closed", "job_id", id, "why", why, "duration", time.Since(k.start))
}

// socket is one open WebSocket.
type socket struct {
	conn    *websocket.Conn
	wire    *closeFrameConn // under conn
	idle    time.Duration
	start   time.Time
	heard   atomic.Int64 // when the client was last heard of, in nanoseconds since start
	pinging atomic.Bool
}

// serve sends what the watcher is told until the job has ended, the client is
// gone or silent, closing is closed, or the key is removed by which it came. It returns why it ended, for the metrics.
func (k *socket) serve(ctx context.Context, w *progress.Watcher, closing, removed <-chan struct{}) string {
	// The library closes the connection when the context of a read ends.
	ctx, hangUp := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = k.conn.CloseNow() }() // mostly it is closed already
	defer hangUp()
	gone := make(chan error, 1)
	wg.Go(func() { gone <- k.listen(ctx) })

	interval := k.idle * 25 / 60
	ping := interval // when the next one is due, since start
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case err := <-gone:
			switch {
			case errors.Is(err, errFlood):
				return k.goodbye(websocket.StatusPolicyViolation, errFlood.Error(), "flood")
			case errors.Is(err, errNoText):
				return k.goodbye(websocket.StatusInvalidFramePayloadData, errNoText.Error(), "malformed")
			}
			return "client"
		case <-closing:
			return k.goodbye(websocket.StatusGoingAway, "server is shutting down", "shutdown")
		case <-removed:
			return k.goodbye(websocket.StatusPolicyViolation, "API key was removed", "key_removed")
		case <-w.Ready():
			over, err := k.tell(ctx, w, closing)
			switch {
			case errors.Is(err, progress.ErrGone):
				return k.goodbye(closedGone, "job was deleted", "job_deleted")
			case errors.Is(err, progress.ErrClosed):
				return k.goodbye(websocket.StatusGoingAway, "server is shutting down", "shutdown")
			case errors.Is(err, errDeaf):
				return "slow" // a close frame would wait behind the one that it doesn't take
			case err != nil:
				return "client"
			case over:
				return k.goodbye(websocket.StatusNormalClosure, "", "job_complete")
			}
		case <-timer.C:
			now, heard := time.Since(k.start), time.Duration(k.heard.Load())
			if now-heard >= k.idle {
				return k.goodbye(websocket.StatusPolicyViolation, "client is silent", "silent")
			}
			if now >= ping {
				ping = now + interval
				if k.pinging.CompareAndSwap(false, true) {
					wg.Go(func() { k.ping(ctx) })
				}
			}
			timer.Reset(min(ping, heard+k.idle) - now)
		}
	}
}

// listen reads and drops what the client sends, which makes the library answer
// pings and closes. It returns why there is nothing more to read.
func (k *socket) listen(ctx context.Context) error {
	for {
		kind, message, err := k.conn.Reader(ctx)
		if err != nil {
			return err
		}
		k.hear()
		data, err := io.ReadAll(message)
		if err != nil {
			return err
		}
		if kind == websocket.MessageText && !utf8.Valid(data) {
			return errNoText
		}
	}
}

func (k *socket) hear() { k.heard.Store(int64(time.Since(k.start))) }

// ping waits for the answer to a ping, until the connection ends.
func (k *socket) ping(ctx context.Context) {
	if k.conn.Ping(ctx) == nil {
		k.hear()
	}
	k.pinging.Store(false)
}

// tell sends what has happened, one frame for each event. It returns true after
// the job's end. When closing is closed it stops with [progress.ErrClosed] after
// the frame in hand: a client may take its time for each of a hundred.
func (k *socket) tell(ctx context.Context, w *progress.Watcher, closing <-chan struct{}) (bool, error) {
	events, err := w.Next()
	if err != nil {
		return false, err
	}
	for _, e := range events {
		select {
		case <-closing:
			return false, progress.ErrClosed
		default:
		}
		data, err := encode(eventShape(e))
		if err != nil {
			return false, err
		}
		frame, cancel := context.WithTimeout(ctx, frameTime)
		err = k.conn.Write(frame, websocket.MessageText, bytes.TrimSuffix(data, []byte("\n")))
		late := frame.Err() != nil && ctx.Err() == nil // the library tells only of a closed connection
		cancel()
		switch {
		case err != nil && late:
			return false, fmt.Errorf("send frame: %w: %w", errDeaf, err)
		case err != nil:
			return false, fmt.Errorf("send frame: %w", err)
		}
		if e.Kind == progress.JobComplete {
			return true, nil
		}
	}
	return false, nil
}

// goodbye closes with a status. A client that doesn't take the close frame, for
// which the library has a limit, or doesn't answer it, is cut off. The time for an
// answer begins when there is something to answer: what a busy machine takes to send
// it is not the client's.
func (k *socket) goodbye(status websocket.StatusCode, reason, why string) string {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = k.conn.Close(status, reason) // it is closed in any case
	}()
	select {
	case <-closed:
		return why
	case <-k.wire.out:
	}
	answer := time.NewTimer(goodbyeTime)
	defer answer.Stop()
	select {
	case <-closed:
	case <-answer.C:
		_ = k.wire.Close() // so that nothing comes any more, and Close returns
		<-closed
	}
	return why
}
