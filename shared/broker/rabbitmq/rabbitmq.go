// Package rabbitmq is the broker on a RabbitMQ server, from 3.10 to 4.x.
//
// It promises what the package broker says, and bounds every step that touches
// the network: nothing here hangs because a broker raised an alarm, a socket
// went dead, or a queue lost its majority.
//
// A Broker keeps two connections, each with a supervisor of its own that dials
// anew for ever: one publishes, the other consumes and declares. A broker under
// a memory or disk alarm stops reading from connections that publish, and acks
// must still get through. Every session is a new connection with new channels;
// the client library's own recovery is not used, since it reuses channels whose
// delivery tags start again at 1, and a late ack would then remove another
// message.
//
// A message counts as published on a confirm without a return: RabbitMQ confirms
// what it could not route. No queue here depends on priorities, on the broker's
// count of deliveries, or on anything that 3.10 and 4.x do differently.
//
// A queue that answers nothing for two minutes while the broker serves others is
// deleted and declared anew by a Broker that declares, and counts as lost.
//
// What the user may not do is told by Ready with the permission and the name that
// are missing: the right to publish is asked for when a session starts, the others
// show when they are used. docs/operations.md has the least permissions.
//
// It refuses to change a queue that exists with other arguments: Ready names the
// queue and the argument until somebody removes it.
package rabbitmq

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Defaults of Config.
const (
	DefaultPublishTimeout = 5 * time.Second
	DefaultMaxInFlight    = 1024
	DefaultSilence        = 2 * time.Minute
)

// Bounds on single steps. A step that takes longer costs the connection: what
// does not answer by then is taken for dead.
const (
	heartbeat    = 10 * time.Second
	dialTimeout  = 10 * time.Second // TCP, TLS and the AMQP handshake together
	writeTimeout = 5 * time.Second  // one Write on the socket
	rpcTimeout   = 30 * time.Second // one request on a channel: declaring a quorum queue may elect a leader
	closeTimeout = time.Second      // the polite end of a connection or a channel
	stopTimeout  = 10 * time.Second // Close as a whole
	steady       = 10 * time.Second // a session this old was a good one: the back-off starts anew
)

var errClosed = fmt.Errorf("%w: closed by this process", broker.ErrUnavailable)

// Config says where the broker is and what this process asks of it.
type Config struct {
	// URLs are the nodes of one cluster, amqp:// or amqps://, tried in turn from the
	// first on. After a loss the node of before comes first.
	// TLS takes its files from the query: cacertfile, certfile, keyfile.
	URLs []string
	// Roots are the authorities that are believed where a URL names no cacertfile;
	// the system's when nil.
	Roots *x509.CertPool
	// Name is what the broker's operator sees the connections called.
	Name string
	// Declare lets the Broker declare broker.Topology(WorkQueues...) and topics.
	// Without it, it waits until somebody else has.
	Declare bool
	// Watch has a Broker that does not declare look for queues that answer nothing,
	// too, for an operator to do something about them.
	Watch bool
	// WorkQueues are the work queues that the process uses.
	WorkQueues []string
	// PublishTimeout bounds Publish and Broadcast; DefaultPublishTimeout when 0.
	PublishTimeout time.Duration
	// MaxInFlight bounds the publishes that await their confirm at one time;
	// DefaultMaxInFlight when 0. More of them wait for their turn.
	MaxInFlight int
	// Silence is how long a queue answers nothing, while the broker serves others,
	// until a Broker that declares deletes it and declares it anew; DefaultSilence
	// when 0.
	Silence time.Duration
	// Metrics count the queues that were made anew; nil counts nothing.
	Metrics *telemetry.Registry
}

