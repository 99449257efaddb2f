// Package rabbitmq implements the broker on a RabbitMQ server, from 4.0 to 4.3.
//
// It keeps the contract of the package broker, and limits the time of every network
// operation: no call hangs because a broker raised an alarm, a socket went dead, or a
// queue lost its majority.
//
// A Broker keeps two connections, each with a supervisor that reconnects without limit:
// one publishes, the other consumes and declares. A Broker that checks queues has a third. A broker under a memory or disk alarm
// stops reading from connections that publish, and acks must still get through. Every
// session is a new connection with new channels. The client library's own recovery is
// not used, because it reuses channels whose delivery tags restart at 1, and a late ack
// would then remove another message.
//
// A message counts as published on a confirm without a return, because RabbitMQ also
// confirms messages that it could not route. The queues do not depend on priorities, on
// the broker's count of deliveries, or on any other behavior that differs between
// versions.
//
// The nodes of a cluster are used in random order. A process leaves a node that does not
// respond, and one that is cut off from its cluster. Consumers renew their channels from time to
// time, because a cluster can lose deliveries and acks without closing a channel.
//
// A queue without a leader is reported to the operator, and kept. Only while a fresh
// broker is set up, before the hook has sent all work again, a Broker that declares
// queues deletes such a queue and declares it again.
//
// Ready reports missing permissions, with the permission and the name of the object.
// The permission to publish is tested when a session starts, the others when they are
// used. docs/operations.md lists the minimum permissions.
//
// A Broker does not change an existing queue with other arguments: Ready names the
// queue and the argument until an operator deletes the queue.
package rabbitmq

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Defaults of Config.
const (
	DefaultPublishTimeout    = 5 * time.Second
	DefaultMaxInFlight       = 1024
	DefaultUnresponsiveAfter = 2 * time.Minute
	DefaultRenewAfter        = 30 * time.Second
)

// Time limits of single operations. An operation that takes longer breaks the
// connection, because its peer is taken for dead.
const (
	heartbeat    = 10 * time.Second
	dialTimeout  = 10 * time.Second // TCP, TLS and the AMQP handshake together
	writeTimeout = 5 * time.Second  // one Write on the socket
	rpcTimeout   = 30 * time.Second // one request on a channel: declaring a quorum queue may elect a leader
	closeTimeout = time.Second      // proper close of a connection or a channel
	stopTimeout  = 10 * time.Second // the whole of Close
	steady       = 10 * time.Second // age of a session that resets the backoff
)

var errClosed = fmt.Errorf("%w: closed by this process", broker.ErrUnavailable)

// Config describes the broker and how this process uses it.
type Config struct {
	// URLs are the nodes of one cluster, amqp:// or amqps://. A process uses one of them, at
	// random, and after a loss the others in turn. TLS takes its files from the query:
	// cacertfile, certfile, keyfile.
	URLs []string
	// Roots are the certificate authorities for URLs without a cacertfile; the system's
	// if nil.
	Roots *x509.CertPool
	// Name is the connection name that the broker shows to its operator.
	Name string
	// Declare lets the Broker declare broker.Topology(WorkQueues...) and topics, and
	// check whether the queues respond. Without it, the Broker waits until the queues
	// that it uses have been declared.
	Declare bool
	// Watch lets a Broker that does not declare check all queues too: whether they
	// exist, and whether they respond.
	Watch bool
	// WorkQueues are the work queues that the process uses.
	WorkQueues []string
	// AddedQueues are those of WorkQueues that the release before did not declare. If all queues of
	// such a work queue are missing, they are declared, and the broker is not taken for fresh.
	AddedQueues []string
	// PublishTimeout limits Publish and Broadcast; DefaultPublishTimeout if 0.
	PublishTimeout time.Duration
	// MaxInFlight limits the publishes that concurrently wait for their confirm;
	// DefaultMaxInFlight if 0. More publishes wait for their turn.
	MaxInFlight int
	// UnresponsiveAfter is how long a queue may not respond, although the broker does,
	// before it is reported to the operator; DefaultUnresponsiveAfter if 0.
	UnresponsiveAfter time.Duration
	// RenewAfter is how long a consumer has no message before it renews its channel;
	// DefaultRenewAfter if 0. As long as it has none, each time is twice as long as the one
	// before, up to ten times RenewAfter. A channel with messages is renewed after 120 times RenewAfter.
	RenewAfter time.Duration
	// Metrics counts silent and redeclared queues; nil disables it.
	Metrics *telemetry.Registry
}

