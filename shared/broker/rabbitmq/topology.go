package rabbitmq

import (
	"errors"
	"fmt"
	"math"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// noDeliveryLimit stands for "none" as RabbitMQ 4 would otherwise set 20 of its
// own, and as 3.10 knows no -1.
const noDeliveryLimit = math.MaxInt32

// arguments are what a queue is declared with. They can never change once a
// release has declared the queue.
//
// Dead letters and delayed messages travel at least once, which RabbitMQ does
// from quorum queues that reject publishes when full; else it would drop a
// message whose target is away.
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

// survey asks for and declares queues. An error of the broker ends the channel it
// came on, so a survey opens one as it needs it.
type survey struct {
	session *session
	ch      *amqp.Channel
}

func (v *survey) close() {
	if v.ch != nil {
		v.session.closeChannel(v.ch)
	}
}

// ask makes one bounded request.
func (v *survey) ask(request func(ch *amqp.Channel) error) error {
	if v.ch == nil || v.ch.IsClosed() {
		ch, err := v.session.channel()
		if err != nil {
			return err
		}
		v.ch = ch
	}
	defer v.session.within(rpcTimeout)()
	err := request(v.ch)
	if err != nil {
		v.close()
		v.ch = nil
	}
	return err
}

// exists says whether the broker knows the queue, in whatever state.
func (v *survey) exists(queue string) (bool, error) {
	found, _, err := v.look(queue)
	return found, err
}

// look says whether the broker knows the queue, and how many messages are ready
// for delivery there.
func (v *survey) look(queue string) (found bool, ready int, err error) {
	found, q, err := v.inspect(queue)
	return found, q.Messages, err
}

// inspect says whether the broker knows the queue, and what it tells of it: the
// messages that are ready for delivery, and the consumers.
func (v *survey) inspect(queue string) (found bool, q amqp.Queue, err error) {
	err = v.ask(func(ch *amqp.Channel) (err error) {
		q, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		return err
	})
	if refusal, ok := errors.AsType[*amqp.Error](err); ok && refusal.Code == amqp.NotFound && !away(refusal.Reason) {
		return false, amqp.Queue{}, nil
	}
	if err != nil {
		return false, amqp.Queue{}, fmt.Errorf("check queue %s: %w", queue, err)
	}
	return true, q, nil
}

// away tells a queue that can't be reached now from one that was never declared.
// RabbitMQ answers 404 to both, and has only its text to tell them apart.
func away(reason string) bool {
	for _, sign := range []string{"down or inaccessible", "stopped by supervisor", "timeout"} {
		if strings.Contains(reason, sign) {
			return true
		}
	}
	return false
}

// missing lists the queues that hold open work and that the broker does not know.
// Dead queues hold none.
func (v *survey) missing(specs []broker.QueueSpec) ([]string, error) {
	var names []string
	for _, spec := range specs {
		if spec.Name == broker.DeadQueue(spec.Work) {
			continue
		}
		found, err := v.exists(spec.Name)
		if err != nil {
			return nil, err
		}
		if !found {
			names = append(names, spec.Name)
		}
	}
	return names, nil
}

// undeclared lists what holds no open work and has to be there all the same: the dead
// queues, and the exchanges that lead to them. A Broker that declares needs not look.
// Whether they are bound the broker tells nobody.
func (v *survey) undeclared(specs []broker.QueueSpec) (names []string, err error) {
	for _, spec := range specs {
		if spec.Name != broker.DeadQueue(spec.Work) {
			continue
		}
		found, err := v.exists(spec.Name)
		if err != nil {
			return nil, err
		}
		if !found {
			names = append(names, spec.Name)
		}
		err = v.ask(func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(spec.Name, amqp.ExchangeFanout, true, false, false, false, nil)
		})
		if refusal, ok := errors.AsType[*amqp.Error](err); ok && refusal.Code == amqp.NotFound {
			names = append(names, "exchange "+spec.Name)
		} else if err != nil {
			return nil, fmt.Errorf("check exchange %s: %w", spec.Name, err)
		}
	}
	return names, nil
}

// declareAll declares the topology and its dead-letter exchanges. What exists as
// it should be is left as it is.
func (v *survey) declareAll(specs []broker.QueueSpec) error {
	for _, spec := range specs {
		if err := v.declare(spec.Name, arguments(spec)); err != nil {
			return err
		}
	}
	for _, spec := range specs {
		if spec.Name != broker.DeadQueue(spec.Work) {
			continue
		}
		exchange := spec.Name
		err := v.ask(func(ch *amqp.Channel) error {
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
	err := v.ask(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(queue, true, false, false, false, args)
		return err
	})
	if err != nil {
		return fmt.Errorf("declare queue %s: %w", queue, lacksToDeclare(err))
	}
	return nil
}

// declareMarker writes the marker: an empty queue that nobody uses. It is a
// quorum queue so that losing one node of a cluster does not look like losing
// everything.
func (v *survey) declareMarker(queue string) error {
	return v.declare(queue, amqp.Table{"x-queue-type": "quorum"})
}

func (v *survey) remove(queue string) error {
	err := v.ask(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(queue, false, false, false)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete queue %s: %w", queue, lacksToConfigure(err))
	}
	return nil
}
