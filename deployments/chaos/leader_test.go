package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// TestLeaderless verifies that the harness finds a queue without a responding leader, and no
// other queue.
func TestLeaderless(t *testing.T) {
	s := testServers(t)
	b, err := rabbitmq.Open(rabbitmq.Config{
		URLs: []string{s.brokers[0].String()}, Declare: true, WorkQueues: []string{"sound"}, UnresponsiveAfter: time.Hour,
	}, slog.New(slog.DiscardHandler))
	must(t, err)
	defer func() { must(t, b.Close()) }()
	if _, err := b.Depth(t.Context(), "sound"); err != nil {
		t.Fatal(err)
	}
	if names, err := s.leaderless(t.Context()); err != nil || names != "" {
		t.Fatalf("queues without a leader on a healthy broker: %q (%v)", names, err)
	}
	process := func(verb string) {
		_, err := s.ctl(t.Context(), "eval", `sys:`+verb+`(whereis('`+s.vhost+`_sound.suspect')).`)
		must(t, err)
	}
	process("suspend")
	defer process("resume")
	if names, err := s.leaderless(t.Context()); err != nil || names != `<<"sound.suspect">>` {
		t.Errorf("queues without a leader: %q (%v)", names, err)
	}
}
