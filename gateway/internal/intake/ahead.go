package intake

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// maxAhead is the maximum number of originals of one batch that are stored while the request is read on.
const maxAhead = 4

// AheadBytes is the maximum memory of a batch for them.
const AheadBytes = 8 << 20

// ahead stores originals while the request is read on: copies of them, because the next image overwrites its predecessor.
type ahead struct {
	room    func(bytes int64) error // nil: nothing is stored ahead
	held    int64                   // bytes of all copies
	copies  chan []byte             // those that no store uses; nil until the first one
	cancels []context.CancelFunc    // of all stores

	mu  sync.Mutex
	err error // the first of a store, ahead or not
}

// Ahead lets Add return before inline bytes are durable, for at most four images of at most AheadBytes together. Commit
// waits for them. room is called on the goroutine of Add before the batch takes memory, which it keeps to its end. Bytes for
// which there is no room are durable when Add returns.
func (b *Batch) Ahead(room func(bytes int64) error) { b.ahead.room = room }

// run calls store with the data, or with a copy on another goroutine.
func (a *ahead) run(ctx context.Context, data []byte, store func(context.Context, []byte) error) error {
	if a.room == nil {
		return store(ctx, data)
	}
	if a.copies == nil {
		a.copies = make(chan []byte, maxAhead)
		for range maxAhead {
			a.copies <- nil
		}
	}
	own := <-a.copies // The end of ctx ends the stores too.
	if more := int64(len(data) - cap(own)); more > 0 {
		if a.held+more > AheadBytes || a.room(more) != nil {
			a.copies <- own
			return store(ctx, data)
		}
		a.held += more
		own = make([]byte, 0, len(data))
	}
	own = append(own[:0], data...)
	ctx, cancel := context.WithCancel(ctx)
	a.cancels = append(a.cancels, cancel)
	go func() {
		defer func() { a.copies <- own }()
		defer cancel()
		defer func() {
			if p := recover(); p != nil { // a panic ends this request but not the process
				a.fail(fmt.Errorf("store original: panic: %v\n%s", p, debug.Stack()))
			}
		}()
		if err := store(ctx, own); err != nil {
			a.fail(err)
		}
	}()
	return nil
}

// fail keeps the first error of a store.
func (a *ahead) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
	}
}

// failure returns the first error of a store.
func (a *ahead) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// wait waits for all stores and returns the first error. No call of run may follow.
func (a *ahead) wait() error {
	if a.copies != nil {
		for range maxAhead {
			<-a.copies
		}
		a.copies = nil
	}
	return a.failure()
}

// abandon cancels all stores and waits until they have ended.
func (a *ahead) abandon() {
	for _, cancel := range a.cancels {
		cancel()
	}
	_ = a.wait()
}
