// Package captioner is the caption step: it adds the words of a vision model to an analyzed image.
//
// A caption never fails an image. Whatever goes wrong with the model, its answer or the store of
// answers, the image waits for at most Config.MaxWait and then continues as it is, with a warning
// in its record. An image with which the process has died twice continues at once, with its stored
// answer if there is one. Only a missing store of originals keeps an image longer, as it keeps every
// other step.
//
// Each picture is paid for once: an answer is stored under the hash of the picture and of the
// request before it is used, and the stored answer is what every later image with the same picture
// gets. A picture is paid for again after a death before that, or if two analyzers ask about it at
// the same time.
package captioner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/caption"
	"github.com/imagebatch/imagebatch/analyzer/internal/describe"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/analyzer/internal/vision"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
)

// Model is implemented by [vision.Client].
type Model interface {
	Request() string
	Caption(ctx context.Context, picture []byte, tried vision.Tried) (vision.Answer, error)
	NotCaptioned(reason string)
}

// Config is the configuration of the step.
type Config struct {
	Fields   []string      // texts that a model may write, see [pipeline.CaptionFields]
	Keywords int           // maximum number of keywords, also of a stored answer
	Pixels   int           // long side of the picture that is sent
	MaxWait  time.Duration // how long an image waits for the model, from its first request
}

// Deps are the dependencies of a Captioner.
type Deps struct {
	Model     Model
	Decoder   vision.Decoder
	Originals objectstore.Store
	Answers   *Answers
	Log       *slog.Logger
	Now       func() time.Time
}

// Captioner runs the step. It is safe for concurrent use.
type Captioner struct {
	config Config
	deps   Deps

	mu     sync.Mutex
	worked time.Time // when an image last got a new answer, or the start; guarded by mu
}

// New returns a Captioner.
func New(c Config, d Deps) *Captioner { return &Captioner{config: c, deps: d, worked: d.Now()} }

// The pauses of an image that waits for the model.
const (
	// pace is how long an image that cannot be asked about keeps its slot. A model that is
	// unavailable then lets the images behind it start their wait too, and a long queue does not
	// circulate faster than the broker likes.
	pace = time.Second
	// usualPause is the pause after an error that says nothing about the next try.
	usualPause = 5 * time.Second
	// ownPause limits how long an image keeps its slot for our own rate limit. The stage limits it
	// too.
	ownPause = time.Hour
)

// Wanted reports whether the model is to see an analyzed image. If not, it counts the reason.
func (c *Captioner) Wanted(a pipeline.Analysis) bool {
	switch {
	case !a.CaptionsAllowed():
		c.deps.Model.NotCaptioned(vision.ReasonDisabled)
	case len(caption.Fields(a.Metadata, c.config.Fields)) == 0:
		c.deps.Model.NotCaptioned(vision.ReasonComplete)
	default:
		return true
	}
	return false
}

// Step returns the analysis for the next step, with the caption if there is one. Its errors are
// those of a store of originals that is unavailable or returns other bytes, and *[stage.Later].
func (c *Captioner) Step(ctx context.Context, a pipeline.Analysis) (out pipeline.Analysis, err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			c.deps.Log.ErrorContext(ctx, "caption step panicked", "image", a.Envelope, "error", fmt.Errorf("panic: %v\n%s", p, stack[:min(len(stack), 4<<10)]))
			out, err = c.without(a, vision.ReasonUnreadable, "the image could not be prepared for the model"), nil
		}
	}()
	if !c.Wanted(a) {
		return c.next(a), nil
	}
	data, err := objectstore.ReadAll(ctx, c.deps.Originals, a.OriginalPath, a.Size)
	if errors.Is(err, objectstore.ErrUnavailable) || ctx.Err() != nil {
		return a, fmt.Errorf("%w: read original: %w", stage.ErrUnavailable, errors.Join(err, ctx.Err()))
	}
	var picture string
	if err == nil {
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != a.SHA256 {
			err = errors.New("SHA-256 of the original has changed")
			if a.Attempt < pipeline.MaxAttempts {
				return a, err // it may have been read wrongly
			}
		}
	}
	if err == nil {
		picture, err = imagefile.PictureHash(data)
	}
	if err != nil {
		// The next step reads the original too, and decides about the image.
		return c.unreadable(ctx, a, err), nil
	}
	started := c.deps.Now()
	key := pipeline.CaptionKey(picture, c.deps.Model.Request())
	answer, err := c.answer(ctx, a, data, key)
	if _, without := errors.AsType[*vision.Uncaptioned](err); without {
		// The same message may have been delivered twice, and its other copy has got an answer meanwhile.
		// This copy must not take it away again.
		if stored, missing := c.deps.Answers.Get(ctx, key); missing == nil {
			answer, err = stored, nil
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, errUnreadable):
		return c.unreadable(ctx, a, err), nil
	default:
		return c.afterError(ctx, a, started, err)
	}
	answer.Keywords = answer.Keywords[:min(len(answer.Keywords), c.config.Keywords)]
	caption.Apply(&a.Metadata, pipeline.Caption(answer), c.config.Fields)
	return c.next(a), nil
}

var (
	// errUnreadable wraps the errors of an original that describing could read and captioning cannot.
	errUnreadable = errors.New("original cannot be prepared for the model")
	// errStore wraps the errors of the store of answers.
	errStore = errors.New("store of answers failed")
)

