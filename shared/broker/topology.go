package broker

import "time"

// Suffixes of the queues that belong to a work queue, and the queue that all
// dead letters reach besides their own.
const (
	quarantineSuffix = ".suspect"
	deadSuffix       = ".dead"

	// DeadResults gets a copy of every dead letter; the gateway turns each into a
	// failed image.
	DeadResults = "dead_results"
)

// RetryDelays are the steps of the retry ladder.
var RetryDelays = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second}

// RetryQueue is the queue that gives its messages back to queue after delay, one
// of RetryDelays.
func RetryQueue(queue string, delay time.Duration) string {
	return queue + ".retry." + delay.String()
}

// QuarantineQueue is the queue of messages that were in hand, or only prefetched,
// when a process died. Each worker takes one at a time, so that only the message
// in hand is to blame when it dies again.
func QuarantineQueue(queue string) string { return queue + quarantineSuffix }

// DeadQueue is the queue, kept for operators, of messages nobody could finish.
func DeadQueue(queue string) string { return queue + deadSuffix }

// Delivery limits: how often the broker itself hands out one message before it
// is a dead letter.
const (
	WorkDeliveryLimit = 100 // a catch-all; attempts are counted by the application
	// With the death that made it a suspect, a message that kills its process does
	// so five times.
	QuarantineDeliveryLimit = 3
)

// MaxDeadLetters bounds each dead queue; past it the oldest go.
const MaxDeadLetters = 100_000

// QueueSpec is one durable queue as it is declared. It is frozen: a queue's
// arguments can't be changed once a release has declared it.
type QueueSpec struct {
	Name          string
	DeliveryLimit int           // 0: none
	TTL           time.Duration // 0: none; else every message leaves to DeadLetterTo after it
	DeadLetterTo  string        // queue that gets what leaves by TTL; "" for none
	DeadLetters   bool          // what goes over DeliveryLimit goes to DeadQueue and DeadResults, through the fan-out exchange
	Work          string        // the work queue that this one belongs to
	MaxLength     int           // 0: unbounded; else the oldest go
}

// Topology lists every queue that the work queues named need, themselves first,
// with DeadResults last. Adapters declare exactly this.
func Topology(workQueues ...string) []QueueSpec {
	var specs []QueueSpec
	for _, q := range workQueues {
		specs = append(specs, QueueSpec{Name: q, Work: q, DeliveryLimit: WorkDeliveryLimit, DeadLetters: true})
		for _, d := range RetryDelays {
			specs = append(specs, QueueSpec{Name: RetryQueue(q, d), Work: q, TTL: d, DeadLetterTo: q})
		}
		specs = append(specs,
			QueueSpec{Name: QuarantineQueue(q), Work: q, DeliveryLimit: QuarantineDeliveryLimit, DeadLetters: true},
			QueueSpec{Name: DeadQueue(q), Work: q, MaxLength: MaxDeadLetters},
		)
	}
	return append(specs, QueueSpec{Name: DeadResults, Work: DeadResults})
}

// Backlog names every queue that may hold work which is still to be done for the
// work queues named: all of Topology but the dead queues.
func Backlog(workQueues ...string) []string {
	var names []string
	for _, spec := range Topology(workQueues...) {
		if spec.Name != DeadQueue(spec.Work) {
			names = append(names, spec.Name)
		}
	}
	return names
}
