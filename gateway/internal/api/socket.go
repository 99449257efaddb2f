package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
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

// closeOf returns the close frame for the reason, or 0 for none, and the label of the metric.
func closeOf(reason error) (status websocket.StatusCode, text, why string) {
	for _, c := range closes {
		if errors.Is(reason, c.err) {
			return c.status, c.reason, c.why
		}
	}
	return 0, "", "client"
}

// watch lets a client watch a job over a WebSocket. Errors are returned as responses
// before the upgrade.
func (s *Server) watch(c echo.Context) error {
	r := c.Request()
	if err := checkHandshake(r); err != nil {
		return err
	}
	select {
	case <-s.closing.Done():
		return errClosing
	default:
	}
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
	k := &socket{
		conn: conn, idle: s.config.WSIdleTimeout, interval: s.config.WSPingInterval, start: time.Now(),
		wire: c.Response().Writer.(*responseWriter).socket, //nolint:forcetypeassert // Accept has hijacked it
	}
	k.due = k.interval
	k.ctx, k.hangUp = context.WithCancel(context.Background())
	s.startFollowing(c, k, watcher, closed)
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
	due      time.Duration // time of the next ping, since start

	ctx    context.Context // of reads and pings; the library closes the connection when the context of a read ends
	hangUp context.CancelFunc
	pings  sync.WaitGroup
	open   atomic.Int64 // pings that wait for their response
}

// MaxPingInterval returns the longest time between two pings for an idle time: two pings
// in a row and a sixth of the idle time to respond to the second.
func MaxPingInterval(idle time.Duration) time.Duration { return idle * 5 / 12 }

// maxPings is the maximum number of pings that wait for their response. A ping waits until
// the next one is due, but a write may take longer.
const maxPings = 2

// listen reads and ignores the client's messages, so that the library responds to pings
// and closes.
func (k *socket) listen() error {
	for {
		kind, message, err := k.conn.Reader(k.ctx)
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

// tick ends a client that is silent, and sends a ping when one is due.
func (k *socket) tick() (time.Duration, error) {
	now, heard := time.Since(k.start), max(0, k.wire.heard().Sub(k.start))
	if now-heard >= k.idle {
		return 0, errSilent
	}
	if now >= k.due {
		k.due = now + k.interval
		if k.open.Add(1) <= maxPings {
			k.pings.Go(k.ping)
		} else {
			k.open.Add(-1)
		}
	}
	return min(k.due, heard+k.idle) - now, nil
}

// ping sends a ping and waits for the response until the next ping is due. Proxies close a
// connection on which nothing is sent, so a client that does not respond gets more pings.
func (k *socket) ping() {
	defer k.open.Add(-1)
	ctx, cancel := context.WithTimeout(k.ctx, k.interval)
	defer cancel()
	_ = k.conn.Ping(ctx) // tick notices a silent client
}

// send sends an event as one frame.
func (k *socket) send(e progress.Event, _ bool) error {
	data, err := message(e)
	if err != nil {
		return err
	}
	err = k.conn.Write(context.Background(), websocket.MessageText, data) // wire limits the time
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("send frame: %w: %w", errNotTaken, err)
	case err != nil:
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// end sends the close frame for the reason, if there is one.
func (k *socket) end(reason error) {
	if status, text, _ := closeOf(reason); status != 0 {
		k.close(status, text)
	}
	k.hangUp()
	_ = k.conn.CloseNow() // usually it is closed already
	k.pings.Wait()
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
