package api_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// lockedBuffer collects a log and can be read while the log is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// frame is a message as a client decodes it.
type frame struct {
	Type      string  `json:"type"`
	JobID     string  `json:"job_id"`
	Status    string  `json:"status"`
	Progress  float64 `json:"progress"`
	Completed int     `json:"completed"`
	Failed    int     `json:"failed"`
	Total     int     `json:"total_images"`
	Image     *struct {
		Index  int    `json:"index"`
		Status string `json:"status"`
		Error  string `json:"error"`
	} `json:"image"`
}

func (f frame) String() string {
	s := f.Type
	if f.Image != nil {
		s += fmt.Sprintf(" %d %s", f.Image.Index, f.Image.Status)
	}
	return fmt.Sprintf("%s: %s %d+%d/%d", s, f.Status, f.Completed, f.Failed, f.Total)
}

func (r *rig) dialSocket(id string) *websocket.Conn {
	r.Helper()
	conn, resp, err := websocket.Dial(r.Context(), r.url+"/api/v1/batch/"+id+"/ws", &websocket.DialOptions{HTTPClient: r.client})
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
	}
	r.must(err)
	r.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// frames reads frames until the server closes the socket. It returns them and the close
// error.
func frames(ctx context.Context, conn *websocket.Conn) ([]frame, error) {
	var all []frame
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return all, err
		}
		var f frame
		if kind != websocket.MessageText || json.Unmarshal(data, &f) != nil {
			return all, fmt.Errorf("text frame is not JSON: %q", data)
		}
		all = append(all, f)
	}
}

func (r *rig) wantFrames(conn *websocket.Conn, want ...string) {
	r.Helper()
	for _, w := range want {
		_, data, err := conn.Read(r.Context())
		if err != nil {
			r.Fatalf("got %v, want %q", err, w)
		}
		var f frame
		r.must(json.Unmarshal(data, &f))
		if f.String() != w {
			r.Fatalf("got %q, want %q", f, w)
		}
	}
}

func (r *rig) wantClose(conn *websocket.Conn, status websocket.StatusCode) {
	r.Helper()
	all, err := frames(r.Context(), conn)
	if len(all) > 0 || websocket.CloseStatus(err) != status {
		r.Errorf("got %v, %v; want a close with %d", all, err, status)
	}
}

func TestSocketFromStartToEnd(t *testing.T) {
	r := setup(t, options{})
	id := r.create(3)
	conn := r.dialSocket(id)
	r.wantFrames(conn, "progress: processing 0+0/3")
	r.end(id, 2, nil)
	r.wantFrames(conn, "image_complete 2 completed: processing 1+0/3")
	r.end(id, 0, errDamaged)
	r.wantFrames(conn, "image_complete 0 failed: processing 1+1/3")
	late := r.dialSocket(id)
	r.wantFrames(late, "progress: processing 1+1/3", "image_complete 2 completed: processing 1+1/3", "image_complete 0 failed: processing 1+1/3")
	r.end(id, 1, nil)
	for _, c := range []*websocket.Conn{conn, late} {
		r.wantFrames(c, "image_complete 1 completed: completed 2+1/3", "job_complete: completed 2+1/3")
		r.wantClose(c, websocket.StatusNormalClosure)
	}
	after := r.dialSocket(id)
	r.wantFrames(after, "progress: completed 2+1/3", "image_complete 2 completed: completed 2+1/3",
		"image_complete 0 failed: completed 2+1/3", "image_complete 1 completed: completed 2+1/3", "job_complete: completed 2+1/3")
	r.wantClose(after, websocket.StatusNormalClosure)
}

func TestSocketFromAllowedOrigins(t *testing.T) {
	r := setup(t, options{config: api.Config{AllowedOrigins: origins(t, "https://app.example.com")}})
	id := r.create(1)
	for _, origin := range []string{"https://app.example.com", "HTTPS://APP.example.com", r.url} {
		conn, resp, err := websocket.Dial(t.Context(), r.url+"/api/v1/batch/"+id+"/ws",
			&websocket.DialOptions{HTTPClient: r.client, HTTPHeader: map[string][]string{"Origin": {origin}}})
		if err != nil {
			t.Errorf("%s: got %v", origin, err)
			continue
		}
		if resp.Body != nil {
			resp.Body.Close()
		}
		_ = conn.CloseNow()
	}
}

