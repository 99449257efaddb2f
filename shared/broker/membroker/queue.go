package membroker

import (
	"time"

	"github.com/gammazero/deque"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// message is a message on one queue. Its body and headers never change, because the
// copies on other queues share them.
type message struct {
	body       []byte
	headers    map[string]string
	place      uint64    // position in the order of the queue
	deliveries int       // how often it returned to the queue
	due        time.Time // when its TTL on this queue ends
	deaths     []broker.Death
}

// queue is the queue of one broker.QueueSpec. The Broker's mu guards all fields.
type queue struct {
	broker    *Broker
	spec      broker.QueueSpec
	waiting   deque.Deque[*message]
	places    uint64 // number of places assigned so far
	unacked   int
	consumers []*consumer
	next      int         // index of the next consumer in turn
	expiry    *time.Timer // timer for the first message, on a queue with a TTL
}

func (q *queue) size() int { return q.waiting.Len() + q.unacked }

// add appends a message, as new to this queue.
func (q *queue) add(m message, now time.Time) {
	q.places++
	m.place, m.deliveries, m.due = q.places, 0, now.Add(q.spec.TTL)
	if q.spec.DeliveryLimit > 0 {
		if m.deliveries = q.broker.deathLog.count(q.spec.Name, &m); m.deliveries > q.spec.DeliveryLimit {
			q.deadLetter(&m, now)
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

// deliver delivers waiting messages to the consumers in turn, within their prefetch.
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

// free returns the next consumer with room, or nil.
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

// requeue puts an unacked delivery back to the front, or makes it a dead letter. The
// caller then calls deliver.
func (q *queue) requeue(m *message, now time.Time) {
	q.unacked--
	m.deliveries++
	if q.spec.DeliveryLimit == 0 || m.deliveries <= q.spec.DeliveryLimit {
		q.waiting.PushFront(m)
		return
	}
	q.deadLetter(m, now)
}

// deadLetter makes a message that exceeded the delivery limit a dead letter. Its deaths
// stay recorded, so that if it is sent again before its image has ended, it immediately
// becomes a dead letter again.
func (q *queue) deadLetter(m *message, now time.Time) {
	if q.spec.DeadLetters {
		for _, name := range []string{broker.DeadQueue(q.spec.Work), broker.DeadResults} {
			q.broker.queues[name].add(m.withDeath(q.spec.Name, now), now)
		}
	}
}

// watchExpiry keeps one timer, for the first message. All messages have the same TTL,
// so the first is due first.
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

// expire moves all due messages to the target queue.
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