// answer returns the stored answer, or else the model's, which it stores.
func (c *Captioner) answer(ctx context.Context, a pipeline.Analysis, data []byte, key string) (vision.Answer, error) {
	answer, err := c.deps.Answers.Get(ctx, key)
	switch {
	case err == nil:
		return answer, nil
	case !errors.Is(err, objectstore.ErrNotExist):
		return answer, fmt.Errorf("%w: %w", errStore, err)
	}
	if stage.Deadly(ctx) { // Only the following is dangerous.
		return answer, fmt.Errorf("%w: the process has died with it twice", errUnreadable)
	}
	tried := vision.Tried(a.Wait.Tried)
	picture, err := vision.Picture(ctx, c.deps.Decoder, data, c.config.Pixels)
	switch {
	case err == nil:
	case errors.Is(err, describe.ErrNoRoom), ctx.Err() != nil:
		return answer, &vision.Unavailable{Reason: err.Error(), After: usualPause, Own: true, Tried: tried} // memory is ours
	default:
		return answer, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	failpoint.Reach("caption", a.OriginalFilename)
	answer, err = c.deps.Model.Caption(ctx, picture, tried)
	if err != nil {
		return answer, err
	}
	answer, err = c.deps.Answers.Put(ctx, key, answer)
	failpoint.Reach("answer stored", string(a.TraceID))
	if err != nil {
		return answer, fmt.Errorf("%w: %w", errStore, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worked = c.deps.Now()
	return answer, nil
}

// queueShare is the part of Config.MaxWait that one time in the queue can count for. It ends an image that alone fails
// while others get their answers.
const queueShare = 20

// withoutQueue returns the wait of an image whose try started at a time. The time in the queue before it counts only
// while no image got an answer: a long queue costs no caption, and an outage of any length ends the images in the queue.
func (c *Captioner) withoutQueue(w pipeline.CaptionWait, started time.Time) pipeline.CaptionWait {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.worked
	if started.Before(since) {
		since = started
	}
	if since = since.Add(-c.config.MaxWait / queueShare); !w.Since.IsZero() && since.After(w.Since) {
		w.Since = since.UTC()
	}
	return w
}

// afterError decides about an image without an answer: it continues, or is asked about later.
func (c *Captioner) afterError(ctx context.Context, a pipeline.Analysis, started time.Time, err error) (pipeline.Analysis, error) {
	now := c.deps.Now()
	if u, ok := errors.AsType[*vision.Uncaptioned](err); ok {
		c.deps.Log.InfoContext(ctx, "image continues without a caption", "image", a.Envelope, "error", u)
		return c.without(a, u.Reason, warnings[u.Reason]), nil
	}
	later := &stage.Later{Message: a, After: usualPause, Hold: pace, Err: err}
	if errors.Is(ctx.Err(), context.Canceled) {
		return a, later // the process stops, which is no fault of the model
	}
	a.Wait = c.withoutQueue(a.Wait, started)
	if u, ok := errors.AsType[*vision.Unavailable](err); ok {
		later.After = max(u.After, pace)
		a.Wait.Tried = pipeline.CaptionTried(u.Tried)
		switch {
		case u.Own:
			later.Hold = ownPause
			a.Wait = a.Wait.Stop(now.Add(-u.Waited))
			later.Message = a
			return a, later
		case a.Wait.Since.IsZero() && !u.First.IsZero():
			a.Wait.Since = u.First.UTC()
		case !a.Wait.Since.IsZero():
			a.Wait.Since = a.Wait.Since.Add(u.Waited)
		}
	}
	a.Wait = a.Wait.Start(now)
	if a.Wait.Elapsed(now) >= c.config.MaxWait {
		reason := vision.ReasonTimeout
		if errors.Is(err, errStore) {
			reason = vision.ReasonStore
		}
		c.deps.Log.WarnContext(ctx, "image has waited too long for its caption and continues without", "image", a.Envelope, "error", err)
		return c.without(a, reason, warnings[reason]), nil
	}
	a.Wait = a.Wait.Pause(now, later.After)
	later.Message = a
	return a, later
}

// warnings are the ends of the warnings in the records of images without a caption.
var warnings = map[string]string{
	vision.ReasonRefused:       "the model refused to describe the image",
	vision.ReasonUnusable:      "the model's answers could not be used",
	vision.ReasonRejected:      "the model's server rejected the image",
	vision.ReasonConfiguration: "captioning is configured wrongly",
	vision.ReasonTimeout:       "the model did not answer in time",
	vision.ReasonStore:         "the store of answers failed",
	vision.ReasonUnreadable:    "the image could not be prepared for the model",
}

func (c *Captioner) unreadable(ctx context.Context, a pipeline.Analysis, err error) pipeline.Analysis {
	c.deps.Log.WarnContext(ctx, "original cannot be prepared for the model", "image", a.Envelope, "error", err)
	return c.without(a, vision.ReasonUnreadable, warnings[vision.ReasonUnreadable])
}

// without returns the analysis of an image that should have a caption and has none.
func (c *Captioner) without(a pipeline.Analysis, reason, text string) pipeline.Analysis {
	c.deps.Model.NotCaptioned(reason)
	const kept = 19 // the record has room for 20 warnings, and this is the most useful one
	w := record.Warnings{List: a.Metadata.Warnings[:min(len(a.Metadata.Warnings), kept):min(len(a.Metadata.Warnings), kept)]}
	w.Add("not captioned: %s", text)
	a.Metadata.Warnings, a.Uncaptioned = w.List, true
	return c.next(a)
}

// next returns the message for the next step.
func (c *Captioner) next(a pipeline.Analysis) pipeline.Analysis { return Passed(a, c.deps.Now()) }

// Passed returns the message for the next step of an analysis that is not captioned.
func Passed(a pipeline.Analysis, now time.Time) pipeline.Analysis {
	a.Envelope, a.Wait = a.Next(now), pipeline.CaptionWait{}
	return a
}
