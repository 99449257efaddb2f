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

	"github.com/imagebatch/imagebatch/gateway/internal/progress"
)

const (
	inboundLimit = 4 << 10          // maximum bytes of a client's message, whose content is ignored
	frameTime    = 10 * time.Second // for the client to take one frame
	goodbyeTime  = time.Second      // for the client to respond to a close frame, once it is written
)

var (
	errNotText  = errors.New("text message is not UTF-8") // RFC 6455, section 8.1
	errRemoved  = errors.New("API key was removed")
	errSilent   = errors.New("no frame within the idle time")
	errNotTaken = errors.New("client does not take a frame") // although its connection is open
	errJobEnded = errors.New("job has ended")
)

// closes maps the reason for which a socket or an event stream ends to its close frame and its
// label in the metric. Without a match, the client has disconnected.
var closes = []struct {
	err    error
	status websocket.StatusCode // 0: no close frame
	reason string
	why    string
}{
	{errJobEnded, websocket.StatusNormalClosure, "", "job_complete"},
	{progress.ErrGone, 4404, "job was deleted", "job_deleted"}, // from the private-use range (RFC 6455, section 7.4.2)
	{progress.ErrClosed, websocket.StatusGoingAway, "server is shutting down", "shutdown"},
	{errRemoved, websocket.StatusPolicyViolation, "API key was removed", "key_removed"},
	{errSilent, websocket.StatusPolicyViolation, "client is silent", "silent"},
	{errFlood, websocket.StatusPolicyViolation, "too many messages", "flood"},
	{errNotText, websocket.StatusInvalidFramePayloadData, "message is not UTF-8", "malformed"},
	{errNotTaken, 0, "", "slow"}, // a close frame would wait behind the frame that the client does not take
}

// watch lets a client watch a job over a WebSocket. Errors are returned as responses
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
	id, by := detailsOf(c).jobID, detailsOf(c).by
	watcher, closed, err := s.follow(r.Context(), detailsOf(c))
	if err != nil {
		return err
	}
	conn, err := websocket.Accept(c.Response(), r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // checkOrigin has checked the origin already
		CompressionMode:    websocket.CompressionDisabled,
		Subprotocols:       []string{socketProtocol},
	})
	if err != nil {
		closed()
		return fmt.Errorf("upgrade: %w", err)
	}
	conn.SetReadLimit(inboundLimit)
	wire := c.Response().Writer.(*responseWriter).socket //nolint:forcetypeassert // Accept has hijacked it
	k := &socket{conn: conn, wire: wire, idle: s.config.WSIdleTimeout, interval: s.config.WSPingInterval, start: time.Now()}
	// A separate goroutine frees the request and the stack that it needed, which is half
	// of a socket's cost. Serve waits for it.
	s.running.Add(1)
	ctx := context.WithoutCancel(r.Context())
	go func() {
		defer s.running.Done()
		defer closed()
		defer func() {
			if p := recover(); p != nil { // a panic ends this socket but not the process
				s.deps.Log.ErrorContext(ctx, "panic in a socket", "job_id", id, "panic", bounded(fmt.Sprint(p)), "stack", string(debug.Stack()))
			}
		}()
		s.metrics.sockets.Add(1)
		defer s.metrics.sockets.Add(-1)
		why := k.serve(ctx, watcher, s.closing, by.Removed())
		s.metrics.closes.Inc(why)
		s.deps.Log.DebugContext(ctx, "websocket closed", "job_id", id, "why", why, "duration", time.Since(k.start))
	}()
	return nil
}

// checkHandshake rejects a request that is not a WebSocket handshake according to RFC
// 6455, section 4.2.1. The library checks the same but responds in plain text, so no
// request that passes here may fail there.
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

// socket is one open WebSocket.
type socket struct {
	conn     *websocket.Conn
	wire     *closeFrameConn // connection under conn
	idle     time.Duration
	interval time.Duration // between two pings
	start    time.Time
	pings    atomic.Int64 // pings that wait for their response
}

// MaxPingInterval returns the longest time between two pings for an idle time: two pings
// in a row and a sixth of the idle time to respond to the second.
func MaxPingInterval(idle time.Duration) time.Duration { return idle * 5 / 12 }

