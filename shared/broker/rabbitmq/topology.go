package rabbitmq

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// noDeliveryLimit means no limit: without the argument, RabbitMQ would set a limit of
// 20. Releases have declared queues with this number, so it cannot become -1.
const noDeliveryLimit = math.MaxInt32

// arguments returns the arguments of a queue. They can never change once a release has
// declared the queue.
//
// Dead letters and delayed messages are transferred at least once. RabbitMQ does so
// only from quorum queues that reject publishes when full; otherwise it would drop a
// message whose target is unavailable.
func arguments(spec broker.QueueSpec) amqp.Table {
	args := amqp.Table{
		"x-queue-type":     "quorum",
		"x-delivery-limit": int64(noDeliveryLimit),
	}
	if spec.DeliveryLimit > 0 {
		args["x-delivery-limit"] = int64(spec.DeliveryLimit)
	}
	switch {
	case spec.DeadLetters:
		args["x-dead-letter-exchange"] = broker.DeadQueue(spec.Work)
	case spec.DeadLetterTo != "":
		args["x-dead-letter-exchange"] = ""
		args["x-dead-letter-routing-key"] = spec.DeadLetterTo
	}
	if _, deadLetters := args["x-dead-letter-exchange"]; deadLetters {
		args["x-dead-letter-strategy"] = "at-least-once"
		args["x-overflow"] = "reject-publish"
	}
	if spec.TTL > 0 {
		args["x-message-ttl"] = spec.TTL.Milliseconds()
	}
	if spec.MaxLength > 0 {
		args["x-max-length"] = int64(spec.MaxLength)
		args["x-overflow"] = "drop-head"
	}
	return args
}

// survey checks and declares queues. An error of the broker closes the channel, so a
// survey opens channels as needed.
type survey struct {
	session *session
	ch      *amqp.Channel
}

func (v *survey) close() {
	if v.ch != nil {
		v.session.closeChannel(v.ch)
	}
}

// request runs one request within rpcTimeout.
func (v *survey) request(do func(ch *amqp.Channel) error) error {
	if v.ch == nil || v.ch.IsClosed() {
		ch, err := v.session.channel()
		if err != nil {
			return err
		}
		v.ch = ch
	}
	defer v.session.within(rpcTimeout)()
	err := do(v.ch)
	if err != nil {
		v.close()
		v.ch = nil
	}
	return err
}

// exists reports whether the queue exists, in any state.
func (v *survey) exists(queue string) (bool, error) {
	found, _, err := v.depth(queue)
	return found, err
}

// depth reports whether the queue exists, and how many of its messages are ready for
// delivery.
func (v *survey) depth(queue string) (found bool, ready int, err error) {
	found, q, err := v.inspect(queue)
	return found, q.Messages, err
}

// inspect reports whether the queue exists, with its numbers of consumers and of
// messages that are ready for delivery.
func (v *survey) inspect(queue string) (found bool, q amqp.Queue, err error) {
	err = v.request(func(ch *amqp.Channel) (err error) {
		q, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		return err
	})
	if isMissing(err) {
		return false, amqp.Queue{}, nil
	}
	if err != nil {
		return false, amqp.Queue{}, fmt.Errorf("check queue %s: %w", queue, lacksToCheck(err))
	}
	return true, q, nil
}

// isMissing reports whether the broker's error means that a queue does not exist.
func isMissing(err error) bool {
	refusal, ok := errors.AsType[*amqp.Error](err)
	return ok && refusal.Code == amqp.NotFound && !unreachable(refusal.Reason)
}

// unreachable distinguishes a queue that is currently unreachable from a queue that
// does not exist. RabbitMQ returns 404 for both, and only the text differs.
func unreachable(reason string) bool {
	for _, sign := range []string{"down or inaccessible", "stopped by supervisor", "timeout"} {
		if strings.Contains(reason, sign) {
			return true
		}
	}
	return false
}

