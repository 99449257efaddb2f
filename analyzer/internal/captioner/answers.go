package captioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/vision"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// maxAnswerBytes limits a stored answer. Its texts are bounded far below.
const maxAnswerBytes = 256 << 10

// maxUnstored is the number of answers that wait for the store. Beyond it, the oldest one is dropped
// and its picture is paid for again. An answer also stays when its image continues without it: if
// the image is processed again after the outage, it costs nothing.
const maxUnstored = 1000

// Answers are the stored answers. An answer is never replaced, unless it cannot be read.
type Answers struct {
	store objectstore.Store
	found *telemetry.Counter

	mu       sync.Mutex
	unstored map[string]unstored // guarded by mu
}

// unstored is an answer that was paid for while the store was unavailable.
type unstored struct {
	answer vision.Answer
	tried  time.Time // last try to store it
}

// NewAnswers returns the answers in the store of processed images.
func NewAnswers(s objectstore.Store, m *telemetry.Registry) *Answers {
	a := &Answers{
		store: s, unstored: map[string]unstored{},
		found: m.Counter("caption_answers_total", "Stored answers that the caption step looked for, by outcome: found, missing, invalid.", "outcome"),
	}
	for _, outcome := range []string{"found", "missing", "invalid"} {
		a.found.Add(0, outcome)
	}
	return a
}

// Get returns a stored answer. It stores one that was paid for while the store was unavailable.
// Errors are those of the store; [objectstore.ErrNotExist] means that the model must be asked.
func (a *Answers) Get(ctx context.Context, key string) (vision.Answer, error) {
	a.mu.Lock()
	waiting, paid := a.unstored[key]
	a.mu.Unlock()
	if paid {
		return a.Put(ctx, key, waiting.answer)
	}
	answer, err := a.read(ctx, key)
	switch {
	case err == nil:
		a.found.Inc("found")
	case errors.Is(err, objectstore.ErrNotExist):
		a.found.Inc("missing")
	case errors.Is(err, errInvalid):
		a.found.Inc("invalid")
		// The model must be asked again, and Put replaces the object.
		err = fmt.Errorf("%w: %w", objectstore.ErrNotExist, err)
	}
	return answer, err
}

// errInvalid is the error of an object that is no answer.
var errInvalid = errors.New("stored answer is invalid")

// maxReads is how often an object is read that is no answer: it may have arrived damaged, and an answer must not be
// replaced by another one.
const maxReads = 3

func (a *Answers) read(ctx context.Context, key string) (answer vision.Answer, err error) {
	for range maxReads {
		if answer, err = a.readOnce(ctx, key); !errors.Is(err, errInvalid) {
			break
		}
	}
	return answer, err
}

func (a *Answers) readOnce(ctx context.Context, key string) (answer vision.Answer, err error) {
	data, err := objectstore.ReadAll(ctx, a.store, key, maxAnswerBytes)
	switch {
	case errors.Is(err, objectstore.ErrNotExist), errors.Is(err, objectstore.ErrUnavailable), ctx.Err() != nil:
		return answer, err
	case err != nil: // too large
		return answer, fmt.Errorf("%w: %w", errInvalid, err)
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return answer, fmt.Errorf("%w: %w", errInvalid, err)
	}
	if answer.Model == "" {
		return answer, fmt.Errorf("%w: it names no model", errInvalid)
	}
	return answer, nil
}

// Put stores an answer and returns it, or the answer that another worker has stored before. If the
// store is unavailable, the next Get stores it.
func (a *Answers) Put(ctx context.Context, key string, answer vision.Answer) (vision.Answer, error) {
	data, err := json.Marshal(answer)
	if err != nil {
		return answer, fmt.Errorf("encode answer: %w", err)
	}
	err = a.store.PutNew(ctx, key, objectstore.Content{Data: data, Type: "application/json"})
	if errors.Is(err, objectstore.ErrExists) {
		var stored vision.Answer
		if stored, err = a.read(ctx, key); err == nil {
			answer = stored
		} else if errors.Is(err, errInvalid) {
			err = a.store.Put(ctx, key, objectstore.Content{Data: data, Type: "application/json"})
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		delete(a.unstored, key)
		return answer, nil
	}
	a.unstored[key] = unstored{answer, time.Now()}
	if len(a.unstored) > maxUnstored {
		delete(a.unstored, slices.MinFunc(slices.Collect(maps.Keys(a.unstored)), func(x, y string) int {
			return a.unstored[x].tried.Compare(a.unstored[y].tried)
		}))
	}
	return answer, fmt.Errorf("store answer: %w", err)
}