func (c *Config) check() error {
	var faults []error
	if len(c.URLs) == 0 {
		faults = append(faults, errors.New("no broker URL"))
	}
	for i, u := range c.URLs {
		if _, err := amqp.ParseURI(u); err != nil {
			// The error of net/url quotes the whole URL, password and all.
			if quoted, ok := errors.AsType[*url.Error](err); ok {
				err = quoted.Err
			}
			faults = append(faults, fmt.Errorf("broker URL %d: %w", i+1, err))
		}
	}
	for _, q := range c.WorkQueues {
		if q == "" || len(q) > maxWorkQueueName {
			faults = append(faults, fmt.Errorf("work queue %.64q: its name is empty or longer than %d bytes", q, maxWorkQueueName))
		}
	}
	if c.PublishTimeout < 0 {
		faults = append(faults, errors.New("publish timeout is negative"))
	}
	if c.MaxInFlight < 0 {
		faults = append(faults, errors.New("bound on publishes in flight is negative"))
	}
	if c.Silence < 0 {
		faults = append(faults, errors.New("bound on the silence of a queue is negative"))
	}
	c.Silence, c.PublishTimeout = cmp.Or(c.Silence, DefaultSilence), cmp.Or(c.PublishTimeout, DefaultPublishTimeout)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, DefaultMaxInFlight)
	return errors.Join(faults...)
}

// Broker is a process's connection to RabbitMQ.
type Broker struct {
	config     Config
	log        *slog.Logger
	publishing *link
	consuming  *link
	routine    *routine
	end        context.CancelFunc
	running    sync.WaitGroup
}

var _ broker.Broker = (*Broker)(nil)

// Open starts a Broker. It waits for nothing: an absent broker is Ready's to
// tell, and only a malformed configuration is an error. The caller ends it with
// Close.
//
// A Broker that declares does so when it is first used and not before, so that
// OnSession can be called in peace: a queue that was lost is evidence, which
// declaring it would destroy.
func Open(config Config, log *slog.Logger) (*Broker, error) {
	config.URLs, config.WorkQueues = slices.Clone(config.URLs), slices.Clone(config.WorkQueues)
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("configure rabbitmq: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	b := &Broker{config: config, log: log, end: end}
	b.publishing = newLink("publishing", config, log, ctx.Done())
	b.consuming = newLink("consuming", config, log, ctx.Done())
	b.routine = newRoutine(config, b.consuming, log)
	b.publishing.prepare = func(s *session) (err error) {
		if s.publisher, err = newPublisher(s, config); err == nil {
			err = s.publisher.probe()
		}
		return err
	}
	b.publishing.serve = b.servePublishing
	b.consuming.serve = b.routine.serve
	b.running.Go(func() { b.publishing.run(ctx) })
	b.running.Go(func() { b.consuming.run(ctx) })
	if config.Declare || config.Watch {
		h := newHealer(config, b, log, ctx.Done())
		b.running.Go(func() { h.run(ctx) })
	}
	return b, nil
}

// Close ends both connections and waits for all that Open started. Calls that
// still run end with an error, once their handlers have returned. A hook that
// ignores its context makes Close give up after 10 s, with an error.
func (b *Broker) Close() error {
	b.end()
	ended := make(chan struct{})
	go func() {
		b.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("close rabbitmq: still busy after %s", stopTimeout)
	}
}

// OnSession sets the hook; see broker.Broker. A queue deleted in the middle of a
// session is found at the next check, at most 5 s later: the hook then runs with
// fresh true while the consumers of other queues go on.
//
// A Broker that does not declare can't write the marker, and does not look at
// it: fresh is true for it only when it has itself seen a queue missing.
func (b *Broker) OnSession(marker string, hook func(ctx context.Context, fresh bool) error) {
	b.routine.setHook(marker, hook)
}

// Ready says what is missing on either connection, in one line.
func (b *Broker) Ready() error {
	publishing, consuming := b.publishing.trouble(), b.consuming.trouble()
	switch {
	case publishing == nil:
		return consuming
	case consuming == nil:
		return publishing
	default:
		return fmt.Errorf("%w; %w", publishing, consuming)
	}
}

// newBackOff returns pauses with jitter, from about 0.1 s up to 5 s, without an end.
func newBackOff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, Multiplier: 2,
		MaxInterval: 3300 * time.Millisecond, RandomizationFactor: 0.5, // the jitter adds up to a half
	}
}