// missing returns the queues that do not exist, or the first of them, without those that
// have no open work. RabbitMQ logs two lines about each.
func (v *survey) missing(specs []broker.QueueSpec, first bool) ([]string, error) {
	var names []string
	for _, spec := range specs {
		if !spec.HasWork() {
			continue
		}
		found, err := v.exists(spec.Name)
		if err != nil {
			return nil, err
		}
		if !found {
			names = append(names, spec.Name)
		}
		if !found && first {
			break
		}
	}
	return names, nil
}

// undeclared returns the missing queues for operators, and the missing dead-letter
// exchanges. They have no open work but must exist. A Broker that declares need not check them. The broker does
// not report whether they are bound.
func (v *survey) undeclared(specs []broker.QueueSpec) (names []string, err error) {
	for _, spec := range specs {
		if spec.HasWork() {
			continue
		}
		found, err := v.exists(spec.Name)
		if err != nil {
			return nil, err
		}
		if !found {
			names = append(names, spec.Name)
		}
		if spec.Name != broker.DeadQueue(spec.Work) {
			continue
		}
		if found, err = v.hasExchange(spec.Name); err != nil {
			return nil, err
		}
		if !found {
			names = append(names, "exchange "+spec.Name)
		}
	}
	return names, nil
}

// hasExchange reports whether the dead-letter exchange exists.
func (v *survey) hasExchange(name string) (bool, error) {
	err := v.request(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(name, amqp.ExchangeFanout, true, false, false, false, nil)
	})
	if isMissing(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("check exchange %s: %w", name, lacksToCheck(err))
	}
	return true, nil
}

// declareAll declares the topology. Existing queues with the right arguments stay
// unchanged.
func (v *survey) declareAll(specs []broker.QueueSpec) error {
	for _, spec := range specs {
		if err := v.declare(spec.Name, arguments(spec)); err != nil {
			return err
		}
	}
	return nil
}

// bindDeadLetters declares the dead-letter exchanges and binds them to their queues.
// Before, the dead-letter queues are empty.
func (v *survey) bindDeadLetters(specs []broker.QueueSpec) error {
	for _, spec := range specs {
		if spec.Name != broker.DeadQueue(spec.Work) {
			continue
		}
		exchange := spec.Name
		err := v.request(func(ch *amqp.Channel) error {
			if err := ch.ExchangeDeclare(exchange, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
				return lacksToConfigure(err)
			}
			if err := ch.QueueBind(spec.Name, "", exchange, false, nil); err != nil {
				return lacksToBind(err)
			}
			return lacksToBind(ch.QueueBind(broker.DeadResults, "", exchange, false, nil))
		})
		if err != nil {
			return fmt.Errorf("declare dead-letter exchange %s: %w", exchange, err)
		}
	}
	return nil
}

func (v *survey) declare(queue string, args amqp.Table) error {
	err := v.request(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(queue, true, false, false, false, args)
		return err
	})
	if err != nil {
		return fmt.Errorf("declare queue %s: %w", queue, lacksToDeclare(err))
	}
	return nil
}

// declareMarker declares the marker, an empty queue that is never used. It is a quorum
// queue so that the loss of one node of a cluster does not look like the loss of all
// queues.
func (v *survey) declareMarker(queue string) error {
	return v.declare(queue, amqp.Table{"x-queue-type": "quorum"})
}

// flush declares and deletes one more queue. RabbitMQ writes the name of a new queue's
// files to its disk only after some time, or when it creates the next queue; a broker
// that is killed before loses the queue's content.
func (v *survey) flush() error {
	queue := "imagebatch.control." + rand.Text()
	// A queue that is left behind expires.
	if err := v.declare(queue, amqp.Table{"x-queue-type": "quorum", "x-expires": time.Minute.Milliseconds()}); err != nil {
		return err
	}
	return v.remove(queue)
}

func (v *survey) remove(queue string) error {
	err := v.request(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(queue, false, false, false)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete queue %s: %w", queue, lacksToConfigure(err))
	}
	return nil
}
