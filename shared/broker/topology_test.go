package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

func TestTopologyOfOneWorkQueue(t *testing.T) {
	want := []broker.QueueSpec{
		{Name: "image_upload", Work: "image_upload", DeliveryLimit: 100, DeadLetters: true},
		{Name: "image_upload.retry.1s", Work: "image_upload", TTL: time.Second, DeadLetterTo: "image_upload"},
		{Name: "image_upload.retry.5s", Work: "image_upload", TTL: 5 * time.Second, DeadLetterTo: "image_upload"},
		{Name: "image_upload.retry.15s", Work: "image_upload", TTL: 15 * time.Second, DeadLetterTo: "image_upload"},
		{Name: "image_upload.suspect", Work: "image_upload", DeliveryLimit: 3, DeadLetters: true},
		{Name: "image_upload.dead", Work: "image_upload", MaxLength: 100_000},
		{Name: "dead_results", Work: "dead_results"},
		{Name: "image_processed.foreign", Work: "image_processed.foreign", MaxLength: 100_000},
	}
	// A change here changes queues that releases have declared: a running broker
	// rejects it.
	if got := broker.Topology("image_upload"); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestTopologyNamesAreDistinctAndComplete(t *testing.T) {
	work := []string{"image_upload", "image_described", "metadata_generated", "image_processed"}
	specs := broker.Topology(work...)
	names := map[string]bool{}
	for _, s := range specs {
		if names[s.Name] {
			t.Errorf("queue %s is listed twice", s.Name)
		}
		names[s.Name] = true
	}
	for _, q := range work {
		for _, d := range broker.RetryDelays {
			if !names[broker.RetryQueue(q, d)] {
				t.Errorf("no %s", broker.RetryQueue(q, d))
			}
		}
		if !names[q] || !names[broker.QuarantineQueue(q)] || !names[broker.DeadQueue(q)] {
			t.Errorf("work queue %s lacks one of its queues", q)
		}
	}
	for _, s := range specs {
		if s.DeadLetterTo != "" && !names[s.DeadLetterTo] {
			t.Errorf("queue %s has the target %s, which is not listed", s.Name, s.DeadLetterTo)
		}
	}
	if !names[broker.DeadResults] || !names[broker.ForeignResults] {
		t.Errorf("%s or %s is missing", broker.DeadResults, broker.ForeignResults)
	}
}

func TestBacklogExcludesDeadQueues(t *testing.T) {
	want := []string{"a", "a.retry.1s", "a.retry.5s", "a.retry.15s", "a.suspect", "dead_results"}
	if got := broker.Backlog("a"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNoRouteIsUnavailable(t *testing.T) {
	err := fmt.Errorf("publish: %w", broker.ErrNoRoute)
	if !errors.Is(err, broker.ErrNoRoute) || !errors.Is(err, broker.ErrUnavailable) {
		t.Error("a wrapped ErrNoRoute is not ErrNoRoute and ErrUnavailable")
	}
	if errors.Is(broker.ErrUnavailable, broker.ErrNoRoute) {
		t.Error("ErrUnavailable matches ErrNoRoute")
	}
}
