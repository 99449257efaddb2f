package rabbitmq

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// The broker belongs to the job store whose mark is the maximum length of [broker.OwnerQueue].
// RabbitMQ declares an existing queue again only with the same number, so the first of two
// stores gets the broker. The number is the only content of the queue, because AMQP cannot
// read a message without consuming it, and needs no permission but that to declare.

// markBits is the size of a mark. takingOver is the bit that is added to the mark of a store
// that is taking over the broker.
const (
	markBits   = 48
	takingOver = 1 << markBits
)

// mark returns the mark of a job store: the first 12 digits of its ID if they are
// hexadecimal, as in the IDs that the gateway generates.
func mark(owner string) int64 {
	const digits = markBits / 4
	if len(owner) >= digits {
		if n, err := strconv.ParseUint(owner[:digits], 16, markBits); err == nil {
			return int64(n) //nolint:gosec // It has 48 bits.
		}
	}
	sum := sha256.Sum256([]byte(owner))
	return int64(binary.BigEndian.Uint64(sum[:]) >> (64 - markBits)) //nolint:gosec // It has 48 bits.
}

// foreignError means that the broker belongs to another job store.
type foreignError struct{ current, ours int64 }

func (e *foreignError) Error() string {
	if e.current&takingOver != 0 {
		return fmt.Sprintf("the job store %012x is taking over this broker; if `gateway take-over` was interrupted, run it again", e.current&^takingOver)
	}
	return fmt.Sprintf("this broker belongs to the job store %012x, not to ours, which is %012x: "+
		"set RABBITMQ_URL to another vhost, or run `gateway take-over`", e.current, e.ours)
}

func isForeign(err error) bool {
	_, foreign := errors.AsType[*foreignError](err)
	return foreign
}

// currentMark finds the mark in the text with which RabbitMQ refuses another one.
var currentMark = regexp.MustCompile(`'x-max-length'.* current is '([0-9]+)'`)

// claim declares the owner queue with the mark. It returns a *foreignError if the queue has
// another one.
func (v *survey) claim(ours int64) error {
	err := v.declare(broker.OwnerQueue, amqp.Table{"x-queue-type": "quorum", "x-max-length": ours})
	if refusal, ok := errors.AsType[*amqp.Error](err); ok && refusal.Code == amqp.PreconditionFailed {
		if found := currentMark.FindStringSubmatch(refusal.Reason); found != nil {
			if current, err := strconv.ParseInt(found[1], 10, 64); err == nil {
				return &foreignError{current, ours}
			}
		}
	}
	return err
}

// seize replaces the owner queue by one with the mark, whatever mark it has. Until the running
// gateways of the previous owner notice, they declare theirs again.
func (v *survey) seize(mark int64) error {
	for range 10 {
		if err := v.remove(broker.OwnerQueue); err != nil {
			return err
		}
		if err := v.claim(mark); !isForeign(err) {
			return err
		}
	}
	return errors.New("another process keeps claiming the broker")
}

// noticeTime is how long the running gateways of the previous owner get to notice that the
// broker belongs to no job store.
const noticeTime = 2*checkInterval + 2*time.Second

// TakeOver makes owner the job store that the broker belongs to, and deletes its marker, so
// that its gateway sends all open images again. It returns the first digits of the ID of the
// previous owner, or "" if there was none or it was the same. In between, the broker belongs
// to no one for some seconds, so that two stores never use it at the same time.
func (b *Broker) TakeOver(ctx context.Context, owner, marker string) (previous string, err error) {
	s, err := b.dial(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	defer context.AfterFunc(ctx, s.kill)()
	v := &survey{session: s}
	defer v.close()
	ours := mark(owner)
	err = v.claim(ours)
	foreign, ok := errors.AsType[*foreignError](err)
	if !ok {
		return "", err
	}
	if err := v.seize(ours | takingOver); err != nil {
		return "", err
	}
	select {
	case <-time.After(noticeTime):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if err := v.remove(marker); err != nil {
		return "", err
	}
	return fmt.Sprintf("%012x", foreign.current&^takingOver), v.seize(ours)
}

// dial opens a connection to the first node that responds.
func (b *Broker) dial(ctx context.Context) (s *session, err error) {
	l := newLink("take-over", b.config, nil, b.log, ctx.Done())
	for _, url := range b.config.URLs {
		if s, _, err = l.connect(ctx, url); err == nil {
			return s, nil
		}
	}
	return nil, err
}
