package main

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// history records what happened in a run, as one JSON object per line: the
// requests with their results, the faults with begin and end, and the breaches.
type history struct {
	file *os.File
	log  *slog.Logger

	mu       sync.Mutex // guards breaches
	breaches []string
}

// maxBreaches bounds what is kept of a run in which everything fails.
const maxBreaches = 50

func newHistory(path string) (*history, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &history{file: f, log: slog.New(slog.NewJSONHandler(f, nil))}, nil
}

// note records an event: who did what, and details such as the result.
func (h *history) note(who, what string, details ...any) {
	h.log.Info("event", "who", who, "what", what, "details", fmt.Sprint(details...))
}

// breach records that the promise was broken.
func (h *history) breach(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	h.note("judge", "breach", text)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.breaches) < maxBreaches {
		h.breaches = append(h.breaches, text)
	}
}