// maxPings is the maximum number of pings that wait for their response. A ping waits until
// the next one is due, but a write may take longer.
const maxPings = 2

// serve sends the events of the watcher until the job has ended, the client is
// disconnected or silent, closing is closed, or the key is removed. It returns the reason
// as the label of the metric.
func (k *socket) serve(ctx context.Context, w *progress.Watcher, closing, removed <-chan struct{}) string {
	// The library closes the connection when the context of a read ends.
	ctx, hangUp := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = k.conn.CloseNow() }() // usually it is closed already
	defer hangUp()
	gone := make(chan error, 1)
	wg.Go(func() { gone <- k.listen(ctx) })

	ping := k.interval // time of the next ping, since start
	timer := time.NewTimer(min(ping, k.idle))
	defer timer.Stop()
	var err error
	for err == nil {
		select {
		case err = <-gone:
		case <-closing:
			err = progress.ErrClosed
		case <-removed:
			err = errRemoved
		case <-w.Ready():
			err = k.send(ctx, w, closing)
		case <-timer.C:
			now, heard := time.Since(k.start), max(0, k.wire.heard().Sub(k.start))
			if now-heard >= k.idle {
				err = errSilent
				continue
			}
			if now >= ping {
				ping = now + k.interval
				if k.pings.Add(1) <= maxPings {
					wg.Go(func() { k.ping(ctx) })
				} else {
					k.pings.Add(-1)
				}
			}
			timer.Reset(min(ping, heard+k.idle) - now)
		}
	}
	for _, c := range closes {
		if errors.Is(err, c.err) {
			if c.status != 0 {
				k.close(c.status, c.reason)
			}
			return c.why
		}
	}
	return "client"
}

// listen reads and ignores the client's messages, so that the library responds to pings
// and closes. It returns the reason why reading ended.
func (k *socket) listen(ctx context.Context) error {
	for {
		kind, message, err := k.conn.Reader(ctx)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(message)
		if err != nil {
			return err
		}
		if kind == websocket.MessageText && !utf8.Valid(data) {
			return errNotText
		}
	}
}

// ping sends a ping and waits for the response until the next ping is due. Proxies close a
// connection on which nothing is sent, so a client that does not respond gets more pings.
func (k *socket) ping(ctx context.Context) {
	defer k.pings.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, k.interval)
	defer cancel()
	_ = k.conn.Ping(ctx) // serve notices a silent client
}

// send sends the pending events, one frame for each. It returns errJobEnded after the
// last event of the job, and [progress.ErrClosed] after the current frame when closing is
// closed: a client may take the full time limit for each of a hundred frames.
func (k *socket) send(ctx context.Context, w *progress.Watcher, closing <-chan struct{}) error {
	events, err := w.Next()
	if err != nil {
		return err
	}
	for _, e := range events {
		select {
		case <-closing:
			return progress.ErrClosed
		default:
		}
		data, err := encode(eventShape(e))
		if err != nil {
			return err
		}
		frame, cancel := context.WithTimeout(ctx, frameTime)
		err = k.conn.Write(frame, websocket.MessageText, bytes.TrimSuffix(data, []byte("\n")))
		late := frame.Err() != nil && ctx.Err() == nil // the library only reports a closed connection
		cancel()
		switch {
		case err != nil && late:
			return fmt.Errorf("send frame: %w: %w", errNotTaken, err)
		case err != nil:
			return fmt.Errorf("send frame: %w", err)
		case e.Kind == progress.JobComplete:
			return errJobEnded
		}
	}
	return nil
}

// close closes with a status. It disconnects a client that does not take the close frame,
// for which the library has a limit, or does not respond to it. The time limit for the
// response starts when the frame is written: a busy machine's delay before that is not
// the client's fault.
func (k *socket) close(status websocket.StatusCode, reason string) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = k.conn.Close(status, reason) // it is closed in any case
	}()
	select {
	case <-closed:
		return
	case <-k.wire.out:
	}
	timer := time.NewTimer(goodbyeTime)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
		_ = k.wire.Close() // this ends the read in Close
		<-closed
	}
}
