package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"
)

// slowModel is a stand-in for a vision model. It answers every request well, after a while.
type slowModel struct {
	*httptest.Server
	wait time.Duration

	mu      sync.Mutex // guards the fields below
	held    []chan struct{}
	holds   bool
	answers []time.Time
}

const modelAnswer = `{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "slow", "choices": [{"index": 0, "finish_reason": "stop",
	"message": {"role": "assistant", "content": "{\"title\": \"Some picture\", \"description\": \"It shows something.\", \"keywords\": [\"thing\"], \"alt_text\": \"Something.\"}"}}],
	"usage": {"prompt_tokens": 300, "completion_tokens": 60, "total_tokens": 360}}`

func startSlowModel(wait time.Duration) *slowModel {
	m := &slowModel{wait: wait}
	m.Server = httptest.NewServer(m)
	return m
}

// ServeHTTP answers a request.
func (m *slowModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	due := m.due()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // the analyzer is gone
	}
	select {
	case <-due:
	case <-r.Context().Done():
		return
	}
	m.mu.Lock()
	m.answers = append(m.answers, time.Now())
	m.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, modelAnswer) // the analyzer may be gone
}

// due returns a channel that is closed when it is time to answer a request of this moment.
func (m *slowModel) due() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	due := make(chan struct{})
	if m.holds {
		m.held = append(m.held, due)
	} else {
		time.AfterFunc(m.wait, func() { close(due) })
	}
	return due
}

// hold keeps the next requests until release is called, and forgets the earlier answers.
func (m *slowModel) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holds, m.answers = true, nil
}

// release answers the kept requests one after the other, evenly spaced, so that the analyzers do not work in step.
func (m *slowModel) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, due := range m.held {
		time.AfterFunc(m.wait*time.Duration(i+1)/time.Duration(len(m.held)), func() { close(due) })
	}
	m.holds, m.held = false, nil
}

// holding returns the number of kept requests.
func (m *slowModel) holding() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.held)
}

// answered returns the times of the answers since hold was called.
func (m *slowModel) answered() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.answers)
}
