package membroker

import (
	"time"

	"github.com/gammazero/deque"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// message is one message on one queue. Its body and headers never change: the
// copies on other queues share them.
type message struct {
	body       []byte
	headers    map[string]string
	place      uint64    // its place in the order of the queue
	deliveries int       // how often it was given back
	due        time.Time // when it leaves a queue with a TTL
	deaths     []broker.Death
}

// queue is what one broker.QueueSpec stands for. The Broker's mu guards all.
type queue struct {
	broker    *Broker
	spec      broker.QueueSpec
	waiting   deque.Deque[*message]
	places    uint64 // given out so far
	unacked   int
	consumers []*consumer
	next      int         // the consumer whose turn it is
	expiry    *time.Timer // of the first message, on a queue with a TTL
}

func (q *queue) size() int { return q.waiting.Len() + q.unacked }

// add puts a message at the end, as new to this queue.
func (q *queue) add(m message, now time.Time) {
	q.places++
	m.place, m.deliveries, m.due = q.places, 0, now.Add(q.spec.TTL)
	if q.spec.DeliveryLimit > 0 {
		if m.deliveries = q.broker.memory.died(q.spec.Name, &m); m.deliveries > q.spec.DeliveryLimit {
			q.bury(&m, now)
			return
		}
	}
	q.waiting.PushBack(&m)
	for q.spec.MaxLength > 0 && q.size() > q.spec.MaxLength && q.waiting.Len() > 0 {
		q.waiting.PopFront()
	}
	q.deliver()
	q.watchExpiry(now)
}

// deliver hands out what waits, to the consumers in turn, as far as their
// prefetch goes.
func (q *queue) deliver() {
	for q.waiting.Len() > 0 {
		c := q.free()
		if c == nil {
			return
		}
		m := q.waiting.PopFront()
		q.unacked++
		c.take(m)
	}
}

// free is the next consumer with room.
func (q *queue) free() *consumer {
	for range q.consumers {
		c := q.consumers[q.next%len(q.consumers)]
		q.next = (q.next + 1) % len(q.consumers)
		if len(c.unacked) < c.prefetch {
			return c
		}
	}
	return nil
}

// giveBack returns a delivery that was not acked to the front, or makes it a dead
// letter. The caller delivers what waits afterwards.
func (q *queue) giveBack(m *message, now time.Time) {
	q.unacked--
	m.deliveries++
	if q.spec.DeliveryLimit == 0 || m.deliveries <= q.spec.DeliveryLimit {
		q.waiting.PushFront(m)
		return
	}
	q.bury(m, now)
}

// bury makes a message that was handed out too often a dead letter. It stays
// remembered, so that one which is sent again before its end is known is buried
// at once.
func (q *queue) bury(m *message, now time.Time) {
	if q.spec.DeadLetters {
		for _, name := range []string{broker.DeadQueue(q.spec.Work), broker.DeadResults} {
			q.broker.queues[name].add(m.died(q.spec.Name, now), now)
		}
	}
}

// watchExpiry keeps one timer for the message that is due first: all wait equally
// long, so that is the one in front.
func (q *queue) watchExpiry(now time.Time) {
	if q.spec.TTL == 0 || q.waiting.Len() == 0 || q.broker.isClosed() {
		return
	}
	wait := q.waiting.Front().due.Sub(now)
	if q.expiry == nil {
		q.expiry = time.AfterFunc(wait, q.expire)
		return
	}
	q.expiry.Reset(wait)
}

// expire moves what is due to where it goes from here.
func (q *queue) expire() {
	q.broker.mu.Lock()
	defer q.broker.mu.Unlock()
	now := time.Now()
	for q.waiting.Len() > 0 && !q.waiting.Front().due.After(now) {
		m := q.waiting.PopFront()
		if target := q.broker.queues[q.spec.DeadLetterTo]; target != nil {
			target.add(*m, now)
		}
	}
	q.watchExpiry(now)
}
