package membroker

import (
	"bytes"
	"context"
	"fmt"
)

// subscriber is a call of Subscribe.
type subscriber struct {
	waiting chan []byte
}

// Broadcast sends body to all current subscribers of the topic; see broker.Broker.
func (b *Broker) Broadcast(ctx context.Context, topic string, body []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("broadcast to %s: %w", topic, err)
	}
	body = bytes.Clone(body)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return fmt.Errorf("broadcast to %s: %w", topic, errClosed)
	}
	for s := range b.subscribers[topic] {
		s.push(body)
	}
	return nil
}

// push sends body and drops the oldest broadcasts if there is no room. The caller holds
// the Broker's mu, so there is no other sender.
func (s *subscriber) push(body []byte) {
	for {
		select {
		case s.waiting <- body:
			return
		default:
			select {
			case <-s.waiting:
			default:
			}
		}
	}
}

// Subscribe calls handle for every broadcast of the topic; see broker.Broker. A handle
// that falls more than 1024 broadcasts behind loses the oldest.
func (b *Broker) Subscribe(ctx context.Context, topic string, resumed func(), handle func([]byte)) error {
	s := &subscriber{waiting: make(chan []byte, maxBacklog)}
	b.mu.Lock()
	if b.subscribers[topic] == nil {
		b.subscribers[topic] = map[*subscriber]struct{}{}
	}
	b.subscribers[topic][s] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subscribers[topic], s)
		if len(b.subscribers[topic]) == 0 {
			delete(b.subscribers, topic)
		}
	}()
	if resumed != nil && ctx.Err() == nil {
		resumed()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.closed:
			return fmt.Errorf("subscribe to %s: %w", topic, errClosed)
		case body := <-s.waiting:
			if ctx.Err() == nil {
				handle(body)
			}
		}
	}
}
