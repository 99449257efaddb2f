// Package meter counts and times what a process asks of its broker and of its
// object stores, in one decorator each, so that neither an adapter nor its users
// know of metrics.
//
// What a decorator returns is what the decorated thing returned, errors included,
// and nothing is asked of it more or less often. Labels are names of queues and of
// stores and words of this package; a key or an id is never one.
package meter

import (
	"context"
	"errors"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// seconds are the buckets of everything that goes over the network once.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// Outcome is the word for what became of a call of a broker or a store. The text of
// an error says more than labels and traces may: an object's key has the name of
// somebody's file.
func Outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, objectstore.ErrNotExist):
		return "not_found"
	case errors.Is(err, broker.ErrNoRoute):
		return "returned"
	case errors.Is(err, objectstore.ErrUnavailable), errors.Is(err, broker.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "given_up"
	default:
		return "error"
	}
}
