package broker

import "time"

// Suffixes of the queues that belong to a work queue, and the common queue for all dead
// letters.
const (
	quarantineSuffix = ".suspect"
	deadSuffix       = ".dead"

	// DeadResults receives a copy of every dead letter. The gateway turns each into a
	// failed image.
	DeadResults = "dead_results"
	// ForeignResults keeps the results of images that belong to another job store, for
	// operators.
	ForeignResults = "image_processed.foreign"
	// OwnerQueue is an empty queue that names the job store that uses the broker.
	OwnerQueue = "imagebatch.epoch.owner"
)

// RetryDelays are the delays of the retry queues.
var RetryDelays = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second}

// RetryQueue returns the name of the retry queue that returns its messages to queue
// after delay, which must be one of RetryDelays.
func RetryQueue(queue string, delay time.Duration) string {
	return queue + ".retry." + delay.String()
}

// QuarantineQueue returns the name of the quarantine queue. It has the messages that
// were in flight or prefetched when a process died. Each worker takes one at a time, so
// that only the message in flight is to blame when the process dies again.
func QuarantineQueue(queue string) string { return queue + quarantineSuffix }

// DeadQueue returns the name of the dead-letter queue. It keeps messages that could not
// be processed, for operators.
func DeadQueue(queue string) string { return queue + deadSuffix }

// Delivery limits: how often the broker delivers one message before it becomes a dead
// letter.
const (
	WorkDeliveryLimit = 100 // a last resort; the application counts attempts
	// Together with the death that moved it to quarantine, a message that kills its
	// process does so five times.
	QuarantineDeliveryLimit = 3
)

// MaxDeadLetters limits each dead-letter queue, and ForeignResults. Beyond it, the oldest
// messages are dropped.
const MaxDeadLetters = 100_000

// QueueSpec describes a durable queue. It is frozen: the arguments of a queue cannot
// change once a release has declared it.
type QueueSpec struct {
	Name          string
	DeliveryLimit int           // 0: none
	TTL           time.Duration // 0: none; after the TTL, a message moves to DeadLetterTo
	DeadLetterTo  string        // target of messages whose TTL has passed; "" for none
	DeadLetters   bool          // whether messages that exceed DeliveryLimit go to DeadQueue and DeadResults, through the fan-out exchange
	Work          string        // work queue that this queue belongs to
	MaxLength     int           // 0: unlimited; beyond it, the oldest messages are dropped
}

// HasWork reports whether the queue may have messages of unfinished work. Other queues keep
// messages for operators, up to MaxLength.
func (s QueueSpec) HasWork() bool { return s.MaxLength == 0 }

// Topology returns the specs of all queues that the given work queues need, with each
// work queue before its other queues, and DeadResults and ForeignResults last. Adapters
// declare exactly these queues.
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
	return append(specs, QueueSpec{Name: DeadResults, Work: DeadResults},
		QueueSpec{Name: ForeignResults, Work: ForeignResults, MaxLength: MaxDeadLetters})
}

// Backlog returns the names of all queues that may have unfinished work of the given
// work queues: all of Topology except those for operators.
func Backlog(workQueues ...string) []string {
	var names []string
	for _, spec := range Topology(workQueues...) {
		if spec.HasWork() {
			names = append(names, spec.Name)
		}
	}
	return names
}