func (c *Config) check() error {
	var problems []error
	if len(c.URLs) == 0 {
		problems = append(problems, errors.New("no broker URL"))
	}
	for i, u := range c.URLs {
		if err := CheckURL(u); err != nil {
			problems = append(problems, fmt.Errorf("broker URL %d: %w", i+1, err))
		}
	}
	for _, q := range c.WorkQueues {
		if q == "" || len(q) > maxWorkQueueName {
			problems = append(problems, fmt.Errorf("work queue %.64q: name is empty or longer than %d bytes", q, maxWorkQueueName))
		}
	}
	if c.PublishTimeout < 0 {
		problems = append(problems, errors.New("publish timeout is negative"))
	}
	if c.MaxInFlight < 0 {
		problems = append(problems, errors.New("limit on publishes in flight is negative"))
	}
	if c.UnresponsiveAfter < 0 {
		problems = append(problems, errors.New("time limit of unresponsive queues is negative"))
	}
	if c.RenewAfter < 0 {
		problems = append(problems, errors.New("time until consumers renew their channels is negative"))
	}
	c.RenewAfter = cmp.Or(c.RenewAfter, DefaultRenewAfter)
	c.UnresponsiveAfter, c.PublishTimeout = cmp.Or(c.UnresponsiveAfter, DefaultUnresponsiveAfter), cmp.Or(c.PublishTimeout, DefaultPublishTimeout)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, DefaultMaxInFlight)
	return errors.Join(problems...)
}

// CheckURL returns the error of Open for one of its URLs. The error may quote a part of
// the URL.
func CheckURL(node string) error {
	_, err := amqp.ParseURI(node)
	// The error of net/url quotes the whole URL, password and all.
	if quoted, ok := errors.AsType[*url.Error](err); ok {
		return quoted.Err
	}
	return err
}

// Broker is a process's connection to RabbitMQ.
type Broker struct {
	config     Config
	log        *slog.Logger
	publishing *link
	consuming  *link
	routine    *routine
	prober     *prober
	inspector  inspector
	end        context.CancelFunc
	running    sync.WaitGroup

	mu       sync.Mutex     // guards the field below
	consumed map[string]int // number of running calls of Consume, by queue
}

var _ broker.Broker = (*Broker)(nil)

// Open starts a Broker, without waiting for the server. Ready reports an unavailable
// server; only an invalid configuration is an error. The caller must call Close.
//
// A Broker with Declare declares queues only when it is first used, so that OnSession
// can be called first: a lost queue is evidence, which declaring it would destroy.
func Open(config Config, log *slog.Logger) (*Broker, error) {
	config.URLs, config.WorkQueues = slices.Clone(config.URLs), slices.Clone(config.WorkQueues)
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("configure rabbitmq: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	b := &Broker{config: config, log: log, inspector: make(inspector), end: end, consumed: map[string]int{}}
	nodes := newNodes(config.URLs)
	b.publishing = newLink("publishing", config, nodes, log, ctx.Done())
	b.consuming = newLink("consuming", config, nodes, log, ctx.Done())
	registry := config.Metrics
	if registry == nil {
		registry = telemetry.NewRegistry()
	}
	b.prober = &prober{
		nodes: nodes, dialing: newLink("checking", config, nodes, log, ctx.Done()), timeout: min(responseTimeout, config.UnresponsiveAfter/4),
		moved: b.moved,
	}
	b.routine = newRoutine(config, b, registry)
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
	b.running.Go(func() { b.inspector.run(ctx) })
	switch {
	case config.Declare || config.Watch:
		w := newWatch(config, b, registry)
		b.running.Go(func() { w.run(ctx) })
	case len(config.URLs) > 1:
		b.running.Go(func() { b.checkConsumed(ctx) })
	}
	return b, nil
}

// moved ends the sessions with the node that is no longer in use.
func (b *Broker) moved(ctx context.Context, from string) {
	if uri, err := amqp.ParseURI(from); err == nil {
		b.log.WarnContext(ctx, "a node of the broker does not reach a queue; moving to another", "node", net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)))
	}
	b.publishing.move()
	b.consuming.move()
}

// Close closes the connections and waits for all goroutines that Open started. Running
// calls return an error once their handlers have returned. If a hook ignores its
// context, Close returns an error after 10 s.
func (b *Broker) Close() error {
	b.end()
	ended := make(chan struct{})
	go func() {
		b.running.Wait()
		b.prober.close()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("close rabbitmq: still busy after %s", stopTimeout)
	}
}

// OnSession sets the hook; see broker.Broker. A queue that is deleted during a session
// is noticed at the next check, at most 5 s later. The hook then runs with fresh true
// while the consumers of other queues continue.
//
// A Broker that does not declare cannot write the marker and does not check it: for it,
// fresh is true only after it has itself found a queue missing, which it looks for only
// if it watches.
//
// Such a Broker does not check the owner either.
func (b *Broker) OnSession(marker, owner string, hook func(ctx context.Context, fresh bool) error) {
	if b.config.Declare && owner != "" {
		b.publishing.bar(stepError("the job store has not claimed the broker yet"))
	}
	b.routine.setHook(marker, owner, hook)
}

// Ready returns the problems of both connections in one line, or nil.
func (b *Broker) Ready() error {
	publishing, consuming := b.publishing.trouble(), b.consuming.trouble()
	if foreign, ok := errors.AsType[*foreignError](consuming); ok {
		return foreign
	}
	switch {
	case publishing == nil:
		return consuming
	case consuming == nil:
		return publishing
	default:
		return fmt.Errorf("%w; %w", publishing, consuming)
	}
}

// newBackOff returns a backoff with jitter, from about 0.1 s up to 5 s, without an end.
func newBackOff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, Multiplier: 2,
		MaxInterval: 3300 * time.Millisecond, RandomizationFactor: 0.5, // jitter adds up to half of the interval
	}
}
