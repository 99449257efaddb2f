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

// TestShutdownWaitsForOneFrameAtMost holds that a client that takes its frames one
// by one does not keep the server from ending until it has had them all.
func TestShutdownWaitsForOneFrameAtMost(t *testing.T) {
	r := setup(t, options{})
	id := r.create(3)
	// More than the buffers between here and there can take.
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
		t.Errorf("got %v, %v; want at most the frame in hand and a close with 1001", all, err)
	}
	r.must(<-stopped)
}

// TestOneThatReadsNothing holds that a watcher that takes no frame is cut off after a
// while and counted as slow, and not as one that left, was silent or saw the end.
func TestOneThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()}) // whose connections hold nothing back
		id := r.create(2)
		deaf, leaves := r.rawSocket(id), r.dialSocket(id)
		deaf.frame() // the job as it is
		r.wantFrames(leaves, "progress: processing 0+0/2")
		r.must(leaves.Close(websocket.StatusNormalClosure, ""))
		began := time.Now()
		r.end(id, 0, nil)
		time.Sleep(9 * time.Second)
		telemetrytest.Expect(t, r.metrics, `websockets_closed_total{why="slow"} 0`, `websockets 1`)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		telemetrytest.Expect(t, r.metrics,
			`websockets_closed_total{why="slow"} 1`, `websockets_closed_total{why="silent"} 0`, `websockets_closed_total{why="client"} 1`, `websockets 0`)
		if rest, err := io.ReadAll(deaf.in); err != nil || len(rest) > 0 {
			t.Errorf("after %s the connection gives %q, %v", time.Since(began), rest, err)
		}
	})
}