// A thousand clients connect while the images of their jobs end, and the frames of each
// add up to what GET returns. The fake clock stands still while any goroutine is
// runnable, so that no time limit ends a socket on a busy machine.
func TestFramesAddUpToTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()})
		const jobs, images, clients = 5, 8, 200
		var wg sync.WaitGroup
		var ids []string
		for range jobs {
			ids = append(ids, r.create(images))
		}
		slots := make(chan struct{}, 100) // so that many connect late
		for _, id := range ids {
			wg.Go(func() {
				for _, i := range rand.Perm(images) {
					if i%3 == 0 {
						r.end(id, i, errDamaged)
					} else {
						r.end(id, i, nil)
					}
				}
			})
			for range clients {
				wg.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					r.fold(id)
				})
			}
		}
		wg.Wait()
	})
}

func (r *rig) fold(id string) {
	conn, resp, err := websocket.Dial(r.Context(), r.url+"/api/v1/batch/"+id+"/ws", &websocket.DialOptions{HTTPClient: r.client})
	if err != nil {
		r.Error(err)
		return
	}
	if resp.Body != nil {
		defer resp.Body.Close()
	}
	defer func() { _ = conn.CloseNow() }()
	all, err := frames(r.Context(), conn)
	if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		r.Errorf("got close error %v", err)
		return
	}
	ended := map[int]string{}
	for i, f := range all {
		if (i == 0) != (f.Type == "progress" && i == 0) || (f.Type == "job_complete") != (i == len(all)-1) || f.JobID != id {
			r.Errorf("frame %d of %d is %v", i, len(all), f)
		}
		if i > 0 && (f.Completed < all[i-1].Completed || f.Failed < all[i-1].Failed || f.Progress < all[i-1].Progress) {
			r.Errorf("the counters decreased: %v after %v", f, all[i-1])
		}
		if f.Image != nil {
			if _, twice := ended[f.Image.Index]; twice {
				r.Errorf("image %d was reported twice", f.Image.Index)
			}
			ended[f.Image.Index] = f.Image.Status
		}
	}
	j, err := r.jobs.Store.Get(r.Context(), id)
	if err != nil {
		r.Error(err)
		return
	}
	last := all[len(all)-1]
	if last.Status != string(j.Status) || last.Completed != j.Completed || last.Failed != j.Failed || last.Total != j.Total || len(ended) != j.Total {
		r.Errorf("got %v and %d images, want %s %d+%d/%d", last, len(ended), j.Status, j.Completed, j.Failed, j.Total)
	}
	for i := range j.Images {
		if ended[i] != string(j.Images[i].Status) {
			r.Errorf("image %d was reported as %q, want %q", i, ended[i], j.Images[i].Status)
		}
	}
}

func TestADeletedJobEndsItsSockets(t *testing.T) {
	r := setup(t, options{})
	id := r.create(2)
	conn := r.dialSocket(id)
	r.wantFrames(conn, "progress: processing 0+0/2")
	breakWith(&r.jobs.fault, job.ErrNotFound)
	r.hub.Resumed()
	r.wantClose(conn, 4404)
}

func TestShutdownSendsCloseFrame(t *testing.T) {
	r := setup(t, options{})
	id := r.create(2)
	conn := r.dialSocket(id)
	r.wantFrames(conn, "progress: processing 0+0/2")
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.wantClose(conn, websocket.StatusGoingAway)
	}()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	<-done
}

// TestIdleTime verifies that a peer that responds to no ping is closed at the limit, and
// that a peer that only responds to pings stays connected.
func TestIdleTime(t *testing.T) {
	const idle = time.Minute
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()})
		id := r.create(1)

		quiet := r.dialSocket(id)
		received := make(chan error, 1)
		go func() { // reading responds to pings
			_, err := frames(t.Context(), quiet)
			received <- err
		}()

		silent := r.rawSocket(id)
		started := time.Now()
		got, err := io.ReadAll(silent.in) // until the server closes the connection
		r.must(err)
		if took := time.Since(started); took < idle || took > idle+2*time.Second {
			t.Errorf("a silent peer was closed after %v", took)
		}
		if pings := bytes.Count(got, []byte{0x89, 1}); pings < 1 {
			t.Errorf("got %d pings before that", pings)
		}
		if !bytes.Contains(got, []byte("client is silent")) {
			t.Errorf("the close frame has no reason: %q", got[max(0, len(got)-50):])
		}

		time.Sleep(10 * idle)
		synctest.Wait()
		select {
		case err := <-received:
			t.Errorf("a quiet peer was closed: %v", err)
		default:
		}
		r.end(id, 0, nil)
		if err := <-received; websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("the quiet peer ended with %v", err)
		}
	})
}

