package api_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestShutdownWaitsForOneFrameAtMost verifies that a client that takes its frames one by
// one does not delay the shutdown until it has got them all.
func TestShutdownWaitsForOneFrameAtMost(t *testing.T) {
	r := setup(t, options{})
	id := r.create(3)
	// More than all buffers of the connection can hold.
	long := strings.Repeat("x", 6<<20)
	for i := range 2 {
		r.end(id, i, &pipeline.Failure{Code: pipeline.CodeDamaged, Text: long})
	}
	slow := r.dialSocket(id)
	slow.SetReadLimit(16 << 20)
	r.wantFrames(slow, "progress: processing 0+2/3")
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	r.untilClosed()
	all, err := frames(t.Context(), slow)
	if len(all) > 1 || websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v, %v; want at most the frame in flight and a close with 1001", all, err)
	}
	r.must(<-stopped)
}

// TestSocketThatNeverReads verifies that a watcher that takes no frame is disconnected
// after a while and counted as slow, not as disconnected, silent or completed.
func TestSocketThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()}) // its connections have no buffers
		id := r.create(2)
		silent, leaves := r.rawSocket(id), r.dialSocket(id)
		silent.frame() // the current state of the job
		r.wantFrames(leaves, "progress: processing 0+0/2")
		r.must(leaves.Close(websocket.StatusNormalClosure, ""))
		started := time.Now()
		r.end(id, 0, nil)
		time.Sleep(9 * time.Second)
		telemetrytest.Expect(t, r.metrics, `websockets_closed_total{why="slow"} 0`, `websockets 1`)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		telemetrytest.Expect(t, r.metrics,
			`websockets_closed_total{why="slow"} 1`, `websockets_closed_total{why="silent"} 0`, `websockets_closed_total{why="client"} 1`, `websockets 0`)
		if rest, err := io.ReadAll(silent.in); err != nil || len(rest) > 0 {
			t.Errorf("after %s: got %q, %v", time.Since(started), rest, err)
		}
	})
}
