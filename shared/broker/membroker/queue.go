package membroker

import (
	"time"

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
	waiting   deque
	places    uint64 // given out so far
	unacked   int
	consumers []*consumer
	next      int         // the consumer whose turn it is
	expiry    *time.Timer // of the first message, on a queue with a TTL
}

func (q *queue) size() int { return q.waiting.len() + q.unacked }

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
	q.waiting.pushBack(&m)
	for q.spec.MaxLength > 0 && q.size() > q.spec.MaxLength && q.waiting.len() > 0 {
		q.waiting.popFront()
	}
	q.deliver()
	q.watchExpiry(now)
}

// deliver hands out what waits, to the consumers in turn, as far as their
// prefetch goes.
func (q *queue) deliver() {
	for q.waiting.len() > 0 {
		c := q.free()
		if c == nil {
			return
		}
		m := q.waiting.popFront()
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
		q.waiting.pushFront(m)
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
	if q.spec.TTL == 0 || q.waiting.len() == 0 || q.broker.isClosed() {
		return
	}
	wait := q.waiting.front().due.Sub(now)
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
	for q.waiting.len() > 0 && !q.waiting.front().due.After(now) {
		m := q.waiting.popFront()
		if target := q.broker.queues[q.spec.DeadLetterTo]; target != nil {
			target.add(*m, now)
		}
	}
	q.watchExpiry(now)
}

// deque is a ring of messages that grows and shrinks with what it holds.
type deque struct {
	ring  []*message
	first int
	count int
}

func (d *deque) len() int        { return d.count }
func (d *deque) front() *message { return d.ring[d.first] }

func (d *deque) pushBack(m *message) {
	d.grow()
	d.ring[(d.first+d.count)%len(d.ring)] = m
	d.count++
}

func (d *deque) pushFront(m *message) {
	d.grow()
	d.first = (d.first + len(d.ring) - 1) % len(d.ring)
	d.ring[d.first] = m
	d.count++
}

func (d *deque) popFront() *message {
	m := d.ring[d.first]
	d.ring[d.first] = nil
	d.first = (d.first + 1) % len(d.ring)
	d.count--
	if len(d.ring) > 1024 && d.count < len(d.ring)/4 {
		d.resize(len(d.ring) / 2)
	}
	return m
}

func (d *deque) grow() {
	if d.count == len(d.ring) {
		d.resize(max(16, 2*len(d.ring)))
	}
}

func (d *deque) resize(size int) {
	ring := make([]*message, size)
	for i := range d.count {
		ring[i] = d.ring[(d.first+i)%len(d.ring)]
	}
	d.ring, d.first = ring, 0
}