// TestPings verifies when a client gets pings: first after one interval, then at every
// interval, also if it does not respond, until the idle time closes it.
func TestPings(t *testing.T) {
	for _, c := range []struct{ idle, set, want time.Duration }{
		{0, 0, 25 * time.Second},
		{100 * time.Second, 0, 25 * time.Second},
		{100 * time.Second, 40 * time.Second, 40 * time.Second},
		{12 * time.Second, 0, 5 * time.Second},
		{10 * time.Minute, time.Second, time.Second},
	} {
		for _, responds := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				r := setup(t, options{listener: newPipes(), config: api.Config{WSIdleTimeout: c.idle, WSPingInterval: c.set}})
				s := r.rawSocket(r.create(1))
				s.frame() // the current state of the job
				started := time.Now()
				idle := cmp.Or(c.idle, time.Minute)
				pings := int(idle / c.want) // until a silent client is closed
				if responds {
					pings *= 3
				}
				for i := 1; i <= pings; i++ {
					opcode, payload := s.frame()
					if took := time.Since(started); opcode != opPing || took != time.Duration(i)*c.want {
						if !responds && i == pings && opcode == opClose && took == idle && idle%c.want == 0 {
							break // the last ping would be due now
						}
						t.Fatalf("idle %s, interval %s, responds %t: frame %d has the opcode %d after %s", c.idle, c.set, responds, i, opcode, took)
					}
					if responds {
						_, err := s.Write(masked(finPong, string(payload)))
						r.must(err)
					}
				}
				if !responds {
					rest, err := io.ReadAll(s.in)
					r.must(err)
					if took := time.Since(started); took < idle || took > idle+2*time.Second {
						t.Errorf("idle %s, interval %s: the silent client was closed after %s, with %q", c.idle, c.set, took, rest)
					}
				}
			})
		}
	}
}

func headerLines(pairs []string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", pairs[i], pairs[i+1])
	}
	return b.String()
}

func TestMessagesFromClients(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	chatty := r.dialSocket(id)
	for range 100 {
		r.must(chatty.Write(t.Context(), websocket.MessageText, bytes.Repeat([]byte("x"), 4096)))
	}
	loud := r.dialSocket(id)
	r.must(loud.Write(t.Context(), websocket.MessageText, bytes.Repeat([]byte("x"), 4097)))
	if _, err := frames(t.Context(), loud); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("over the limit: got %v", err)
	}
	r.end(id, 0, nil)
	r.wantFrames(chatty, "progress: processing 0+0/1", "image_complete 0 completed: completed 1+0/1", "job_complete: completed 1+0/1")
	r.wantClose(chatty, websocket.StatusNormalClosure)
}

// TestSlowReader verifies that a client that does not read delays no other client, and
// gets every frame once it reads.
func TestSlowReader(t *testing.T) {
	r := setup(t, options{})
	id := r.create(20)
	slow, quick := r.dialSocket(id), r.dialSocket(id)
	r.wantFrames(quick, "progress: processing 0+0/20")
	for i := range 20 {
		r.end(id, i, &pipeline.Failure{Code: pipeline.CodeDamaged, Text: strings.Repeat("x", 10_000)})
		if _, _, err := quick.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	slow.SetReadLimit(1 << 20)
	all, err := frames(t.Context(), slow)
	if websocket.CloseStatus(err) != websocket.StatusNormalClosure || len(all) != 22 {
		t.Errorf("the slow client got %d frames, %v", len(all), err)
	}
}

func TestClientDisconnects(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	conn := r.dialSocket(id)
	r.wantFrames(conn, "progress: processing 0+0/1")
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	rude := r.dialSocket(id)
	r.wantFrames(rude, "progress: processing 0+0/1")
	if err := rude.CloseNow(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
