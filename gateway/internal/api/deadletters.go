package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Limits of one request about dead letters. A queue has one reader at a time, which the gateway
// must not keep from the operators, and the broker's client may hold in memory all messages that
// it reads; a message has up to some 100 kB.
const (
	maxDeadLetters = 500             // dead letters of one queue
	deadLetterTime = 5 * time.Second // time to read them
)

// publisher is the part of a broker that a replay needs.
type publisher interface {
	Publish(ctx context.Context, queue string, m broker.Message) error
}

// deadLettersJSON is the response to a request for dead letters.
type deadLettersJSON struct {
	DeadLetters []deadLetterJSON `json:"dead_letters"`
	Truncated   *bool            `json:"truncated,omitempty"` // whether a queue has more than the list; only in the list
}

type deadLetterJSON struct {
	deadletter.Entry
	Action string `json:"action,omitempty"` // only after a replay or a removal
	NewJob string `json:"new_job_id,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// deadLetterShape returns a dead letter. Its texts are of any length, and not always a gateway's.
func deadLetterShape(l deadletter.Letter) deadLetterJSON {
	e := l.Entry()
	for _, text := range []*string{&e.JobID, &e.TraceID, &e.Filename, &e.Reason, &e.Fault} {
		*text = bounded(*text)
	}
	return deadLetterJSON{Entry: e}
}

// listDeadLetters responds with the first dead letters of all queues, or of one, in the order of
// the queues.
func (s *Server) listDeadLetters(c echo.Context) error {
	query, err := parameters(c)
	if err != nil {
		return err
	}
	queues := deadletter.Queues
	if name := query.Get("queue"); name != "" {
		queue, known := deadletter.Queue(name)
		if !known || len(query["queue"]) > 1 {
			return errParameter.with("queue", "one of "+strings.Join(deadletter.Queues, ", "))
		}
		queues = []string{queue}
	}
	truncated, all := false, deadLettersJSON{DeadLetters: []deadLetterJSON{}}
	all.Truncated = &truncated
	ctx, cancel := context.WithTimeout(c.Request().Context(), deadLetterTime)
	defer cancel()
	for _, queue := range queues {
		seen := 0
		err := s.browse(ctx, queue, func(l deadletter.Letter) error {
			if seen++; seen > maxDeadLetters {
				truncated = true
				return nil
			}
			all.DeadLetters = append(all.DeadLetters, deadLetterShape(l))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return writeJSON(c, http.StatusOK, all)
}

// replayDeadLetters replays the dead letters of one image in one queue. It holds the queue only
// while it reads, once to find them and once to remove them, because the copies that a retry makes
// may take minutes. A gateway that dies in between leaves the dead letters, and the next replay
// creates no second job.
func (s *Server) replayDeadLetters(c echo.Context) error {
	queue, found, err := s.findDeadLetters(c)
	if err != nil {
		return err
	}
	by := detailsOf(c).by
	r := deadletter.Replayer{Broker: s.deps.Broker, Gateway: inProcess{s, by}}
	all, replayed, reason := deadLettersJSON{}, map[[sha256.Size]byte]bool{}, ""
	for _, l := range found {
		o, err := r.Replay(c.Request().Context(), l)
		if err != nil {
			return err
		}
		s.audit(c, l, o)
		if o.Action == deadletter.Left {
			reason = o.Text
		} else {
			replayed[sha256.Sum256(l.Body)] = true
		}
		shape := deadLetterShape(l)
		shape.Action, shape.NewJob, shape.Detail = o.Action, o.NewJob, bounded(o.Text)
		all.DeadLetters = append(all.DeadLetters, shape)
	}
	if len(replayed) == 0 {
		return errDeadLetterLeft.with(bounded(reason))
	}
	// What was replayed is removed even if the client has disconnected.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), deadLetterTime)
	defer cancel()
	err = s.browse(ctx, queue, func(l deadletter.Letter) error {
		if replayed[sha256.Sum256(l.Body)] {
			return l.Ack()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, all)
}

// findDeadLetters returns the queue and the dead letters that the path names.
func (s *Server) findDeadLetters(c echo.Context) (queue string, found []deadletter.Letter, err error) {
	err = s.browseNamed(c, func(l deadletter.Letter) error {
		queue, found = l.Queue, append(found, l)
		return nil
	})
	return queue, found, err
}

// dropDeadLetters removes the dead letters of one image in one queue.
func (s *Server) dropDeadLetters(c echo.Context) error {
	all, o := deadLettersJSON{}, deadletter.Outcome{Action: deadletter.Dropped}
	err := s.browseNamed(c, func(l deadletter.Letter) error {
		if err := l.Ack(); err != nil {
			return err
		}
		s.audit(c, l, o)
		shape := deadLetterShape(l)
		shape.Action = o.Action
		all.DeadLetters = append(all.DeadLetters, shape)
		return nil
	})
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, all)
}

// browseNamed calls handle for the dead letters that the path names, of which there is at least
// one, or it returns a refusal.
func (s *Server) browseNamed(c echo.Context, handle func(deadletter.Letter) error) error {
	id := pipeline.TraceID(c.Param("trace_id"))
	none := errNoDeadLetter.with(bounded(c.Param("queue")), bounded(string(id)))
	queue, known := deadletter.Queue(c.Param("queue"))
	if !known || !id.Valid() {
		return none
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), deadLetterTime)
	defer cancel()
	found := false
	err := s.browse(ctx, queue, func(l deadletter.Letter) error {
		if l.Envelope.TraceID != id {
			return nil
		}
		found = true
		return handle(l)
	})
	if err == nil && !found {
		return none
	}
	return err
}

// readingWait is how long a request waits for the end of another one that reads dead letters: a page reads them again after
// each action of the operator, whose next action must not fail because of that.
const readingWait = 2 * time.Second

// browse calls handle for the first dead letters of a queue, unless they are being read already.
// All requests read the same number, so that the order is kept.
func (s *Server) browse(ctx context.Context, queue string, handle func(deadletter.Letter) error) error {
	wait := time.NewTimer(readingWait)
	defer wait.Stop()
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-wait.C:
		return errDeadLettersBusy
	case <-ctx.Done():
		return fmt.Errorf("wait for another reader: %w", ctx.Err())
	}
	return s.deps.Browser.Browse(ctx, broker.DeadQueue(queue), maxDeadLetters+1, func(_ context.Context, found broker.Letter) error {
		return handle(deadletter.Parse(queue, found))
	})
}

// audit logs what an operator did with a dead letter.
func (s *Server) audit(c echo.Context, l deadletter.Letter, o deadletter.Outcome) {
	s.deps.Log.LogAttrs(c.Request().Context(), slog.LevelInfo, "operator handled a dead letter", slog.String("key", detailsOf(c).by.Name), slog.String("queue", l.Queue),
		slog.String("trace_id", string(l.Envelope.TraceID)), slog.String("job_id", bounded(l.Envelope.JobID)), slog.String("action", o.Action), slog.String("new_job_id", o.NewJob))
}

// inProcess is the gateway that a replay of this server uses: the server itself. It does what
// the command does over HTTP with the same key.
type inProcess struct {
	s  *Server
	by *apikey.Key
}

// Job returns a job, or nil if it is unknown.
func (g inProcess) Job(ctx context.Context, id string) (*job.Job, error) {
	j, err := g.s.findJob(ctx, g.by, id)
	if errors.Is(err, job.ErrNotFound) {
		return nil, nil
	}
	return j, err
}

// Retry creates the one new job of a job's failed images, or finds it.
func (g inProcess) Retry(ctx context.Context, id string) (string, error) {
	j, err := g.s.repeated(ctx, g.by, job.Key{Scope: g.by.Name, Name: deadletter.RetryKey(id)}, id, retryOf(id))
	if err == nil {
		return j.ID, nil
	}
	if r := refusalOf(err, id); r.status < http.StatusInternalServerError && r.retryAfter == 0 { // the others are temporary
		return "", &deadletter.RefusedError{Text: r.text}
	}
	return "", err
}
