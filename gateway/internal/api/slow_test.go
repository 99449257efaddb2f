package api_test

import (
	"net/http"
	"strings"
	"testing"

	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/shared/pipeline"
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
	for { // until nobody is let in any more
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/", nil)
		r.must(err)
		resp, err := r.client.Do(req)
		if err != nil {
			break
		}
		resp.Body.Close()
	}
	all, err := frames(t.Context(), slow)
	if len(all) > 1 || websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v, %v; want at most the frame in hand and a close with 1001", all, err)
	}
	r.must(<-stopped)
}
