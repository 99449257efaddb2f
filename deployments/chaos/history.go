package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// history is what happened in a run, in order, as one JSON object a line: who
// asked what, what came of it (ok, failed, or unknown when no answer came), each
// fault with its begin and end, and each breach.
type history struct {
	began time.Time

	mu       sync.Mutex // guards what follows
	file     *os.File
	breaches []string
	err      error // of writing
}

// maxBreaches bounds what is kept of a run that goes wrong everywhere.
const maxBreaches = 50

func newHistory(path string) (*history, error) {
	f, err := os.Create(path) //nolint:gosec // A path of our own.
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	return &history{began: time.Now(), file: f}, nil
}

// note writes down one thing that happened.
func (h *history) note(who, what, outcome string, detail any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.write(who, what, outcome, detail)
}

func (h *history) write(who, what, outcome string, detail any) {
	line, err := json.Marshal(struct {
		At      string `json:"at"`
		Who     string `json:"who"`
		What    string `json:"what"`
		Outcome string `json:"outcome,omitempty"`
		Detail  any    `json:"detail,omitempty"`
	}{fmt.Sprintf("%.3f", time.Since(h.began).Seconds()), who, what, outcome, detail})
	if err == nil {
		_, err = h.file.Write(append(line, '\n'))
	}
	if err != nil && h.err == nil {
		h.err = err
	}
}

// breach writes down that something did not hold which must.
func (h *history) breach(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	h.write("judge", "breach", "", text)
	if len(h.breaches) < maxBreaches {
		h.breaches = append(h.breaches, text)
	}
}

// close gives the breaches. A history that could not be written is one.
func (h *history) close() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.file.Close(); h.err == nil {
		h.err = err
	}
	if h.err != nil {
		h.breaches = append(h.breaches, "history not written: "+h.err.Error())
	}
	return h.breaches
}
